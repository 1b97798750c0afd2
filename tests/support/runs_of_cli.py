"""Runs of the real command line, and what they leave behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

TAG = "TEST_RUN_OF_SCALREC"
PROC = Path("/proc")


@dataclass
class CliRun:
    """`python -m scalrec ...` in a folder of its own; every process it starts carries its tag.

    With ``in_background`` it starts as a script's background job does, with SIGINT ignored.
    """

    arguments: Sequence[str]
    work_dir: Path
    env: Mapping[str, str] = field(default_factory=dict)
    in_background: bool = False

    def __post_init__(self) -> None:
        self.tag = uuid.uuid4().hex
        self.output = self.work_dir.with_suffix(".out")

    def start(self) -> subprocess.Popen[bytes]:
        """Start it in a process group of its own, as a terminal would; output goes to a file."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("COV_")}
        env = clean | {TAG: self.tag, "SCALREC_WORK_DIR": str(self.work_dir)} | dict(self.env)
        prefix = ("sh", "-c", "trap '' INT; exec \"$@\"", "sh") if self.in_background else ()
        with self.output.open("ab") as sink:
            return subprocess.Popen(
                [*prefix, sys.executable, "-m", "scalrec", *self.arguments],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env=env,
                start_new_session=True,
            )

    @contextmanager
    def started(self) -> Iterator[subprocess.Popen[bytes]]:
        """Like ``start``, and nothing of it survives the block, however the block ends."""
        process = self.start()
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def finish(self, timeout_s: float) -> str:
        """Run to the end; returns the output, raises AssertionError with it on failure."""
        with self.started() as process:
            code = process.wait(timeout_s)
        text = self.text()
        assert code == 0, f"exit code {code}\n{text[-6000:]}"
        return text

    def interrupt(self, process: subprocess.Popen[bytes], timeout_s: float) -> int:
        """Ctrl-C: SIGINT to the whole group; returns the exit code."""
        os.killpg(process.pid, signal.SIGINT)
        return process.wait(timeout_s)

    def wait_for(self, words: str, process: subprocess.Popen[bytes], timeout_s: float) -> None:
        """Wait until the output holds ``words``."""
        give_up = time.monotonic() + timeout_s
        while words not in self.text():
            assert process.poll() is None, f"ended before {words!r}\n{self.text()[-4000:]}"
            assert time.monotonic() < give_up, f"no {words!r} in time\n{self.text()[-4000:]}"
            time.sleep(0.05)

    def text(self) -> str:
        return self.output.read_text(errors="replace") if self.output.exists() else ""

    def left_over(self, grace_s: float = 3.0) -> list[str]:
        """Command lines of processes of this run that are still there after ``grace_s``."""
        give_up = time.monotonic() + grace_s
        while (alive := self._alive()) and time.monotonic() < give_up:
            time.sleep(0.1)
        return alive

    def _alive(self) -> list[str]:
        found = []
        for folder in PROC.iterdir():
            try:
                if f"{TAG}={self.tag}".encode() in (folder / "environ").read_bytes():
                    found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:
                continue  # not a process, gone meanwhile, or not ours
        return [line for line in found if line]
