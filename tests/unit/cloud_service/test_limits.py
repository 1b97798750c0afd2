import asyncio

import pytest

from cloud_service.limits import Limiter, Overloaded


async def _hold(limiter: Limiter, go: asyncio.Event) -> str:
    async with limiter.slot():
        await go.wait()
    return "done"


async def test_bounds_what_runs_and_what_waits() -> None:
    limiter, go = Limiter(2, 1, max_wait_s=5), asyncio.Event()
    tasks = [asyncio.create_task(_hold(limiter, go)) for _ in range(3)]
    await asyncio.sleep(0)
    assert (limiter.in_flight, limiter.waiting) == (2, 1)
    with pytest.raises(Overloaded, match="2 snapshots are being computed and 1 wait"):
        await _hold(limiter, go)
    go.set()
    assert await asyncio.gather(*tasks) == ["done"] * 3
    assert (limiter.in_flight, limiter.waiting) == (0, 0)


async def test_nobody_waits_without_bound() -> None:
    limiter, go = Limiter(1, 5, max_wait_s=0.02), asyncio.Event()
    holder = asyncio.create_task(_hold(limiter, go))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded, match=r"within 0\.02 s"):
        await _hold(limiter, go)
    go.set()
    await holder
    assert limiter.waiting == 0


async def test_no_slot_is_lost_to_cancellation_or_errors() -> None:
    limiter, go = Limiter(1, 5, max_wait_s=5), asyncio.Event()
    holder = asyncio.create_task(_hold(limiter, go))
    waiter = asyncio.create_task(_hold(limiter, go))
    await asyncio.sleep(0)
    waiter.cancel()
    holder.cancel()
    await asyncio.wait([holder, waiter])
    with pytest.raises(LookupError):
        async with limiter.slot():
            raise LookupError
    go.set()
    assert await asyncio.wait_for(_hold(limiter, go), 1) == "done"


async def test_first_come_first_served() -> None:
    limiter, order = Limiter(1, 10, max_wait_s=5), []

    async def take(name: int) -> None:
        async with limiter.slot():
            order.append(name)
            await asyncio.sleep(0)

    await asyncio.gather(*(take(i) for i in range(6)))
    assert order == list(range(6))
