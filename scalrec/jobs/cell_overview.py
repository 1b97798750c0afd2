"""How far an experiment is: cells done and left, what each process is at, and when it may end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from experiments.cells import Cell
from experiments.jobs import StageProgress
from reports.marked import marked

PLAIN_INTERVAL_S = 60.0


class CellOverview:
    """The runner's Overview on a console; a bar for all cells and one for each running one.

    Args:
        total: cells to compute.
        reused: cells that were finished before.
        processes: cells computed at the same time.
    """

    def __init__(
        self,
        console: Console,
        *,
        total: int,
        reused: int,
        processes: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console, self._total, self._processes, self._clock = console, total, processes, clock
        self._done = 0
        self._took: list[float] = []
        self._tasks: dict[Cell, TaskID] = {}
        self._last: dict[Cell, float] = {}
        self._bars: Progress | None = None
        note = f", {reused} finished before" if reused else ""
        cells = "cell" if total == 1 else "cells"
        console.print(f"· {total} {cells} to compute{note}; {processes} at a time")
        if console.is_terminal:
            self._bars = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=28),
                TextColumn("{task.fields[note]}", markup=False),
                console=console,
                transient=True,
            )
            self._all = self._bars.add_task("cells", total=total, note="")

    def __enter__(self) -> Self:
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bars is not None:
            self._bars.stop()

    def started(self, cell: Cell) -> None:
        self._last[cell] = self._clock()
        if self._bars is None:
            self._console.print(f"· {cell} started", markup=False, highlight=False)
        else:
            self._tasks[cell] = self._bars.add_task(f"  {cell}", total=None, note="starting")

    def stage(self, cell: Cell, stage: StageProgress) -> None:
        amount = f" {stage.done:,}/{stage.total:,}" if stage.total else ""
        if self._bars is not None:
            self._bars.update(
                self._tasks[cell],
                total=stage.total,
                completed=stage.done,
                note=f"{stage.label}{amount}",
            )
        elif self._clock() - self._last[cell] >= PLAIN_INTERVAL_S:
            self._last[cell] = self._clock()
            self._console.print(f"  {cell}: {stage.label}{amount}", markup=False, highlight=False)

    def finished(self, cell: Cell, seconds: float) -> None:
        self._took.append(seconds)
        self._end(cell)
        self._console.print(
            marked("[green]✓[/] {} [dim]{} s; {}[/]", cell, f"{seconds:.0f}", self.outlook()),
            highlight=False,
        )

    def failed(self, cell: Cell, reason: str) -> None:
        self._end(cell)
        self._console.print(
            marked("[red]✗[/] {} failed; {}", cell, self.outlook()), highlight=False
        )
        self._console.print(reason, markup=False, highlight=False, soft_wrap=True)

    def outlook(self) -> str:
        """Cells done and left, and the time the rest will take if they are like those so far."""
        left = self._total - self._done
        text = f"{self._done}/{self._total} cells"
        if not left or not self._took:
            return text
        seconds = left * sum(self._took) / len(self._took) / min(self._processes, left)
        return f"{text}, about {spoken(seconds)} left"

    def _end(self, cell: Cell) -> None:
        self._done += 1
        if self._bars is not None:
            self._bars.remove_task(self._tasks.pop(cell))
            self._bars.update(self._all, completed=self._done, note=self.outlook())


def spoken(seconds: float) -> str:
    """``40 s``, ``12 min`` or ``3 h 20 min``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
