"""A supervised child process: ready or a clear error, and never left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

from launch import guard
from shared.errors import LaunchError

# One look at a starting child: None when it is ready, else why not, in a few words.
Probe = Callable[[], Awaitable[str | None]]
# Told the seconds waited so far.
OnWait = Callable[[float], None]

TAIL_LINES = 20
TAIL_BYTES = 16_384
POLL_S = 0.1
STOP_POLL_S = 0.02
GUARD_MARGIN_S = 3.0


class ChildProcess:
    """A program run under a guard (see ``guard``) in a session of its own.

    It does not get the terminal's Ctrl-C (its owner ends it in order), and it ends with all its
    descendants when the owner ends, even by SIGKILL. It can be started again after it ended.

    Args:
        name: what messages call it.
        command: program and arguments.
        log: file that takes stdout and stderr, appended to.
        env: the whole environment; None inherits.
        grace_s: seconds between SIGTERM and SIGKILL.
        hint: what to do when it does not become ready.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        grace_s: float = 10.0,
        hint: str = "",
    ) -> None:
        self.name = name
        self.command = list(command)
        self.log = log
        self._env = None if env is None else dict(env)
        self._cwd = cwd
        self._grace_s = grace_s
        self._hint = hint
        self._guard: subprocess.Popen[bytes] | None = None
        self._program: int | None = None  # process id, once somebody asked for it
        self._pipe = -1
        self._log_start = 0

    @property
    def running(self) -> bool:
        return self._guard is not None and self._guard.poll() is None

    @property
    def returncode(self) -> int | None:
        """Exit code of the program (128 + n: died of signal n); None while running or unstarted."""
        return None if self._guard is None else self._guard.poll()

    @property
    def pids(self) -> list[int]:
        """Process ids of the program and all its descendants, the program first."""
        return guard.descendants(self._guard.pid) if self._guard and self.running else []

    def start(self) -> None:
        """Start the program; returns at once.

        Raises:
            LaunchError: the log file or the process cannot be made.
        """
        if self.running:
            raise LaunchError(f"{self.name} is already running")
        self._release()
        self._program = None
        read_end, self._pipe = os.pipe()
        script = [sys.executable, "-I", "-S", guard.__file__]
        control = [str(read_end), str(os.getpid()), str(self._grace_s)]
        try:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            with self.log.open("ab") as sink:
                self._log_start = sink.tell()
                self._guard = subprocess.Popen(
                    [*script, *control, *self.command],
                    stdin=subprocess.DEVNULL,
                    stdout=sink,
                    stderr=subprocess.STDOUT,
                    env=self._env,
                    cwd=self._cwd,
                    start_new_session=True,
                    pass_fds=(read_end,),
                )
        except OSError as error:
            self._release()
            raise LaunchError(f"cannot start {self.name}: {error}") from error
        finally:
            os.close(read_end)

    async def wait_ready(
        self, probe: Probe, timeout_s: float, *, on_wait: OnWait | None = None
    ) -> float:
        """Wait until ``probe`` says ready; returns the seconds it took.

        Raises:
            LaunchError: the program ended, or was not ready in time; carries the log's tail.
        """
        started = time.monotonic()
        reason = "not asked yet"
        cancelled_before = _cancellations()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self.running:
                    answer = await probe()
                    # asyncio.wait_for of Python 3.11, which clients use, can swallow a Ctrl-C.
                    if _cancellations() > cancelled_before:
                        raise asyncio.CancelledError
                    elapsed = time.monotonic() - started
                    if answer is None:
                        return elapsed
                    reason = answer
                    if on_wait is not None:
                        on_wait(elapsed)
                    await asyncio.sleep(POLL_S)
        if self.running:
            raise self._error(f"was not ready within {timeout_s:g} s ({reason})")
        # A Ctrl-C that ended the program, too, is on its way here.
        await asyncio.sleep(POLL_S)
        if _cancellations() > cancelled_before:
            raise asyncio.CancelledError
        raise self._error(f"ended while starting, exit code {self.returncode}")

    def check(self, lines: int = TAIL_LINES) -> None:
        """Raise LaunchError, with the log's tail, if the program has ended or was stopped."""
        if not self.running:
            raise self._error(f"is not running, exit code {self.returncode}", lines)
        if self.standing_still:
            raise self._error("stands still, stopped by a signal (SIGSTOP)", lines)

    @property
    def standing_still(self) -> bool:
        """Whether the program is stopped; False where the system does not tell."""
        if self._program is None:
            self._program = next(iter(self.pids), None)
        try:
            stat = Path(f"/proc/{self._program}/stat").read_text()
        except OSError:
            return False
        return stat.rpartition(")")[2].split()[0] in ("T", "t")

    async def stop(self) -> int | None:
        """End the program and all its descendants; returns the exit code, None if never started.

        Safe to call twice. Cancelled, it skips the grace and still leaves nothing running.
        """
        process = self._guard
        if process is None:
            return None
        try:
            if process.poll() is None:
                process.terminate()
                await self._ended(process, self._grace_s + GUARD_MARGIN_S)
        finally:
            self.kill()
        return process.returncode

    def kill(self) -> None:
        """End everything now, without grace; blocks for the fraction of a second this takes."""
        process = self._guard
        if process is not None and process.poll() is None:
            process.terminate()
            time.sleep(0.01)  # two pending SIGTERMs would be merged into one
            process.terminate()
            try:
                process.wait(timeout=GUARD_MARGIN_S)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self._release()

    def log_tail(self, lines: int = TAIL_LINES) -> str:
        """The last lines this start of the program wrote."""
        try:
            with self.log.open("rb") as source:
                end = source.seek(0, os.SEEK_END)
                source.seek(max(self._log_start, end - TAIL_BYTES))
                text = source.read().decode(errors="replace")
        except OSError as error:
            return f"(log not readable: {error})"
        return "\n".join(text.splitlines()[-lines:]) or "(nothing logged)"

    async def __aenter__(self) -> Self:
        if not self.running:
            self.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.stop()

    @staticmethod
    async def _ended(process: subprocess.Popen[bytes], timeout_s: float) -> None:
        for _ in range(int(timeout_s / STOP_POLL_S)):
            if process.poll() is not None:
                return
            await asyncio.sleep(STOP_POLL_S)

    def _release(self) -> None:
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1

    def _error(self, what: str, lines: int = TAIL_LINES) -> LaunchError:
        hint = f"\n{self._hint}" if self._hint else ""
        return LaunchError(
            f"{self.name} {what}. Last lines of {self.log}:\n{self.log_tail(lines)}{hint}"
        )


def _cancellations() -> int:
    """How often somebody asked the current task to stop."""
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()
