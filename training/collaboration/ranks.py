"""Ranks of targets within lists, and their sums per user in the form of a study's scores."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from shared.metrics import NOT_RANKED, Ranks, hit_rate, ndcg, ranks_of
from training.collaboration.asked import Asked

CUTOFFS = (10, 5, 20)


def list_ranks(
    scores: NDArray[np.floating],
    items: NDArray[np.integer],
    target: NDArray[np.integer],
    allowed: NDArray[np.bool_],
) -> Ranks:
    """[R] rank of each target among the allowed items of its list.

    Args:
        scores: [R, n] of ``items`` [R, n]. target: [R]. allowed: [R, n].
    """
    is_target = (items == target[:, None]) & allowed
    ranks = ranks_of(scores, is_target.argmax(axis=1), allowed)
    ranks[~is_target.any(axis=1)] = NOT_RANKED
    return ranks


def metrics_of(ranks: Ranks) -> dict[str, NDArray[np.float64]]:
    """[R] each, by name; with one target a request, precision at K is the hit rate over K."""
    hits = {cutoff: hit_rate(ranks, cutoff) for cutoff in CUTOFFS}
    return {
        **{f"ndcg{cutoff}": ndcg(ranks, cutoff) for cutoff in CUTOFFS},
        **{f"hr{cutoff}": hit for cutoff, hit in hits.items()},
        **{f"precision{cutoff}": hit / cutoff for cutoff, hit in hits.items()},
    }


def sample(asked: Asked, count: int) -> Asked:
    """At most ``count`` of the requests, drawn once."""
    if len(asked) <= count:
        return asked
    rows = np.sort(np.random.default_rng(0).choice(len(asked), count, replace=False))
    return Asked(asked.events, asked.user[rows], asked.step[rows])


class Sums:
    """Collects metrics [R] by setting, gap and scorer; the requests are the same throughout."""

    def __init__(self, asked: Asked) -> None:
        self._users, self._place = np.unique(asked.user, return_inverse=True)
        self._frames: list[pl.DataFrame] = []

    def add(
        self, setting: str, gap: int, scorer: str, metrics: dict[str, NDArray[np.float64]]
    ) -> None:
        count = np.bincount(self._place)
        sums = {name: np.bincount(self._place, values) for name, values in metrics.items()}
        frame = pl.DataFrame(
            {"user": self._users.astype(np.int32), "n": count.astype(np.int32), **sums}
        )
        self._frames.append(
            frame.with_columns(
                scorer=pl.lit(scorer),
                setting=pl.lit(setting),
                gap=pl.lit(gap, dtype=pl.Int32),
                part=pl.lit("all"),
                loo=pl.lit(False),
            )
        )

    def frame(self) -> pl.DataFrame:
        return pl.concat(self._frames)
