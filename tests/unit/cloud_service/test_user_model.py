import asyncio
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from cloud_service.embedding.base import TextsRefused, all_usable
from cloud_service.embedding.hashing import HashingEmbedder
from cloud_service.user_model import PROVE_EVERY_S, UserModel
from loadtest.timing.virtual_loop import run_virtual
from shared.errors import EmbedderMismatch, EmbedderUnavailable
from shared.fixed_texts import TEXTS, FixedTexts
from tests.support.bundles import make_bundle


class Switchable(HashingEmbedder):
    """Fails, dawdles or answers as told."""

    def __init__(self, dim: int = 16):
        super().__init__(dim)
        self.down = False
        self.delay_s = 0.0
        self.vectors: NDArray[np.float32] | None = None
        self.asked = 0

    async def ready(self) -> None:
        self.asked += 1
        await self._maybe_fail()

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        await self._maybe_fail()
        return await super().embed(texts) if self.vectors is None else self.vectors

    async def _maybe_fail(self) -> None:
        await asyncio.sleep(self.delay_s)
        if self.down:
            raise EmbedderUnavailable("down")


async def test_projects_what_the_embedder_gives(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "b")
    e_sem = await UserModel(bundle, HashingEmbedder(16)).e_sem(["drama", "film noir"])
    weights = {
        t.name: numpy_helper.to_array(t)
        for t in onnx.load(bundle.file("projector.onnx")).graph.initializer
    }
    text = await HashingEmbedder(16).embed(["drama", "film noir"])
    np.testing.assert_allclose(e_sem, text @ weights["weight"] + weights["bias"], rtol=1e-5)
    assert e_sem.dtype == np.float32


async def test_refuses_another_model_than_the_bundles(tmp_path: Path) -> None:
    model = UserModel(make_bundle(tmp_path / "b", text_dim=16), HashingEmbedder(24))
    for call in (model.check(), model.e_sem(["drama"])):
        with pytest.raises(EmbedderMismatch, match=r"trained with hashing-16 .* is hashing-24"):
            await call


async def test_recovers_and_asks_again_who_it_is(tmp_path: Path) -> None:
    embedder = Switchable()
    embedder.down = True
    model = UserModel(make_bundle(tmp_path / "b"), embedder)
    with pytest.raises(EmbedderUnavailable):
        await model.e_sem(["drama"])
    embedder.down = False
    await model.e_sem(["drama"])
    await model.e_sem(["drama"])
    assert embedder.asked == 2
    embedder.down = True
    with pytest.raises(EmbedderUnavailable):
        await model.e_sem(["drama"])
    embedder.down = False
    embedder.identity = embedder.identity.model_copy(update={"pooling": "LAST"})
    with pytest.raises(EmbedderMismatch, match="LAST"):
        await model.e_sem(["drama"])


async def test_waiters_for_a_silent_embedder_share_one_deadline(tmp_path: Path) -> None:
    embedder = Switchable()
    embedder.delay_s = 60
    model = UserModel(make_bundle(tmp_path / "b"), embedder, deadline_s=0.05)
    async with asyncio.timeout(1):
        results = await asyncio.gather(
            *(model.e_sem(["drama"]) for _ in range(50)), return_exceptions=True
        )
    assert {type(r) for r in results} == {EmbedderUnavailable}
    assert embedder.asked == 1


async def test_refuses_vectors_the_projector_cannot_take(tmp_path: Path) -> None:
    embedder = Switchable()
    model = UserModel(make_bundle(tmp_path / "b"), embedder)
    embedder.vectors = np.ones((1, 15), dtype=np.float32)
    with pytest.raises(EmbedderMismatch, match="16 inputs"):
        await model.e_sem(["drama"])
    embedder.vectors = np.full((1, 16), 3e38, dtype=np.float32)
    with pytest.raises(EmbedderMismatch, match="not finite"):
        await model.e_sem(["drama"])


async def test_asks_again_who_it_is_after_unusable_vectors(tmp_path: Path) -> None:
    embedder = Switchable()
    model = UserModel(make_bundle(tmp_path / "b"), embedder)
    await model.e_sem(["drama"])
    embedder.vectors = np.ones((1, 15), dtype=np.float32)
    with pytest.raises(EmbedderMismatch):
        await model.e_sem(["drama"])
    embedder.vectors = None
    await model.e_sem(["drama"])
    assert embedder.asked == 2


async def fixed_of(embedder: HashingEmbedder) -> FixedTexts:
    return FixedTexts(TEXTS, await HashingEmbedder(embedder.identity.dim).embed(TEXTS))


class Turned(Switchable):
    """Another model of the same name, dimension and pooling."""

    def __init__(self, dim: int = 16):
        super().__init__(dim)
        self.noise = 1.0

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = await super().embed(texts)
        return vectors + self.noise * np.roll(vectors, 1, axis=1)


@pytest.mark.parametrize("noise", [1.0, 0.1])
async def test_another_model_of_the_same_name_and_dimension_is_refused(
    tmp_path: Path, noise: float
) -> None:
    embedder = Turned()
    embedder.noise = noise
    model = UserModel(make_bundle(tmp_path / "b", fixed=await fixed_of(embedder)), embedder)
    for call in (model.check, lambda: model.e_sem(["drama"]), model.check):
        with pytest.raises(EmbedderMismatch, match=r"gives other vectors .* likeliest: "):
            await call()
    embedder.noise = 0.01  # as number formats differ
    await model.check()
    await model.e_sem(["drama"])


async def test_what_a_model_computes_counts_and_not_its_name(tmp_path: Path) -> None:
    embedder = Switchable()
    model = UserModel(make_bundle(tmp_path / "b", fixed=await fixed_of(embedder)), embedder)
    other = {"model": "an-alias", "content": "0" * 16}
    embedder.identity = embedder.identity.model_copy(update=other)
    await model.check()
    await model.e_sem(["drama"])


async def test_without_fixed_texts_the_files_count(tmp_path: Path) -> None:
    embedder = Switchable()
    identity = embedder.identity.model_copy(update={"content": "a" * 16})
    model = UserModel(make_bundle(tmp_path / "b", embedder=identity), embedder)
    assert not model.measured
    await model.check()  # nothing is known of the files that are served
    embedder.identity = embedder.identity.model_copy(update={"content": "b" * 16})
    model = UserModel(make_bundle(tmp_path / "c", embedder=identity), embedder)
    with pytest.raises(EmbedderMismatch, match="another model of the name hashing-16"):
        await model.check()


async def test_a_model_swapped_after_a_failure_is_found_out(tmp_path: Path) -> None:
    embedder = Turned()
    embedder.noise = 0
    model = UserModel(make_bundle(tmp_path / "b", fixed=await fixed_of(embedder)), embedder)
    await model.e_sem(["drama"])
    embedder.down = True
    with pytest.raises(EmbedderUnavailable):
        await model.e_sem(["drama"])
    embedder.down, embedder.noise = False, 1.0
    with pytest.raises(EmbedderMismatch, match="gives other vectors"):
        await model.e_sem(["drama"])


async def test_a_deadline_that_cuts_the_measurement_short_only_delays_it(tmp_path: Path) -> None:
    class Slow(Switchable):
        async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
            self.delay_s = 0.02 * len(texts)
            return await super().embed(texts)

        async def ready(self) -> None:
            """At once."""

    embedder = Slow()
    fixed = await fixed_of(embedder)
    model = UserModel(make_bundle(tmp_path / "b", fixed=fixed), embedder, deadline_s=0.11)
    failures = 0
    while True:
        try:
            await model.check()
            break
        except EmbedderUnavailable:
            failures += 1
        assert failures < 10
    assert failures
    await model.e_sem(["drama"])


class Poisoned(Switchable):
    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = await super().embed(texts)
        refused = {place: "status 500" for place, text in enumerate(texts) if text == "poison"}
        vectors[list(refused)] = 0
        return all_usable(vectors, refused)


async def test_a_refused_text_says_nothing_against_the_model(tmp_path: Path) -> None:
    embedder = Poisoned()
    model = UserModel(make_bundle(tmp_path / "b"), embedder)
    await model.e_sem(["drama"])
    with pytest.raises(TextsRefused):
        await model.e_sem(["poison"])
    await model.e_sem(["drama"])
    assert embedder.asked == 1


def test_a_server_that_only_says_it_is_well_is_not_believed_for_long(tmp_path: Path) -> None:
    class Hollow(Switchable):
        dead = False

        async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
            if self.dead:
                await asyncio.sleep(3600)
            return await super().embed(texts)

    async def scenario() -> tuple[float, str]:
        embedder = Hollow()
        model = UserModel(make_bundle(tmp_path / "b"), embedder, deadline_s=1.0)
        await model.e_sem(["drama"])
        embedder.dead, died = True, asyncio.get_running_loop().time()
        while True:
            try:
                await model.check()
            except EmbedderUnavailable as error:
                return asyncio.get_running_loop().time() - died, str(error)
            await asyncio.sleep(0.5)

    took_s, words = run_virtual(scenario)
    assert took_s <= PROVE_EVERY_S + 2.0
    assert "within 1 s" in words
