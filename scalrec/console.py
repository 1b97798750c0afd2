"""What a person sees: progress bars, plain lines where there is no terminal, stage times."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel
from rich.console import Console
from rich.markup import escape
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
from rich.text import Text

from shared.addresses import masked
from shared.interactions import InteractionLog
from shared.progress import Task
from shared.section import printable

PLAIN_INTERVAL_S = 20.0
PLAIN_WIDTH = 140  # where there is no terminal to ask, wide enough for every table


class _Discreet(Console):
    """Prints texts and errors with the secrets of addresses as stars."""

    def print(self, *objects: Any, **options: Any) -> None:
        super().print(*(_discreet(each) for each in objects), **options)


def _discreet(value: Any) -> Any:
    if isinstance(value, BaseException):
        return Text(masked(str(value)))  # brackets in its words are no markup
    return masked(value) if isinstance(value, str) else value


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
        self._last = time.monotonic()

    def advance(self, amount: int = 1, note: str = "") -> None:
        self._done += amount
        now = time.monotonic()
        if now - self._last >= PLAIN_INTERVAL_S:
            self._last = now
            of = f"/{self._total}" if self._total else ""
            self._console.print(f"  {self._label}: {self._done}{of} {note}".rstrip(), markup=False)


class ConsoleProgress:
    """The Progress seam drawn with rich; nested tasks stack as further bars."""

    def __init__(self, console: Console):
        self._console = console
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
            amount = f" [dim]({total:,})[/]" if total else ""
            self._console.print(f"[green]✓[/] {label}{amount} [dim]{elapsed:.1f} s[/]")

    def _open(self) -> Progress:
        if self._bars is None:
            self._bars = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(bar_width=28),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                TextColumn("[dim]{task.fields[note]}"),
                console=self._console,
                transient=True,
            )
            self._bars.start()
        self._depth += 1
        return self._bars

    def _close(self) -> None:
        self._depth -= 1
        if self._depth == 0 and self._bars is not None:
            self._bars.stop()
            self._bars = None


@dataclass
class StageTimes:
    """Wall seconds per stage of a run, in order."""

    seconds: dict[str, float] = field(default_factory=dict)

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
        total = sum(self.seconds.values())
        table = Table(title="Where the time went", title_justify="left", box=None)
        table.add_column("stage")
        table.add_column("seconds", justify="right")
        table.add_column("share", justify="right")
        for name, seconds in self.seconds.items():
            table.add_row(name, f"{seconds:.1f}", f"{seconds / total:.0%}" if total else "")
        table.add_row("[bold]total[/]", f"[bold]{total:.1f}[/]", "")
        console.print(table)


def print_settings(console: Console, settings: BaseModel) -> None:
    """Every setting in force, one line per section, secrets masked."""
    for section, values in printable(settings).items():
        if isinstance(values, dict):
            text = "  ".join(f"{k}={v}" for k, v in values.items() if v is not None)
        else:
            text = str(values)
        console.print(f"[dim]{section:>10}[/]  {escape(text)}", highlight=False)


def print_verdict(console: Console, notes: Iterable[str], failures: Iterable[str]) -> None:
    """What a run says of itself, besides its figures."""
    for note in notes:
        console.print(f"[yellow]note[/] {escape(note)}", highlight=False, soft_wrap=True)
    for failure in failures:
        console.print(f"[bold red]wrong[/] {escape(failure)}", highlight=False, soft_wrap=True)


def print_log(console: Console, log: InteractionLog) -> None:
    """The description every command prints when it uses a log."""
    for label, value in log.describe().items():
        console.print(f"[dim]{label:>40}[/]  {value}", highlight=False)
    for note in log.notes:
        console.print(f"[yellow]note[/] {note}", highlight=False)
    if log.terms:
        console.print(f"[dim]Terms:[/] {log.terms}", highlight=False)
