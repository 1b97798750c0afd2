"""Finished cells in a store, as their processes would leave them."""

from __future__ import annotations

import zlib
from pathlib import Path

import polars as pl

from experiments.cell_store import CellInfo, CellStore, FinishedCell
from experiments.cells import Cell, PlannedCell
from experiments.record import CellRun
from experiments.study import CellResult
from scalrec.settings import Settings


def store_cell(
    root: Path, cell: Cell, scores: pl.DataFrame, *, code: str = "c0de", revision: str = "abc"
) -> FinishedCell:
    """Put a finished cell into a store, as its process would; returns it."""
    planned = PlannedCell(cell, Settings(), f"{zlib.crc32(str(cell).encode()):016x}")
    run = CellRun(
        profile=cell.profile,
        variant=cell.variant,
        seed=cell.seed,
        started="2026-01-02T03:04:05+00:00",
        seconds=12.5,
        revision=revision,
        code=code,
        machine="a machine",
        threads=1,
    )
    info = CellInfo(
        log=cell.log,
        experiment="gates",
        key=planned.key,
        run=run,
        settings={"training": {"dim": 64, "lambda_rel": float(cell.variant == "base")}},
        extras={"mean_r": 0.8 + 0.01 * cell.seed},
    )
    store = CellStore(root)
    store.write(planned, info, CellResult(scores))
    found = store.find(planned)
    assert found is not None
    return found
