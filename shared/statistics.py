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
        self._sums: list[Float] = []  # [users, seeds] each
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
        """Register a quantity by its sum and its count per user, both [users]; returns a handle.

        Of a quantity that was measured with several seeds, [users, seeds]: then seeds are drawn
        too, each with all its users, so that the interval holds what another training would have
        come to. Quantities of as many seeds share what is drawn: bring them in the same order.
        """
        if sums.shape != counts.shape or sums.shape[:1] != (self._n_users,) or sums.ndim > 2:
            raise ValueError(f"{sums.shape} sums, {counts.shape} counts, {self._n_users} users")
        self._sums.append(sums if sums.ndim == 2 else sums[:, None])
        self._counts.append(counts if counts.ndim == 2 else counts[:, None])
        self.__dict__.pop("_means", None)
        return len(self._sums) - 1

    def resampled(self, handle: int) -> Float:
        """[draws] means of a registered quantity, the same users drawn for every quantity."""
        return self._means[:, handle]

    def mean(self, handle: int) -> Estimate:
        """Mean of a registered quantity; without a value where no request is in its group."""
        total = self._counts[handle].sum()
        if total == 0:
            return no_estimate()
        value = self._sums[handle].sum() / total
        return percentile_estimate(float(value), self._means[:, handle], self._size(handle))

    def ratio(self, numerator: int, denominator: int) -> Estimate:
        """Ratio of two means, e.g. the share of a loss that was won back."""
        count = self._size(numerator)
        above, below = self.mean(numerator).value, self.mean(denominator).value
        if above is None or not below:
            return no_estimate(count)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = self._means[:, numerator] / self._means[:, denominator]
        return percentile_estimate(above / below, ratios, count)

    def _size(self, handle: int) -> int:
        """Requests behind a quantity, those of one seed."""
        counts = self._counts[handle]
        seeds: int = counts.shape[1]
        return round(float(counts.sum()) / seeds)

    @cached_property
    def _means(self) -> Float:
        """[draws, quantities] resampled means; NaN where a resample holds no request of a group."""
        rng = np.random.default_rng(self._seed)
        means = np.empty((self._draws, len(self._sums)))
        share = np.full(self._n_users, 1.0 / self._n_users)
        # Quantities by how many seeds they were measured with: those share what is drawn.
        alike: dict[int, list[int]] = {}
        for handle, sums in enumerate(self._sums):
            alike.setdefault(sums.shape[1], []).append(handle)
        drawn = {seeds: _drawn(seeds, self._draws, self._seed) for seeds in alike}
        columns = {
            seeds: tuple(
                np.concatenate([kept[handle] for handle in handles], axis=1)
                for kept in (self._sums, self._counts)
            )
            for seeds, handles in alike.items()
        }
        # In blocks, so that a million users do not need draws x users floats at once.
        block = max(1, min(self._draws, 4_000_000 // self._n_users))
        for start in range(0, self._draws, block):
            size = min(block, self._draws - start)
            rows = slice(start, start + size)
            weights = rng.multinomial(self._n_users, share, size=size).astype(np.float64)
            for seeds, handles in alike.items():
                sums, counts = (
                    ((weights @ held).reshape(size, -1, seeds) * drawn[seeds][rows, None]).sum(-1)
                    for held in columns[seeds]
                )
                with np.errstate(divide="ignore", invalid="ignore"):
                    means[rows, handles] = sums / counts
        return means


def _drawn(seeds: int, draws: int, seed: int) -> Float:
    """[draws, seeds] how often each seed of a quantity is drawn."""
    rng = np.random.default_rng([seed, seeds])
    return rng.multinomial(seeds, np.full(seeds, 1.0 / seeds), size=draws).astype(np.float64)


def percentile_estimate(value: float, resampled: Float, count: int) -> Estimate:
    """The value with the 2.5 and 97.5 % quantiles of its ``resampled`` values [draws]."""
    usable = resampled[np.isfinite(resampled)]
    if usable.size == 0:
        return Estimate(value=value, low=None, high=None, count=count)
    low, high = np.quantile(usable, [0.025, 0.975])
    return Estimate(value=value, low=float(low), high=float(high), count=count)
