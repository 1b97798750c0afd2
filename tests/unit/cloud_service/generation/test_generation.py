"""The generator of a bundle as the cloud runs it, and what stands in when it cannot."""

from __future__ import annotations

import asyncio
import sys
from contextlib import aclosing
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cloud_service.candidate_choice import CandidateChoice
from cloud_service.generation.base import ToldItems
from cloud_service.generation.t5 import T5Generator
from cloud_service.retrieval.exact import ExactIndex
from shared.bundle import GENERATOR_FILE, Bundle, write_bundle
from shared.errors import ConfigError, GeneratorUnavailable
from tests.support.bundles import make_bundle
from tests.support.cloud import quiet
from tests.support.generators import HISTORY, small_generator, with_generator
from training.generative.trained import TrainedGenerator

N_ITEMS = 30


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("plain") / "bundle", n_items=N_ITEMS)


@pytest.fixture(scope="module")
def trained(plain: Bundle, tmp_path_factory: pytest.TempPathFactory) -> TrainedGenerator:
    return small_generator(plain, tmp_path_factory.mktemp("generator"), model="pod")


@pytest.fixture
def bundle(plain: Bundle, trained: TrainedGenerator, tmp_path: Path) -> Bundle:
    return with_generator(plain, tmp_path / "bundle", trained)


async def test_callers_that_share_a_batch_get_what_each_would_alone(
    bundle: Bundle, trained: TrainedGenerator
) -> None:
    histories = [np.array(h) for h in ([1], [2, 3, 4], [9, 8, 7, 6, 5, 4], [29], [0, 0])]
    expected = trained.candidate_lists(histories, 8)
    async with aclosing(T5Generator(bundle, n=8)) as generator:
        found = await asyncio.gather(*(generator.candidates(h) for h in histories))
    for row, (items, scores) in enumerate(found):
        assert items.dtype == np.int32
        np.testing.assert_array_equal(items, expected[0][row])
        np.testing.assert_allclose(scores, expected[1][row], atol=1e-4)


async def test_items_of_the_history_are_left_out_where_none_repeats(
    trained: TrainedGenerator, tmp_path: Path
) -> None:
    plain = make_bundle(tmp_path / "plain", n_items=N_ITEMS, repeat_policy="exclude")
    bundle = with_generator(plain, tmp_path / "bundle", trained)
    async with aclosing(T5Generator(bundle, n=100)) as generator:
        items, scores = await generator.candidates(np.array([3, 5, 7]))
    assert len(items) == N_ITEMS - HISTORY  # as many for every history
    assert not {3, 5, 7} & set(items.tolist())
    assert np.isfinite(scores).all()


async def test_an_unusable_generator_says_so(bundle: Bundle, tmp_path: Path) -> None:
    files = {name: bundle.file(name).read_bytes() for name in bundle.manifest.files}
    broken = write_bundle(tmp_path / "x", bundle.manifest, files | {GENERATOR_FILE: b"nothing"})
    async with aclosing(T5Generator(broken, n=5)) as generator:
        with pytest.raises(GeneratorUnavailable, match=r"does not hold the generator's weights"):
            await generator.ready()
        with pytest.raises(GeneratorUnavailable):
            await generator.candidates(np.array([1]))


async def test_without_torch_it_says_what_to_install(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cloud_service.generation.beam", None)
    async with aclosing(T5Generator(bundle, n=5)) as generator:
        with pytest.raises(GeneratorUnavailable, match=r"need torch and transformers"):
            await generator.ready()


def test_a_bundle_without_generator_is_refused(plain: Bundle) -> None:
    with pytest.raises(ConfigError, match=r"has no generator; export one with"):
        T5Generator(plain, n=5)


def test_tokens_are_read_as_items(trained: TrainedGenerator) -> None:
    told = ToldItems(trained.tokens)
    codes = trained.tokens.codes[[4, 11, 4]].tolist()
    np.testing.assert_array_equal(told.read(codes), [4, 11, 4])
    with pytest.raises(ValueError, match=r"item_tokens\[1\] names no item"):
        told.read([codes[0], [999, 0, 0]])
    with pytest.raises(ValueError, match=r"item_tokens\[0\]"):
        told.read([codes[0][:2]])


class _Scripted:
    """A generator that answers, fails or never comes back, as a test needs it."""

    def __init__(self, behaviour: str) -> None:
        self.behaviour = behaviour

    async def ready(self) -> None: ...

    async def aclose(self) -> None: ...

    async def candidates(
        self, history: NDArray[np.int64]
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        if self.behaviour == "fails":
            raise GeneratorUnavailable("out of order")
        if self.behaviour == "hangs":
            await asyncio.Event().wait()
        return np.array([7, 3], dtype=np.int32), np.array([-1, -2], dtype=np.float32)


@pytest.mark.parametrize(
    ("behaviour", "history", "source"),
    [
        ("answers", [1, 2], "generative"),
        ("answers", [], "no_tokens"),
        ("answers", None, "no_tokens"),
        ("fails", [1, 2], "generator_failed"),
        ("hangs", [1, 2], "generator_failed"),
        (None, [1, 2], "semantic"),
    ],
)
async def test_a_device_always_gets_candidates(
    behaviour: str | None, history: list[int] | None, source: str
) -> None:
    telemetry, log = quiet()
    vectors = np.eye(4, dtype=np.float32)
    generator = None if behaviour is None else _Scripted(behaviour)
    choice = CandidateChoice(ExactIndex(vectors), generator, telemetry, n=2)
    e_sem = np.array([0.1, 0.9, 0.2, 0], dtype=np.float32)
    told = None if history is None else np.array(history, dtype=np.int64)
    items, scores = await choice.choose(e_sem, told, deadline_s=0.05)
    assert items.tolist() == ([7, 3] if source == "generative" else [1, 2])
    assert len(scores) == 2
    count = telemetry.metrics.registry.get_sample_value(
        "scalrec_candidates_total", {"source": source}
    )
    assert count == 1
    assert ("generator failed" in log.getvalue()) is (source == "generator_failed")
