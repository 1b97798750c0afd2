"""Live progress on the terminal: one line per finished step, one line for what is running."""

import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

HEARTBEAT_S = 30.0


class Step:
    """A running step; ``detail`` is shown beside it."""

    def __init__(self, environment: str, label: str) -> None:
        self.environment = environment
        self.label = label
        self.detail = ""
        self.started = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started


class StepDisplay:
    """Draws steps of several threads; ``quiet`` prints nothing but errors.

    On a terminal the running steps share one line that is redrawn in place. Elsewhere (a CI log)
    every step prints when it ends, and a sign of life each half minute.
    """

    def __init__(self, *, quiet: bool = False, out: TextIO | None = None) -> None:
        self._quiet = quiet
        self._out = out or sys.stdout
        self._live = not quiet and self._out.isatty()
        self._running: list[Step] = []
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._ticker = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> "StepDisplay":
        self._ticker.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._closed.set()
        self._ticker.join()
        with self._lock:
            self._clear()

    @contextmanager
    def step(self, environment: str, label: str) -> Iterator[Step]:
        """Time a step; its line is printed when it ends, failed steps included."""
        step = Step(environment, label)
        with self._lock:
            self._running.append(step)
        mark = "failed"
        try:
            yield step
            mark = "done"
        finally:
            with self._lock:
                self._running.remove(step)
                detail = f" ({step.detail})" if mark == "failed" and step.detail else ""
                self._print(f"  {environment:8} {label:34} {mark:6} {step.seconds:6.1f} s{detail}")

    def say(self, text: str) -> None:
        """Print a line of its own."""
        with self._lock:
            self._print(text)

    def _print(self, text: str) -> None:
        if not self._quiet:
            self._clear()
            print(text, file=self._out, flush=True)

    def _clear(self) -> None:
        if self._live:
            print("\r\x1b[K", end="", file=self._out, flush=True)

    def _tick(self) -> None:
        interval = 0.25 if self._live else HEARTBEAT_S
        while not self._closed.wait(interval):
            with self._lock:
                if not self._running or self._quiet:
                    continue
                text = " | ".join(
                    f"{s.environment}: {s.label} {s.detail} {s.seconds:.0f} s".replace("  ", " ")
                    for s in self._running
                )
                if self._live:
                    width = shutil.get_terminal_size().columns - 1
                    print(f"\r\x1b[K{text[:width]}", end="", file=self._out, flush=True)
                else:
                    print(f"  ... {text}", file=self._out, flush=True)
