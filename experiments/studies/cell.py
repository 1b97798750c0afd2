"""CellScores: what a study makes of one configuration and seed."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl


@dataclass(frozen=True)
class CellScores:
    """Scores in the form of ``experiments.study.SCHEMA``, and named scalars."""

    scores: pl.DataFrame
    extras: dict[str, float] = field(default_factory=dict)
