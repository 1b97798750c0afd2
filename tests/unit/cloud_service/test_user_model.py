import asyncio
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from cloud_service.embedding.hashing import HashingEmbedder
from cloud_service.user_model import UserModel
from shared.errors import EmbedderMismatch, EmbedderUnavailable
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
