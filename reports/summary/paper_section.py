"""Figures of paper mode: controlled staleness, ranks within the cloud's candidates."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from loadtest.records.evidence_records import PAPER
from loadtest.records.rank_columns import read_ranks
from loadtest.records.record_table import numbers, read_records
from loadtest.replay.run_info import RunInfo
from reports.summary.metrics import (
    add_difference,
    add_metrics,
    finite_mean,
    parts,
    read_metrics,
    scope_of,
)
from reports.summary.model import CueMeans, PaperDifference, PaperScore, PaperSection, Staleness
from shared.errors import DataError
from shared.metrics import Ranks, ndcg
from shared.paper_settings import PaperSettings
from shared.statistics import Resampler, no_estimate

SCORERS = ("calibrated", "uncalibrated", "structure", "semantic")
COMPARISONS = (("calibrated", "uncalibrated"), ("calibrated", "structure"))
CUES = ("delta", "drift", "omega", "r", "alpha", "de_norm")
COLUMNS = (
    "user", "step", "target", "is_return", "setting", "gap", "n_candidates",
    *(f"rank_{scorer}" for scorer in SCORERS), *CUES,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Cell:
    """The requests of one setting and gap, in the order all cells share."""

    setting: str
    gap: int
    frame: pl.DataFrame

    def ranks(self, scorer: str) -> Ranks:
        return read_ranks(self.frame, f"rank_{scorer}")


def paper_section(run_dir: Path, info: RunInfo, settings: PaperSettings) -> PaperSection | None:
    """All figures of paper.parquet, or None without that file.

    Raises:
        DataError: settings and gaps do not cover the same requests, so nothing can be paired.
    """
    path = run_dir / PAPER
    frame = read_records(path, COLUMNS)
    if frame is None or frame.is_empty():
        return None
    cells = _cells(frame, path)
    first = next(iter(cells.values())).frame
    users = first["user"].to_numpy()
    masks = parts(first["is_return"].to_numpy().astype(bool))
    resampler = Resampler(users, draws=settings.bootstrap)
    scores = [
        ((cell, scorer, part), add_metrics(resampler, cell.ranks(scorer), masks[part]))
        for cell in cells.values()
        for scorer in SCORERS
        for part in masks
    ]
    differences = [
        (
            (cell, pair, part),
            add_difference(resampler, cell.ranks(pair[0]), cell.ranks(pair[1]), masks[part]),
        )
        for cell in cells.values()
        for pair in COMPARISONS
        for part in masks
    ]
    staleness = _staleness(cells, resampler, path)
    return PaperSection(
        scope=scope_of("paper", users, info, settings),
        scores=tuple(
            PaperScore(
                setting=cell.setting,
                gap=cell.gap,
                scorer=scorer,
                part=part,
                metrics=read_metrics(resampler, handles),
            )
            for (cell, scorer, part), handles in scores
        ),
        differences=tuple(
            PaperDifference(
                setting=cell.setting,
                gap=cell.gap,
                minuend=minuend,
                subtrahend=subtrahend,
                part=part,
                metrics=read_metrics(resampler, handles),
            )
            for (cell, (minuend, subtrahend), part), handles in differences
        ),
        staleness=staleness,
        cues=tuple(
            CueMeans(
                setting=cell.setting,
                gap=cell.gap,
                **{cue: finite_mean(numbers(cell.frame, cue)) for cue in CUES},
            )
            for cell in cells.values()
        ),
    )


def _cells(frame: pl.DataFrame, path: Path) -> dict[tuple[str, int], _Cell]:
    cells: dict[tuple[str, int], _Cell] = {}
    keys: pl.DataFrame | None = None
    for (setting, gap), part in sorted(frame.partition_by("setting", "gap", as_dict=True).items()):
        ordered = part.sort("user", "step")
        own = ordered.select("user", "step")
        keys = own if keys is None else keys
        if not own.equals(keys):
            raise DataError(f"{setting} at gap {gap} does not cover the same requests", path)
        cells[str(setting), int(gap)] = _Cell(str(setting), int(gap), ordered)
    return cells


def _staleness(
    cells: dict[tuple[str, int], _Cell], resampler: Resampler, path: Path
) -> tuple[Staleness, ...]:
    handles = []
    for (setting, gap), cell in cells.items():
        if gap == 0:
            continue
        if (setting, 0) not in cells:
            raise DataError(f"{setting} has no gap 0, so no loss can be measured", path)
        fresh = ndcg(cells[setting, 0].ranks("uncalibrated"), 10)
        stale, calibrated, structure = (
            ndcg(cell.ranks(s), 10) for s in ("uncalibrated", "calibrated", "structure")
        )
        found = np.isfinite(cell.ranks("uncalibrated")["expected"]).astype(np.float64)
        columns = (fresh - stale, calibrated - stale, calibrated - structure, found)
        handles.append((cell, [resampler.add(values) for values in columns]))
    rows = []
    for cell, (loss, gain, over, found_handle) in handles:
        lost = resampler.mean(loss)
        rows.append(
            Staleness(
                setting=cell.setting,
                gap=cell.gap,
                loss=lost,
                bought_back=resampler.mean(gain),
                # A share of nothing is not a figure.
                recovered=(
                    resampler.ratio(gain, loss) if lost.sign > 0 else no_estimate(lost.count)
                ),
                over_structure=resampler.mean(over),
                in_candidates=resampler.mean(found_handle),
                mean_delta=finite_mean(numbers(cell.frame, "delta")) or 0.0,
            )
        )
    return tuple(rows)
