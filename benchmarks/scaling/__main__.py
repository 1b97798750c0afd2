"""`python -m benchmarks.scaling`: measure all curves, keep the record, make the page."""

from __future__ import annotations

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
WORK_DIR = ROOT / "runs" / "scaling"  # a small model's stages and bundle stay for the next run


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
    if page:
        written(ROOT, ScalingRecord.model_validate_json(path.read_text()))
        return
    torch.set_num_threads(1)
    console = make_console()
    WORK_DIR.mkdir(parents=True, exist_ok=True)
    every = works(WORK_DIR)
    found: dict[tuple[str, str], Curve] = {}
    for work in every:
        if only and work.along not in only:
            continue
        curve = found[work.along, work.name] = curve_of(work, SIZES[work.along])
        console.print(f"{work.along}: {work.name}, {curve.last_exponent:.2f}", highlight=False)
    if path.exists():
        kept = ScalingRecord.model_validate_json(path.read_text())
        found = {(c.along, c.work): c for c in kept.curves} | found
    places = [(work.along, work.name) for work in every]
    record = ScalingRecord(
        when=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        revision=revision(ROOT),
        machine=machine(),
        instructions=instructions(),
        memory_gib=memory_gib(),
        threads=1,
        curves=tuple(found[place] for place in places if place in found),
    )
    write_whole(path, record.model_dump_json(indent=1) + "\n")
    for made in (path, *written(ROOT, record)):
        console.print(f"[green]✓[/] {made}", soft_wrap=True)


def curve_of(work: Measurable, sizes: tuple[int, ...]) -> Curve:
    """The work at each of the sizes, the smallest first."""
    measured(sizes[0], work.lay_out)  # what is loaded but once belongs to no point
    points = tuple(measured(size, work.lay_out) for size in sizes)
    return Curve(along=work.along, work=work.name, told=work.told, points=points)


if __name__ == "__main__":
    typer.run(scaling)
