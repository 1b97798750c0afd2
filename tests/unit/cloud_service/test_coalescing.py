import asyncio
import gc

import pytest

from cloud_service.coalescing import Coalescer


class Work:
    """A computation that counts its starts and ends when told to."""

    def __init__(self) -> None:
        self.started = 0
        self.cancelled = 0
        self.go = asyncio.Event()

    async def __call__(self) -> int:
        self.started += 1
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return self.started


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_concurrent_callers_share_one_computation() -> None:
    coalescer: Coalescer[str, int] = Coalescer()
    work = Work()
    callers = [asyncio.create_task(coalescer.run("a", work)) for _ in range(5)]
    other = asyncio.create_task(coalescer.run("b", work))
    await _settle()
    work.go.set()
    await asyncio.gather(*callers, other)
    assert work.started == 2
    assert not coalescer.has("a")
    await coalescer.run("a", work)
    assert work.started == 3  # nothing is remembered


@pytest.mark.parametrize("victim", [0, 1, 2])
async def test_a_cancelled_caller_leaves_the_others_alone(victim: int) -> None:
    coalescer: Coalescer[str, int] = Coalescer()
    work = Work()
    callers = [asyncio.create_task(coalescer.run("a", work)) for _ in range(3)]
    await _settle()
    callers[victim].cancel()
    await _settle()
    work.go.set()
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert isinstance(results.pop(victim), asyncio.CancelledError)
    assert results == [1, 1]
    assert work.cancelled == 0


async def test_when_nobody_is_left_the_work_ends_and_newcomers_start_anew() -> None:
    coalescer: Coalescer[str, int] = Coalescer()
    work = Work()
    callers = [asyncio.create_task(coalescer.run("a", work)) for _ in range(2)]
    await _settle()
    for caller in callers:
        caller.cancel()
    await asyncio.wait(callers)
    late = asyncio.create_task(coalescer.run("a", work))
    await _settle()
    assert work.cancelled == 1
    work.go.set()
    assert await late == 2


async def test_an_error_reaches_every_caller() -> None:
    coalescer: Coalescer[str, int] = Coalescer()

    async def fail() -> int:
        await asyncio.sleep(0)
        raise LookupError("no")

    results = await asyncio.gather(
        *(coalescer.run("a", fail) for _ in range(3)), return_exceptions=True
    )
    assert [type(r) for r in results] == [LookupError] * 3
    assert not coalescer.has("a")


async def test_an_error_nobody_waits_for_any_more_is_not_reported_as_lost() -> None:
    coalescer: Coalescer[str, int] = Coalescer()
    lost: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, c: lost.append(c["message"]))

    async def fails_when_cancelled() -> int:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError as error:
            raise LookupError from error
        return 0

    caller = asyncio.create_task(coalescer.run("a", fails_when_cancelled))
    await _settle()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await _settle()
    gc.collect()
    assert lost == []
