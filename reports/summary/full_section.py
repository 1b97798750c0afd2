"""Figures of the full ranking: every item of the catalogue competes, nothing is stale."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from loadtest.records.evidence_records import FULL
from loadtest.records.rank_columns import read_ranks
from loadtest.records.record_table import read_records
from loadtest.replay.run_info import RunInfo
from reports.summary.metrics import add_difference, add_metrics, parts, read_metrics, scope_of
from reports.summary.model import FullDifference, FullScore, FullSection
from shared.paper_settings import PaperSettings
from shared.statistics import Resampler

SCORERS = ("structure", "semantic", "fused", "popularity", "frequency", "decayed")
OWN = ("counts", "student")  # not in records from before these were told apart from structure
COMPARISONS = (
    ("structure", "decayed"), ("counts", "structure"), ("student", "counts"), ("fused", "student"),
    ("fused", "structure"), ("fused", "decayed"),
)  # fmt: skip
COLUMNS = ("user", "step", "is_return", "last", *(f"rank_{scorer}" for scorer in SCORERS))

Which = Literal["last steps", "leave-one-out"]


def full_section(run_dir: Path, info: RunInfo, settings: PaperSettings) -> FullSection | None:
    """All figures of full.parquet, or None without that file."""
    frame = read_records(run_dir / FULL, COLUMNS)
    if frame is None or frame.is_empty():
        return None
    frame = frame.sort("user", "step")
    users = frame["user"].to_numpy()
    masks = parts(frame["is_return"].to_numpy().astype(bool))
    last = frame["last"].to_numpy().astype(bool)
    whiches: dict[Which, np.ndarray] = {
        "last steps": np.ones(len(users), bool),
        "leave-one-out": last,
    }
    own = [scorer for scorer in OWN if f"rank_{scorer}" in frame.columns]
    scorers = (SCORERS[0], *own, *SCORERS[1:])
    ranks = {scorer: read_ranks(frame, f"rank_{scorer}") for scorer in scorers}
    pairs = [pair for pair in COMPARISONS if set(pair) <= set(ranks)]
    resampler = Resampler(users, draws=settings.bootstrap)
    scores = [
        (which, scorer, part, add_metrics(resampler, ranks[scorer], chosen & mask))
        for which, chosen in whiches.items()
        for scorer in ranks
        for part, mask in masks.items()
    ]
    differences = [
        (which, pair, add_difference(resampler, ranks[pair[0]], ranks[pair[1]], chosen))
        for which, chosen in whiches.items()
        for pair in pairs
    ]
    return FullSection(
        scope=scope_of("full", users, info, settings),
        scores=tuple(
            FullScore(
                steps=which, scorer=scorer, part=part, metrics=read_metrics(resampler, handles)
            )
            for which, scorer, part, handles in scores
        ),
        differences=tuple(
            FullDifference(
                steps=which,
                minuend=minuend,
                subtrahend=subtrahend,
                metrics=read_metrics(resampler, handles),
            )
            for which, (minuend, subtrahend), handles in differences
        ),
    )
