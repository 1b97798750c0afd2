"""The metrics of a section: per request, as handles of a resampler, and read as estimates.

Register all quantities first, then read them (see Resampler).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from loadtest.replay.run_info import RunInfo
from reports.summary.model import Metrics, Part, RunScope
from shared.metrics import HALF_LIFE, Ranks, hit_rate, ndcg
from shared.paper_settings import PaperSettings
from shared.statistics import Float, Mask, Resampler

Handles = dict[str, int]


def metric_values(ranks: Ranks) -> dict[str, Float]:
    """Per-request values [n] of every metric, by its name in the summary."""
    return {
        "ndcg@10": ndcg(ranks, 10),
        "hr@10": hit_rate(ranks, 10),
        "ndcg@5": ndcg(ranks, 5),
        "hr@5": hit_rate(ranks, 5),
    }


def parts(is_return: Mask) -> dict[Part, Mask]:
    """Masks of all requests, of returns and of discoveries."""
    return {"all": np.ones(len(is_return), bool), "returns": is_return, "discoveries": ~is_return}


def scope_of(
    mode: Literal["paper", "full", "system"],
    users: NDArray[np.generic],
    info: RunInfo,
    settings: PaperSettings,
) -> RunScope:
    """What a section is about, from the user of each of its requests."""
    per_user = np.unique(users, return_counts=True)[1]
    return RunScope(
        mode=mode,
        users=len(per_user),
        requests=len(users),
        steps_per_user=int(per_user.max(initial=0)),
        repeat_policy=info.repeat_policy,
        half_life=HALF_LIFE,
        candidates=None if mode == "full" else info.candidates,
        draws=settings.bootstrap,
    )


def finite_mean(values: Float) -> float | None:
    """Mean of the finite values, None if there are none."""
    values = values[np.isfinite(values)]
    return float(values.mean()) if values.size else None


def add_metrics(resampler: Resampler, ranks: Ranks, mask: Mask | None = None) -> Handles:
    """Register every metric of one scorer's ranks [n]."""
    return {name: resampler.add(v, mask) for name, v in metric_values(ranks).items()}


def add_difference(
    resampler: Resampler, ours: Ranks, theirs: Ranks, mask: Mask | None = None
) -> Handles:
    """Register the paired difference of every metric between two scorers' ranks [n]."""
    mine, other = metric_values(ours), metric_values(theirs)
    return {name: resampler.add(mine[name] - other[name], mask) for name in mine}


def read_metrics(resampler: Resampler, handles: Mapping[str, int]) -> Metrics:
    """The registered metrics as estimates."""
    return {name: resampler.mean(handle) for name, handle in handles.items()}
