"""Texts are embedded beside fitting where a core is to spare."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cloud_service.embedding.hashing import HashingEmbedder
from shared.errors import EmbedderUnavailable
from shared.progress import NullTask, Task
from shared.split import Split
from tests.unit.training.test_pipeline import LOG, settings_for, weights
from training.ahead import core_to_spare
from training.background import beside
from training.train import train

BACKBONE = "training the backbone"
PATIENCE_S = 20.0


class Watched(HashingEmbedder):
    """Passes for another back end, and knows what was going on when it was asked."""

    def __init__(self, backend: str) -> None:
        super().__init__(32)
        named = {"backend": backend, "content": "hashing"}
        self.identity = self.identity.model_copy(update=named)
        self.going_on = ""
        self.beside = threading.Event()

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if self.going_on == BACKBONE:
            self.beside.set()
        return await super().embed(texts)


class Shown:
    """Progress; the backbone waits at its first pass for texts that are embedded beside it."""

    def __init__(self, embedder: Watched, wait_s: float) -> None:
        self.embedder, self.wait_s = embedder, wait_s

    @contextmanager
    def task(self, label: str, total: int | None = None) -> Iterator[Task]:
        if label != BACKBONE:
            yield NullTask()
            return
        self.embedder.going_on = label
        self.embedder.beside.wait(self.wait_s)
        yield NullTask()
        self.embedder.going_on = ""


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.ahead.cores", lambda: 2)


@pytest.mark.usefixtures("two_cores")
async def test_a_model_inside_embeds_beside_the_backbone_and_gives_the_same(tmp_path: Path) -> None:
    inside, served = Watched("transformers"), Watched("vllm")
    splits: dict[str, Split] = {}

    async def told(split: Split) -> None:
        splits["inside"] = split

    async def never(split: Split) -> None:
        splits["served"] = split

    shown = Shown(inside, PATIENCE_S)
    ahead = await train(settings_for(tmp_path / "a"), LOG, inside, progress=shown, afterwards=told)
    shown = Shown(served, 0.3)
    after = await train(settings_for(tmp_path / "b"), LOG, served, progress=shown, afterwards=never)
    assert list(splits) == ["inside"]
    np.testing.assert_array_equal(splits["inside"].test_start, ahead.split.test_start)
    assert inside.beside.is_set()
    assert not served.beside.is_set(), "a server takes every core"
    one, two = weights(ahead), weights(after)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert set(ahead.stage_seconds) == set(after.stage_seconds)


@pytest.mark.usefixtures("two_cores")
async def test_fitting_on_every_core_leaves_none_to_spare(tmp_path: Path) -> None:
    embedder = Watched("transformers")
    assert core_to_spare(settings_for(tmp_path, threads=1), embedder)
    assert not core_to_spare(settings_for(tmp_path, threads=2), embedder)


async def test_what_goes_on_beside_ends_with_the_block_and_raises_nothing() -> None:
    ended = asyncio.Event()

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def fails() -> None:
        raise EmbedderUnavailable("away")

    async with beside(forever()), beside(fails()):
        await asyncio.sleep(0)
        assert not ended.is_set()
    assert ended.is_set()
