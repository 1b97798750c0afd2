import asyncio
import time

import pytest

from loadtest.timing.clock import VIRTUAL_EPOCH, ReplayTime, UnixTime, VirtualClock, WallClock
from loadtest.timing.virtual_loop import VirtualClockError, run_virtual


async def test_wall_clock_runs_with_real_time() -> None:
    clock = WallClock()
    first = clock.time()
    await asyncio.sleep(0.02)
    assert 0.02 <= clock.time() - first < 1.0


def test_virtual_hours_pass_at_once_and_timers_fire_in_order() -> None:
    async def main() -> list[tuple[str, float]]:
        clock = VirtualClock()
        seen: list[tuple[str, float]] = []

        async def note(name: str, delay: float) -> None:
            await asyncio.sleep(delay)
            seen.append((name, clock.time()))

        await asyncio.gather(note("late", 90_000.0), note("early", 10.0), note("middle", 3600.0))
        return seen

    started = time.monotonic()
    seen = run_virtual(main)
    assert time.monotonic() - started < 2.0
    assert seen == [("early", 10.0), ("middle", 3600.0), ("late", 90_000.0)]


def test_virtual_dates_are_the_same_in_every_run() -> None:
    async def main() -> tuple[float, float]:
        clock = VirtualClock()
        await asyncio.sleep(60.0)
        return clock.unix(), UnixTime(clock).time()

    assert run_virtual(main) == run_virtual(main) == (VIRTUAL_EPOCH + 60.0,) * 2
    assert abs(WallClock().unix() - time.time()) < 5.0


def test_timeouts_are_virtual() -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30.0):
                await asyncio.Event().wait()
        return asyncio.get_running_loop().time()

    assert run_virtual(main) == 30.0


def test_executor_work_runs_in_place_and_raises_where_it_is_awaited() -> None:
    async def main() -> tuple[int, float]:
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 // 0)
        return await asyncio.to_thread(lambda: 7), asyncio.get_running_loop().time()

    assert run_virtual(main) == (7, 0.0)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_sockets_are_refused_in_plain_words(host: str) -> None:
    async def main() -> None:
        await asyncio.open_connection(host, 9)

    with pytest.raises(VirtualClockError, match="under the virtual clock: use an in-process"):
        run_virtual(main)


def test_child_processes_are_refused() -> None:
    async def main() -> None:
        await asyncio.create_subprocess_exec("true")

    with pytest.raises(VirtualClockError, match="child process"):
        run_virtual(main)


def test_foreign_threads_are_refused() -> None:
    raised: list[BaseException] = []

    async def main() -> None:
        import threading

        loop = asyncio.get_running_loop()

        def report() -> None:
            try:
                loop.call_soon_threadsafe(print)
            except VirtualClockError as error:
                raised.append(error)

        thread = threading.Thread(target=report)
        thread.start()
        thread.join()

    run_virtual(main)
    assert "a thread reports" in str(raised[0])


def test_waiting_for_ever_is_an_error_not_a_hang() -> None:
    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(VirtualClockError, match="every task waits"):
        run_virtual(main)


def test_replay_time_counts_from_the_window_and_the_warm_up_is_negative() -> None:
    async def main() -> None:
        time = ReplayTime(VirtualClock())
        with pytest.raises(RuntimeError, match="not begun"):
            time.of(0.0)
        await asyncio.sleep(12.0)
        assert time.now() == 0.0
        time.start()
        await time.wait_until(2.5)
        assert time.now() == 2.5
        assert time.of(0.0) == -12.0
        await time.wait_until(1.0)  # late: returns at once
        assert time.now() == 2.5

    run_virtual(main)
