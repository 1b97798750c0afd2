"""What a person sees: progress bars, plain lines where there is no terminal, stage times."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from reports.marked import as_shown, marked
from shared.progress import Task

if TYPE_CHECKING:  # `scalrec --help` has a console, and needs neither pydantic nor numpy
    from pydantic import BaseModel

    from shared.interactions import InteractionLog

PLAIN_INTERVAL_S = 20.0
PLAIN_WIDTH = 140  # where there is no terminal to ask, wide enough for every table


class _Discreet(Console):
    """Prints what it is given as it is, with the secrets of addresses as stars.

    Only ``marked`` has markup: words of logs, paths and errors are never taken for it.
    """

    def __init__(self, **options: Any):
        super().__init__(markup=False, emoji=False, **options)

    def print(self, *objects: Any, **options: Any) -> None:
        super().print(*(_discreet(each) for each in objects), **options)


def _discreet(value: Any) -> Any:
    return as_shown(value) if isinstance(value, str | BaseException) else value


def make_console(*, stderr: bool = False) -> Console:
    """The console of a command: the terminal's width, or a fixed one in logs and CI."""
    console = _Discreet(stderr=stderr)
    return console if console.is_terminal else _Discreet(stderr=stderr, width=PLAIN_WIDTH)


class _BarTask:
    def __init__(self, bars: Progress, task: TaskID):
        self._bars = bars
        self._task = task

    def advance(self, amount: int = 1, note: str = "") -> None:
        if note:
            self._bars.update(self._task, note=note)
        self._bars.advance(self._task, amount)


class _PlainTask:
    """A line now and then, for logs and CI."""

    def __init__(self, console: Console, label: str, total: int | None):
        self._console, self._label, self._total = console, label, total
        self._done = 0
        self._began = self._last = time.monotonic()

    def advance(self, amount: int = 1, note: str = "") -> None:
        self._done += amount
        now = time.monotonic()
        if now - self._last >= PLAIN_INTERVAL_S:
            self._last = now
            of = f"/{self._total}{self._left(now)}" if self._total else ""
            self._console.print(f"  {self._label}: {self._done}{of} {note}".rstrip(), markup=False)

    def _left(self, now: float) -> str:
        if not self._total or not self._done:
            return ""
        seconds = (now - self._began) / self._done * max(0, self._total - self._done)
        near = seconds < 120
        return f", about {seconds:.0f} s left" if near else f", about {seconds / 60:.0f} min left"


class ConsoleProgress:
    """The Progress seam drawn with rich; tasks at the same time stack as further bars.

    Tasks may begin and end in several threads.
    """

    def __init__(self, console: Console):
        self._console = console
        self._lock = Lock()
        self._bars: Progress | None = None
        self._depth = 0

    @contextmanager
    def task(self, label: str, total: int | None = None) -> Iterator[Task]:
        started = time.monotonic()
        if not self._console.is_terminal:
            amount = f" ({total:,})" if total else ""
            self._console.print(f"· {label}{amount}", markup=False)
            yield _PlainTask(self._console, label, total)
        else:
            bars = self._open()
            task = bars.add_task(label, total=total, note="")
            try:
                yield _BarTask(bars, task)
            finally:
                bars.remove_task(task)
                self._close()
        elapsed = time.monotonic() - started
        if elapsed >= 0.5:
            amount = f"({total:,}) " if total else ""
            took = f"{amount}{elapsed:.1f} s"
            self._console.print(marked("[green]✓[/] {} [dim]{}[/]", label, took))

    def _open(self) -> Progress:
        with self._lock:
            if self._bars is None:
                self._bars = Progress(
                    SpinnerColumn(),
                    TextColumn("{task.description}", markup=False),
                    BarColumn(bar_width=28),
                    MofNCompleteColumn(),
                    TimeElapsedColumn(),
                    TimeRemainingColumn(),
                    TextColumn("{task.fields[note]}", style="dim", markup=False),
                    console=self._console,
                    transient=True,
                )
                self._bars.start()
            self._depth += 1
            return self._bars

    def _close(self) -> None:
        with self._lock:
            self._depth -= 1
            if self._depth == 0 and self._bars is not None:
                self._bars.stop()
                self._bars = None


@dataclass
class StageTimes:
    """Wall seconds per stage of a run, in order.

    Attributes:
        began: of the run, monotonic seconds.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            self.add(name, time.monotonic() - started)

    def add(self, name: str, seconds: float) -> None:
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    def print(self, console: Console) -> None:
        total = time.monotonic() - self.began
        table = Table(title="Where the time went", title_justify="left", box=None)
        table.add_column("stage")
        table.add_column("seconds", justify="right")
        table.add_column("share", justify="right")
        for name, seconds in self.seconds.items():
            table.add_row(name, f"{seconds:.1f}", f"{seconds / total:.0%}" if total else "")
        table.add_row("total", f"{total:.1f}", "", style="bold")
        if sum(self.seconds.values()) > total:
            table.caption = "some went on side by side: their seconds are counted in each"
        console.print(table)


def print_settings(console: Console, settings: BaseModel) -> None:
    """Every setting in force, one line per section, secrets masked."""
    from shared.section import printable

    for section, values in printable(settings).items():
        if isinstance(values, dict):
            text = "  ".join(f"{k}={v}" for k, v in values.items() if v is not None)
        else:
            text = str(values)
        console.print(marked("[dim]{}[/]  {}", f"{section:>10}", text), highlight=False)


def print_verdict(console: Console, notes: Iterable[str], failures: Iterable[str]) -> None:
    """What a run says of itself, besides its figures."""
    for note in notes:
        console.print(marked("[yellow]note[/] {}", note), highlight=False, soft_wrap=True)
    for failure in failures:
        console.print(marked("[bold red]wrong[/] {}", failure), highlight=False, soft_wrap=True)


def print_log(console: Console, log: InteractionLog) -> None:
    """The description every command prints when it uses a log."""
    for label, value in log.describe().items():
        console.print(marked("[dim]{}[/]  {}", f"{label:>40}", value), highlight=False)
    print_remarks(console, log)


def print_remarks(console: Console, log: InteractionLog) -> None:
    """What loading dropped or repaired, and the terms of use."""
    for note in log.notes:
        console.print(marked("[yellow]note[/] {}", note), highlight=False)
    if log.terms:
        console.print(marked("[dim]Terms:[/] {}", log.terms), highlight=False)
