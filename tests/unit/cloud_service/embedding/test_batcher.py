"""Callers that come together share a round trip, and nothing else."""

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from cloud_service.embedding.base import TextsRefused, all_usable
from cloud_service.embedding.batcher import Batcher
from cloud_service.embedding.batching import BatchingEmbedder
from cloud_service.embedding.hashing import HashingEmbedder
from shared.errors import EmbedderMismatch


class Doubling:
    """Doubles numbers when told to; refuses those in ``bad`` and whoever is with them."""

    def __init__(self, *bad: int) -> None:
        self.bad = bad
        self.batches: list[list[int]] = []
        self.cancelled = 0
        self.go = asyncio.Event()

    async def __call__(self, items: Sequence[int]) -> list[int]:
        self.batches.append(list(items))
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if set(self.bad) & set(items):
            raise EmbedderMismatch(f"cannot take {items}")
        return [2 * item for item in items]


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def _ask(batcher: Batcher[int, int], *items: int) -> list[asyncio.Task[int]]:
    return [asyncio.create_task(batcher.value(item)) for item in items]


async def test_those_who_come_together_share_a_run_and_get_their_own_values() -> None:
    run = Doubling()
    run.go.set()
    batcher = Batcher(run, most=3)
    assert await asyncio.gather(*_ask(batcher, 1, 2, 3, 4)) == [2, 4, 6, 8]
    assert run.batches == [[1, 2, 3], [4]]  # never more than the most
    assert await batcher.value(5) == 10
    assert run.batches[-1] == [5]


async def test_a_lone_caller_waits_for_nobody_and_later_ones_no_longer_than_said() -> None:
    run = Doubling()
    batcher = Batcher(run, most=10, wait_s=0.05)
    first = _ask(batcher, 1)
    await _settle()
    assert run.batches == [[1]]
    later = _ask(batcher, 2)
    await _settle()
    later += _ask(batcher, 3)
    await _settle()
    assert run.batches == [[1]]
    async with asyncio.timeout(2):
        while len(run.batches) < 2:  # noqa: ASYNC110 (though the first has not ended)
            await asyncio.sleep(0.01)
    assert run.batches[1] == [2, 3]
    run.go.set()
    assert await asyncio.gather(*first, *later) == [2, 4, 6]


@pytest.mark.parametrize("victim", [0, 1, 2])
@pytest.mark.parametrize("when", ["waiting", "running"])
async def test_a_cancelled_caller_leaves_the_others_alone(victim: int, when: str) -> None:
    run = Doubling()
    batcher = Batcher(run, most=10, wait_s=0.0)
    callers = _ask(batcher, 1, 2, 3)
    await asyncio.sleep(0)  # each has asked, nothing has left
    if when == "running":
        await _settle()
    callers[victim].cancel()
    await _settle()
    run.go.set()
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert isinstance(results.pop(victim), asyncio.CancelledError)
    assert results == [2 * n for n in (1, 2, 3) if n != victim + 1]
    assert run.cancelled == 0
    assert len(run.batches[0]) == (2 if when == "waiting" else 3)


async def test_what_nobody_wants_any_more_is_not_run_or_stopped() -> None:
    run = Doubling()
    batcher = Batcher(run, most=10)
    callers = _ask(batcher, 1, 2)
    await asyncio.sleep(0)
    for caller in callers:
        caller.cancel()
    await _settle()
    assert run.batches == []
    callers = _ask(batcher, 3, 4)
    await _settle()
    for caller in callers:
        caller.cancel()
    await _settle()
    assert run.cancelled == 1
    run.go.set()
    assert await batcher.value(5) == 10  # the next one is served


async def test_an_error_reaches_everybody_at_once() -> None:
    run = Doubling(2)
    run.go.set()
    batcher = Batcher(run, most=10)
    results = await asyncio.gather(*_ask(batcher, 1, 2, 3), return_exceptions=True)
    assert [type(result) for result in results] == [EmbedderMismatch] * 3
    assert len(run.batches) == 1


class Counting(HashingEmbedder):
    """Counts calls; does not know what ``poison`` means."""

    def __init__(self) -> None:
        super().__init__(16)
        self.calls: list[int] = []

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.calls.append(len(texts))
        await asyncio.sleep(0)
        vectors = await super().embed(texts)
        refused = {place: "status 500" for place, text in enumerate(texts) if text == "poison"}
        vectors[list(refused)] = 0
        return all_usable(vectors, refused)


async def test_texts_of_several_callers_travel_together_and_come_back_as_alone() -> None:
    inner = Counting()
    embedder = BatchingEmbedder(inner)
    texts = [f"text {n}" for n in range(6)]
    rows = await asyncio.gather(*(embedder.embed([text]) for text in texts))
    assert inner.calls == [6]
    assert all(row.shape == (1, 16) for row in rows)
    np.testing.assert_array_equal(np.concatenate(rows), await HashingEmbedder(16).embed(texts))
    assert (await embedder.embed(texts)).shape == (6, 16)
    assert (await embedder.embed([])).shape == (0, 16)
    assert embedder.identity == inner.identity


async def test_nobody_suffers_from_the_text_of_another() -> None:
    embedder = BatchingEmbedder(Counting())
    good, bad = await asyncio.gather(
        embedder.embed(["fine"]), embedder.embed(["poison"]), return_exceptions=True
    )
    assert isinstance(bad, TextsRefused)
    assert str(bad) == "the text model gives no usable vector for the text: status 500"
    np.testing.assert_array_equal(good, await HashingEmbedder(16).embed(["fine"]))
