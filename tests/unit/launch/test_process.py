"""Supervision of real child processes, small Python programs that stand in for servers."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from launch.process import ChildProcess
from shared.errors import LaunchError

# A program with a grandchild in a session of its own, as servers with workers have. Both write
# their process id; STUBBORN ones ignore SIGTERM.
FAMILY = """
import os, signal, subprocess, sys, time

folder, stubborn = sys.argv[1], sys.argv[2] == "stubborn"
if stubborn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
code = (
    "import os, signal, sys, time\\n"
    "if %r: signal.signal(signal.SIGTERM, signal.SIG_IGN)\\n"
    "open(sys.argv[1] + '/grandchild', 'w').write(str(os.getpid()))\\n"
    "time.sleep(60)" % stubborn
)
subprocess.Popen([sys.executable, "-c", code, folder], start_new_session=True)
while not os.path.exists(folder + "/grandchild") or not open(folder + "/grandchild").read():
    time.sleep(0.01)
open(folder + "/child", "w").write(str(os.getpid()))
print("family is up", flush=True)
time.sleep(60)
"""


def family(folder: Path, *, stubborn: bool = False, grace_s: float = 5.0) -> ChildProcess:
    manner = "stubborn" if stubborn else "obedient"
    command = [sys.executable, "-c", FAMILY, str(folder), manner]
    return ChildProcess("family", command, log=folder / "log", grace_s=grace_s)


def written(path: Path):
    async def probe() -> str | None:
        return None if path.exists() and path.read_text() else f"{path.name} not written"

    return probe


def alive(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def pids_in(folder: Path) -> list[int]:
    return [int((folder / name).read_text()) for name in ("child", "grandchild")]


def wait_dead(pids: list[int], timeout_s: float = 5.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while any(alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not any(alive(pid) for pid in pids)


async def test_stop_ends_grandchildren_in_other_sessions(tmp_path: Path) -> None:
    async with family(tmp_path) as process:
        await process.wait_ready(written(tmp_path / "child"), 10)
        pids = pids_in(tmp_path)
        assert process.pids == pids
        started = time.monotonic()
    assert time.monotonic() - started < 3
    assert not any(alive(pid) for pid in pids)
    assert process.returncode == 128 + signal.SIGTERM
    assert await process.stop() == process.returncode  # twice does no harm


async def test_stop_kills_what_ignores_sigterm_after_the_grace(tmp_path: Path) -> None:
    process = family(tmp_path, stubborn=True, grace_s=0.5)
    process.start()
    await process.wait_ready(written(tmp_path / "child"), 10)
    pids = pids_in(tmp_path)
    started = time.monotonic()
    await process.stop()
    assert 0.5 <= time.monotonic() - started < 3
    assert not any(alive(pid) for pid in pids)
    assert process.returncode == 128 + signal.SIGKILL


async def test_cancelled_stop_leaves_nothing(tmp_path: Path) -> None:
    process = family(tmp_path, stubborn=True, grace_s=60)
    process.start()
    await process.wait_ready(written(tmp_path / "child"), 10)
    pids = pids_in(tmp_path)
    task = asyncio.create_task(process.stop())
    await asyncio.sleep(0.2)
    assert all(alive(pid) for pid in pids)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not any(alive(pid) for pid in pids)
    assert not process.running


async def test_a_cancellation_that_a_probe_swallows_still_ends_the_wait(tmp_path: Path) -> None:
    """As clients do that wait by the wait_for of Python 3.11, when an answer comes just then."""

    async def deaf() -> str:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        return "not yet"

    async with family(tmp_path) as process:
        waiting = asyncio.create_task(process.wait_ready(deaf, 30))
        await asyncio.sleep(0.05)
        waiting.cancel()
        done, _ = await asyncio.wait([waiting], timeout=5)
        assert done
        assert waiting.cancelled()


async def test_an_interrupt_that_ends_the_program_first_still_ends_the_wait(
    tmp_path: Path,
) -> None:
    """A terminal's Ctrl-C reaches a program that is only just starting as well."""

    async def never() -> str:
        return "not yet"

    process = ChildProcess("brief", [sys.executable, "-c", ""], log=tmp_path / "log")
    async with process:
        with pytest.raises(LaunchError, match="ended while starting"):
            await process.wait_ready(never, 30)
        waiting = asyncio.create_task(process.wait_ready(never, 30))
        await asyncio.sleep(0)  # it has found the program gone
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting


OWNER = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_process import family, written
async def main():
    folder = Path(sys.argv[1])
    process = family(folder, grace_s=0.5, stubborn=sys.argv[2] == "stubborn")
    process.start()
    await process.wait_ready(written(folder / "child"), 10)
    print("ready", flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


@pytest.mark.parametrize("manner", ["obedient", "stubborn"])
def test_sigkill_of_the_owner_ends_all(tmp_path: Path, manner: str) -> None:
    code = OWNER.format(tests=str(Path(__file__).parent))
    owner = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path), manner], stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    with owner.stdout:
        assert owner.stdout.readline() == "ready\n"
        pids = pids_in(tmp_path)
        assert all(alive(pid) for pid in pids)
        owner.kill()
        owner.wait()
    assert wait_dead(pids)


async def test_sigkill_of_the_guard_ends_the_program(tmp_path: Path) -> None:
    process = family(tmp_path)
    process.start()
    await process.wait_ready(written(tmp_path / "child"), 10)
    child, grandchild = pids_in(tmp_path)
    guard = int(Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(guard, signal.SIGKILL)
    try:
        assert wait_dead([child])
        assert not process.running
    finally:
        os.kill(grandchild, signal.SIGKILL)
    await process.stop()


async def test_a_sigterm_while_the_guard_shuts_down_does_not_replace_the_exit_code(
    tmp_path: Path,
) -> None:
    process = family(tmp_path)
    process.start()
    await process.wait_ready(written(tmp_path / "child"), 10)
    group = os.getpgid(process.pids[0])  # the guard leads it
    while process.running:
        os.kill(group, signal.SIGTERM)
        await asyncio.sleep(0.0005)
    assert process.returncode in (128 + signal.SIGTERM, 128 + signal.SIGKILL)
    await process.stop()


async def test_orphans_of_a_crashed_program_are_ended(tmp_path: Path) -> None:
    process = family(tmp_path)
    process.start()
    await process.wait_ready(written(tmp_path / "child"), 10)
    child, grandchild = pids_in(tmp_path)
    os.kill(child, signal.SIGKILL)
    assert wait_dead([child, grandchild])
    await process.stop()
    assert process.returncode == 128 + signal.SIGKILL
    with pytest.raises(
        LaunchError, match=r"family is not running, exit code 137[\s\S]*family is up"
    ):
        process.check()


async def test_exit_while_starting_is_reported_at_once(tmp_path: Path) -> None:
    code = "import sys; print('cannot find the moon'); sys.exit(7)"
    process = ChildProcess("rocket", [sys.executable, "-c", code], log=tmp_path / "log")
    process.start()
    started = time.monotonic()
    with pytest.raises(LaunchError, match=r"exit code 7[\s\S]*cannot find the moon"):
        await process.wait_ready(written(tmp_path / "never"), 60)
    assert time.monotonic() - started < 5
    await process.stop()


async def test_not_ready_in_time_says_why(tmp_path: Path) -> None:
    waits: list[float] = []
    async with family(tmp_path) as process:
        with pytest.raises(LaunchError, match=r"not ready within 0.5 s \(never not written\)"):
            await process.wait_ready(written(tmp_path / "never"), 0.5, on_wait=waits.append)
    assert waits == sorted(waits)
    assert len(waits) > 1


async def test_hanging_probe_does_not_outlast_the_timeout(tmp_path: Path) -> None:
    async def hang() -> str | None:
        await asyncio.sleep(60)
        return None

    async with family(tmp_path) as process:
        with pytest.raises(LaunchError, match=r"not ready within 0.3 s"):
            await asyncio.wait_for(process.wait_ready(hang, 0.3), 5)


async def test_missing_program_and_unwritable_log(tmp_path: Path) -> None:
    process = ChildProcess("ghost", [str(tmp_path / "ghost")], log=tmp_path / "log")
    process.start()
    with pytest.raises(LaunchError, match=r"cannot start .*ghost: No such file"):
        await process.wait_ready(written(tmp_path / "never"), 10)
    await process.stop()
    (tmp_path / "file").write_text("")
    with pytest.raises(LaunchError, match="cannot start ghost"):
        ChildProcess("ghost", ["true"], log=tmp_path / "file" / "log").start()


async def test_can_start_again_with_its_own_log_tail(tmp_path: Path) -> None:
    code = "import os; print(os.environ['WHO'])"
    log = tmp_path / "log"
    for who in ("first", "second"):
        process = ChildProcess(
            "echo", [sys.executable, "-c", code], log=log, env={**os.environ, "WHO": who}
        )
        process.start()
        while process.running:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        assert process.log_tail() == who
        await process.stop()
    assert log.read_text() == "first\nsecond\n"
