"""`python -m benchmarks.scaling`: measure all curves, keep the record, make the page."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks.scaling.curve import Curve, ScalingRecord
from benchmarks.scaling.machine import instructions, memory_gib
from benchmarks.scaling.measured import measured
from benchmarks.scaling.page import RECORD, written
from benchmarks.scaling.works import SIZES, Measurable, works
from experiments.provenance import machine, revision
from scalrec.console import make_console
from shared.files import write_whole

ROOT = Path(__file__).resolve().parents[2]


def scaling(
    only: Annotated[
        list[str] | None,
        typer.Option(help="items, users, window or candidates; others stay as recorded."),
    ] = None,
    page: Annotated[
        bool, typer.Option("--page", help="Make the page of the record, and measure nothing.")
    ] = False,
) -> None:
    """Measure how time and memory grow; write docs/results/scaling.json and docs/scaling.md."""
    path = ROOT / RECORD
    kept = ScalingRecord.model_validate_json(path.read_text()) if path.exists() else None
    if page and kept is not None:
        written(ROOT, kept)
        return
    old = {} if kept is None else {(c.along, c.work): c for c in kept.curves}
    torch.set_num_threads(1)
    console = make_console()
    curves = []
    with tempfile.TemporaryDirectory() as folder:
        for work in works(Path(folder)):
            before = old.get((work.along, work.name))
            if only and work.along not in only and before is not None:
                curves.append(before)
                continue
            curve = curve_of(work, SIZES[work.along])
            console.print(f"{work.along}: {work.name}, {curve.last_exponent:.2f}", highlight=False)
            curves.append(curve)
    record = ScalingRecord(
        when=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        revision=revision(ROOT),
        machine=machine(),
        instructions=instructions(),
        memory_gib=memory_gib(),
        threads=1,
        curves=tuple(curves),
    )
    write_whole(path, record.model_dump_json(indent=1) + "\n")
    for made in (path, *written(ROOT, record)):
        console.print(f"[green]✓[/] {made}", soft_wrap=True)


def curve_of(work: Measurable, sizes: tuple[int, ...]) -> Curve:
    """The work at each of the sizes, the smallest first."""
    points = tuple(measured(size, work.lay_out) for size in sizes)
    return Curve(along=work.along, work=work.name, told=work.told, points=points)


if __name__ == "__main__":
    typer.run(scaling)
