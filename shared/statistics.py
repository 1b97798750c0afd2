"""Estimates with 95 % intervals, and the user-clustered bootstrap that they all come from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Estimate:
    """A mean or ratio of means, its 95 % user-clustered interval, and the requests behind it."""

    value: float | None
    low: float | None
    high: float | None
    count: int

    @property
    def sign(self) -> int:
        """+1 or -1 if the interval excludes zero, else 0: not significant."""
        if self.low is None or self.high is None:
            return 0
        return 1 if self.low > 0 else -1 if self.high < 0 else 0

    def negated(self) -> Estimate:
        """Of the difference the other way round."""
        value, low, high = (None if v is None else -v for v in (self.value, self.low, self.high))
        return Estimate(value=value, low=high, high=low, count=self.count)

    def row(self) -> dict[str, Any]:
        """The four figures by name, for a chart's data."""
        return {"value": self.value, "low": self.low, "high": self.high, "count": self.count}


def no_estimate(count: int = 0) -> Estimate:
    """A figure that is not defined for these requests."""
    return Estimate(value=None, low=None, high=None, count=count)


class Resampler:
    """Means over requests with 95 % percentile intervals, resampling whole users.

    Requests of one user are not independent, so users are drawn, and with them all they asked
    for. They are drawn once for all quantities of a table, which makes hundreds of intervals
    affordable and puts every comparison within a table on the same resamples: register the
    differences of a paired comparison. First ``add`` every quantity, then read.

    Args:
        clusters: [n] user of each request.
        draws: resamples.
        seed: of the resamples; the same seed and users give the same intervals.
    """

    def __init__(self, clusters: ArrayLike, *, draws: int = 2000, seed: int = 0) -> None:
        users, self._codes = np.unique(np.asarray(clusters), return_inverse=True)
        self._n_users = len(users)
        self._draws, self._seed = draws, seed
        self._sums: list[Float] = []
        self._counts: list[Float] = []

    def add(self, values: ArrayLike, mask: Mask | None = None) -> int:
        """Register ``values`` [n], counting only those under ``mask`` [n]; returns a handle."""
        values = np.asarray(values, dtype=np.float64)
        if values.shape != self._codes.shape:
            raise ValueError(f"{values.shape} values for {self._codes.shape} requests")
        codes = self._codes
        if mask is not None:
            values, codes = values[mask], codes[mask]
        # bincount gives integers when there is nothing to weigh.
        sums = np.bincount(codes, weights=values, minlength=self._n_users).astype(np.float64)
        counts = np.bincount(codes, minlength=self._n_users).astype(np.float64)
        return self.add_sums(sums, counts)

    def add_sums(self, sums: Float, counts: Float) -> int:
        """Register a quantity by its sum and its count per user, both [users]; returns a handle."""
        if not sums.shape == counts.shape == (self._n_users,):
            raise ValueError(f"{sums.shape} sums, {counts.shape} counts, {self._n_users} users")
        self._sums.append(sums)
        self._counts.append(counts)
        self.__dict__.pop("_means", None)
        return len(self._sums) - 1

    def resampled(self, handle: int) -> Float:
        """[draws] means of a registered quantity, the same users drawn for every quantity."""
        return self._means[:, handle]

    def mean(self, handle: int) -> Estimate:
        """Mean of a registered quantity; without a value where no request is in its group."""
        count = int(self._counts[handle].sum())
        if count == 0:
            return no_estimate()
        value = self._sums[handle].sum() / count
        return percentile_estimate(float(value), self._means[:, handle], count)

    def ratio(self, numerator: int, denominator: int) -> Estimate:
        """Ratio of two means, e.g. the share of a loss that was won back."""
        count = int(self._counts[numerator].sum())
        above, below = self.mean(numerator).value, self.mean(denominator).value
        if above is None or not below:
            return no_estimate(count)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = self._means[:, numerator] / self._means[:, denominator]
        return percentile_estimate(above / below, ratios, count)

    @cached_property
    def _means(self) -> Float:
        """[draws, quantities] resampled means; NaN where a resample holds no request of a group."""
        sums, counts = np.stack(self._sums, axis=1), np.stack(self._counts, axis=1)
        rng = np.random.default_rng(self._seed)
        means = np.empty((self._draws, sums.shape[1]))
        share = np.full(self._n_users, 1.0 / self._n_users)
        # In blocks, so that a million users do not need draws x users floats at once.
        block = max(1, min(self._draws, 4_000_000 // self._n_users))
        for start in range(0, self._draws, block):
            size = min(block, self._draws - start)
            weights = rng.multinomial(self._n_users, share, size=size).astype(np.float64)
            with np.errstate(divide="ignore", invalid="ignore"):
                means[start : start + size] = (weights @ sums) / (weights @ counts)
        return means


def percentile_estimate(value: float, resampled: Float, count: int) -> Estimate:
    """The value with the 2.5 and 97.5 % quantiles of its ``resampled`` values [draws]."""
    usable = resampled[np.isfinite(resampled)]
    if usable.size == 0:
        return Estimate(value=value, low=None, high=None, count=count)
    low, high = np.quantile(usable, [0.025, 0.975])
    return Estimate(value=value, low=float(low), high=float(high), count=count)
