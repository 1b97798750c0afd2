"""Work beside the event loop and beside other work ends when it must."""

from __future__ import annotations

import asyncio

import pytest

from training.background import side_by_side


async def _after(turns: int, value: str) -> str:
    for _ in range(turns):
        await asyncio.sleep(0)
    return value


async def test_both_results_come_in_their_order() -> None:
    assert await side_by_side(_after(5, "slow"), _after(1, "quick")) == ("slow", "quick")


@pytest.mark.parametrize("place", [0, 1])
async def test_what_fails_first_ends_the_other_and_is_raised_as_it_is(place: int) -> None:
    ended = asyncio.Event()

    async def endless() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    async def failing() -> None:
        await asyncio.sleep(0)
        raise KeyError("as it is")

    pair = [endless(), endless()]
    pair[place].close()
    pair[place] = failing()
    with pytest.raises(KeyError, match="as it is"):
        await side_by_side(*pair)
    assert ended.is_set()


async def test_cancelling_ends_both() -> None:
    ended = []

    async def endless(name: str) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(name)

    task = asyncio.create_task(side_by_side(endless("one"), endless("other")))
    await _after(3, "")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(ended) == ["one", "other"]
