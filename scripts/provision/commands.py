"""Running pip and its like: output to a log, the log's tail in the error, killed on cancel."""

import collections
import os
import re
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from provision.progress import Step

TAIL_LINES = 15
NO_NETWORK = re.compile(
    r"NewConnectionError|Temporary failure in name resolution|Network is unreachable|"
    r"ConnectTimeoutError|Connection refused|ProxyError"
)


class InstallError(Exception):
    """A step failed; the message is for the person at the terminal."""


class Unsupported(InstallError):
    """This machine cannot have the environment, however often it is tried."""


class Cancelled(InstallError):
    """The person at the terminal ended it."""


class Commands:
    """Runs commands one per thread; ``cancel`` ends all of them and refuses new ones."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._children: set[subprocess.Popen[str]] = set()
        self._cancelled = False

    def run(
        self, command: Sequence[str], log: Path, *, step: Step, hold: int | None = None
    ) -> None:
        """Run to the end; raise InstallError with the log's tail if it fails.

        Args:
            hold: an open lock file that the child inherits, so that the lock outlives this
                process while the child is still writing.
        """
        environ = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
        environ |= {"PIP_ROOT_USER_ACTION": "ignore", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8") as sink:
            print("$", *command, file=sink, flush=True)
            with self._lock:
                if self._cancelled:
                    raise Cancelled("cancelled")
                child = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    errors="replace",
                    env=environ,
                    pass_fds=() if hold is None else (hold,),
                )
                self._children.add(child)
            try:
                tail = self._follow(child, sink.write, step)
            finally:
                with self._lock:
                    self._children.discard(child)
        if self._cancelled:
            raise Cancelled("cancelled")
        if child.returncode != 0:
            raise InstallError(_explain(command, child.returncode, tail, log))

    def cancel(self) -> None:
        """End every running command and wait for it."""
        with self._lock:
            self._cancelled = True
            children = list(self._children)
        for child in children:
            child.terminate()
        for child in children:
            try:
                child.wait(timeout=5)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    @staticmethod
    def _follow(
        child: "subprocess.Popen[str]", write: Callable[[str], object], step: Step
    ) -> list[str]:
        tail: collections.deque[str] = collections.deque(maxlen=TAIL_LINES)
        collected = 0
        assert child.stdout is not None  # noqa: S101  (stdout=PIPE above)
        with child.stdout as lines:
            for line in lines:
                write(line)
                tail.append(line.rstrip())
                text = line.strip()
                if text.startswith("Collecting "):
                    collected += 1
                    step.detail = f"{collected}: {text.split()[1].split('=')[0]}"
                elif text.startswith("Installing collected packages"):
                    step.detail = f"unpacking {text.count(',') + 1} packages"
        child.wait()
        return list(tail)


def _explain(command: Sequence[str], code: int, tail: list[str], log: Path) -> str:
    """The likely cause first, alone on the first line; then the evidence and what to do."""
    if any(NO_NETWORK.search(line) for line in tail):
        cause = "the package index cannot be reached"
        advice = "check the network and pip's index settings"
    elif any("No space left" in line for line in tail):
        cause = "the disk is full"
        advice = "free some space, or set SCALREC_CACHE to a folder on another disk"
    elif any("No matching distribution" in line for line in tail):
        cause = "pip's package index does not have this version for this machine"
        advice = "check pip's index settings"
    else:
        cause = f"`{Path(command[0]).name} {' '.join(command[1:4])}` ended with exit code {code}"
        advice = "see the log"
    shown = "\n".join(f"    {line}" for line in tail) or "    (no output)"
    return (
        f"{cause}\n  Last lines of {log}:\n{shown}\n"
        f"  What to do: {advice}; then run the same command again, it continues from here."
    )
