"""Sheet: the lines of a benchmark, shown and kept part by part as they are measured."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.scaling.machine import instructions
from benchmarks.timing import BenchmarkLine
from experiments.provenance import machine
from loadtest.replay.run_info import git_revision
from reports.marked import marked
from shared.files import write_whole

Lines = BenchmarkLine | list[BenchmarkLine]


class Sheet:
    """What was measured so far; a part that fails is told and does not stop the others.

    Args:
        console: shown every part's lines as they come.
        folder: of the file, which is written anew after every part.
        wanted: the parts that are measured; empty: all.

    Attributes:
        path: the file. lines: in the order measured. failed: names of parts that failed.
    """

    def __init__(self, console: Console, folder: Path, wanted: Collection[str] = ()) -> None:
        self._console = console
        self._wanted = frozenset(wanted)
        self._began = datetime.now(UTC)
        self.path = folder / f"{self._began:%Y%m%dT%H%M%S}.json"
        self.lines: list[BenchmarkLine] = []
        self.failed: list[str] = []

    def wants(self, *parts: str) -> bool:
        """Whether any of ``parts`` is to be measured."""
        return not self._wanted or not self._wanted.isdisjoint(parts)

    async def measure(self, part: str, compare: Callable[[], Lines]) -> None:
        """Measure a part, if it is wanted, in a thread of its own."""

        async def told() -> Lines:
            return await asyncio.to_thread(compare)

        await self.ask(part, told)

    async def ask(self, part: str, compare: Callable[[], Awaitable[Lines]]) -> None:
        """Measure a part, if it is wanted, that waits for servers."""
        if not self.wants(part):
            return
        self._console.print(f"· measuring {part}")
        started = time.monotonic()
        try:
            found = await compare()
        except Exception as error:  # noqa: BLE001 - whatever it is, the others are worth having
            self.failed.append(part)
            kind = type(error).__name__
            self._console.print(marked("[red]✗[/] {} failed: {}: {}", part, kind, error))
            return
        lines = found if isinstance(found, list) else [found]
        self.lines += lines
        self._keep()
        self._console.print(as_table(lines, f"{part}, {time.monotonic() - started:.0f} s"))

    def _keep(self) -> None:
        record = {
            "when": self._began.isoformat(timespec="seconds"),
            "git_revision": git_revision(),
            "machine": machine(),
            "instructions": list(instructions()),
            "results": [asdict(line) for line in self.lines],
        }
        write_whole(self.path, json.dumps(record, indent=1) + "\n")


def as_table(lines: Collection[BenchmarkLine], title: str) -> Table:
    """One row a line."""
    table = Table(title=title, title_justify="left")
    for column in ("what", "ours", "theirs", "unit", "ratio", "better"):
        table.add_column(column, justify="left" if column in ("what", "better") else "right")
    for r in lines:
        table.add_row(
            r.name, f"{r.ours:,.1f}", f"{r.theirs:,.1f}", r.unit, f"{r.ratio:.3f}", r.meaning
        )
    return table
