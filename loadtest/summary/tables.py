"""Handles of a table's quantities: register all first, then read all (see Resampler)."""

from __future__ import annotations

from collections.abc import Mapping

from loadtest.summary.model import Estimate, Metrics
from loadtest.summary.records import Float, Mask, metric_values
from loadtest.summary.resampling import Resampler

Handles = dict[str, int]


def add_metrics(resampler: Resampler, ranks: Float, mask: Mask | None = None) -> Handles:
    """Register every metric of one scorer's ranks [n]."""
    return {name: resampler.add(v, mask) for name, v in metric_values(ranks).items()}


def add_difference(
    resampler: Resampler, ours: Float, theirs: Float, mask: Mask | None = None
) -> Handles:
    """Register the paired difference of every metric between two scorers' ranks [n]."""
    mine, other = metric_values(ours), metric_values(theirs)
    return {name: resampler.add(mine[name] - other[name], mask) for name in mine}


def read_metrics(resampler: Resampler, handles: Mapping[str, int]) -> Metrics:
    """The registered metrics as estimates."""
    return {name: resampler.mean(handle) for name, handle in handles.items()}


def no_estimate(count: int) -> Estimate:
    """A figure that is not defined for these requests."""
    return Estimate(value=None, low=None, high=None, count=count)
