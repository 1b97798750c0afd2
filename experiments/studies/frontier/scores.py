"""Scores of a frontier's cell: who ranked how well, for how many calls."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from experiments.studies.frontier.contest import Entry
from experiments.studies.frontier.evidence import Evidence
from shared.metrics import Ranks, hit_rate, ndcg

PLAIN, CALIBRATED = "plain", "calibrated"
MODES = {PLAIN: False, CALIBRATED: True}


def setting_of(mode: str, budget: float, *, outages: bool = False) -> str:
    """The setting of a budget, e.g. plain-010 for 10 % or calibrated-outages-005."""
    return f"{mode}{'-outages' if outages else ''}-{round(100 * budget):03d}"


def score_rows(
    entry: Entry, users: NDArray[np.int64], evidence: Evidence, mode: str, *, outages: bool = False
) -> pl.DataFrame:
    """Sums per user over the requests after the first; columns as experiments take them.

    ``calls`` counts attempts, ``served`` those that brought a snapshot.
    """
    ranks = entry.course.outcome(evidence.ranks(calibrated=MODES[mode]))
    asked, served = entry.course.asked[:, 1:], entry.course.served[:, 1:]
    setting = setting_of(mode, entry.budget, outages=outages)
    return _rows(users, entry.name, setting, ranks, asked.sum(1), served.sum(1))


def alone_rows(users: NDArray[np.int64], evidence: Evidence, mode: str) -> pl.DataFrame:
    """The device that never had a cloud."""
    none = np.zeros(len(users))
    ranks = evidence.alone[:, 1:]
    return _rows(users, "alone", setting_of(mode, 0.0), ranks, none, none)


def _rows(
    users: NDArray[np.int64],
    scorer: str,
    setting: str,
    ranks: Ranks,
    calls: NDArray[np.number],
    served: NDArray[np.number],
) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "user": users.astype(np.int32),
            "n": np.full(len(users), ranks.shape[1], dtype=np.int32),
            "ndcg10": ndcg(ranks, 10).sum(1),
            "ndcg5": ndcg(ranks, 5).sum(1),
            "hr10": hit_rate(ranks, 10).sum(1),
            "hr5": hit_rate(ranks, 5).sum(1),
            "calls": calls.astype(np.float64),
            "served": served.astype(np.float64),
        }
    ).with_columns(
        scorer=pl.lit(scorer),
        setting=pl.lit(setting),
        gap=pl.lit(0, dtype=pl.Int32),
        part=pl.lit("all"),
        loo=pl.lit(value=False),
    )
