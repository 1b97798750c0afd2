"""Guardian of one program: when the program's owner dies, however it dies, nothing stays behind.

Run as a script, standard library only::

    python guard.py PIPE_FD OWNER_PID GRACE_S COMMAND [ARGUMENT ...]

The owner holds the write end of a pipe and this process the read end, so even SIGKILL of the owner
is seen here, as end of file. (PR_SET_PDEATHSIG alone reaches children, not grandchildren, and
servers such as vLLM do their work in grandchildren.) The guard adopts orphans as a "child
subreaper", so it can end every descendant, also one that moved to another process group.

SIGTERM, or the owner's end: SIGTERM to the program, SIGTERM to what outlives it, SIGKILL to
everything left after the grace. A second SIGTERM ends the grace. Exits with the program's exit
code (128 + n if it died of signal n).
"""

import contextlib
import ctypes
import os
import select
import signal
import sys
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
POLL_S = 0.5
EXIT_NOT_STARTED = 127


def _prctl(option: int, value: int) -> None:
    """Linux only; elsewhere process groups have to do."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _start(command: list[str]) -> int:
    pid = os.fork()
    if pid:
        return pid
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGPIPE, signal.SIGXFSZ):  # what Python changed
        signal.signal(number, signal.SIG_DFL)
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    try:
        os.execvp(command[0], command)  # noqa: S606
    except OSError as error:
        print(f"cannot start {command[0]}: {error.strerror}", file=sys.stderr, flush=True)  # noqa: T201
    os._exit(EXIT_NOT_STARTED)


def descendants(root: int) -> list[int]:
    """All processes below ``root``, read from /proc (empty where there is none)."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            # "pid (any text) state ppid ...": the text may hold spaces and brackets
            parents[int(entry.parent.name)] = int(entry.read_text().rpartition(")")[2].split()[1])
    found = [root]
    for pid in found:
        found.extend(child for child, parent in parents.items() if parent == pid)
    return found[1:]


class Guard:
    """Runs one program and outlives it until its last descendant is gone.

    Args:
        pipe: read end of the owner's pipe.
        owner: process id of the owner.
        grace: seconds between SIGTERM and SIGKILL.
    """

    def __init__(self, pipe: int, owner: int, grace: float) -> None:
        self._pipe = pipe
        self._owner = owner
        self._grace = grace
        self._terms = 0  # SIGTERMs received
        self._code = 0
        self._program = 0  # process id, 0 when it has ended
        self._wakeup, wakeup_write = os.pipe()  # signals end a wait through it
        os.set_blocking(self._wakeup, False)
        os.set_blocking(wakeup_write, False)
        signal.set_wakeup_fd(wakeup_write, warn_on_full_buffer=False)

    def run(self, command: list[str]) -> int:
        """Returns the program's exit code once nothing of it runs any more."""
        signal.signal(signal.SIGTERM, self._on_term)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # its arrival ends the wait, no more
        _prctl(PR_SET_CHILD_SUBREAPER, 1)
        self._program = _start(command)
        while self._reap() and self._program and not self._terms and not self._owner_gone():
            self._wait(POLL_S, self._pipe)
        self._end()
        # Python's own shutdown restores the default of a handled signal, not of an ignored one: a
        # SIGTERM that comes now must not replace the program's exit code.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        return self._code

    def _on_term(self, *_: object) -> None:
        self._terms += 1

    def _owner_gone(self) -> bool:
        # The second test covers a fork of the owner that still holds the pipe.
        ready, _, _ = select.select([self._pipe], [], [], 0)
        return bool(ready) or os.getppid() != self._owner

    def _wait(self, seconds: float, *also: int) -> None:
        select.select([self._wakeup, *also], [], [], seconds)
        with contextlib.suppress(BlockingIOError):
            os.read(self._wakeup, 512)

    def _reap(self) -> bool:
        """Collect the dead; True while any child, adopted ones included, is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self._program:
                self._program = 0
                code = os.waitstatus_to_exitcode(status)
                self._code = code if code >= 0 else 128 - code

    def _end(self) -> None:
        """SIGTERM to the program, then to what it left behind; SIGKILL to all after the grace."""
        deadline = time.monotonic() + self._grace
        terminated: set[int] = set()
        while self._reap():
            if time.monotonic() > deadline or self._terms > 1:
                self._send(signal.SIGKILL, descendants(os.getpid()))
                self._wait(0.02)
                continue
            targets = [self._program] if self._program else descendants(os.getpid())
            self._send(signal.SIGTERM, [pid for pid in targets if pid not in terminated])
            terminated.update(targets)
            self._wait(0.1)

    def _send(self, number: signal.Signals, targets: list[int]) -> None:
        for pid in targets:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)


def main(arguments: list[str]) -> int:
    pipe, owner, grace, *command = arguments
    os.set_inheritable(int(pipe), False)
    return Guard(int(pipe), int(owner), float(grace)).run(command)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
