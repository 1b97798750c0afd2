"""Ages of the snapshot a device holds, and how what was scored at some ages stands for all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np


def ages_between_refreshes(interval: int, *, late: bool = False) -> range:
    """Ages in events at which a device that refreshes every ``interval`` requests answers.

    Each of them is as frequent as any other. A refresh that arrives before the answer makes them
    0 .. interval - 1; one that arrives after it (``late``) makes them 1 .. interval.

    Raises:
        ValueError: the interval is not positive.
    """
    if interval < 1:
        raise ValueError(f"a refresh interval is 1 request or more, not {interval}")
    return range(1, interval + 1) if late else range(interval)


def scored_weights(ages: Iterable[int], scored: Sequence[int]) -> dict[int, float]:
    """Weights of scored ages whose weighted mean is the mean over ``ages``; they sum to 1.

    A score between two scored ages is taken to be linear in log(1 + age), as staleness grows fast
    at first and slowly later. It is never extrapolated.

    Args:
        scored: ages that were scored.

    Raises:
        ValueError: there is no age, or one lies outside those that were scored.
    """
    wanted, known = np.asarray(list(ages)), np.unique(np.asarray(scored))
    if wanted.size == 0:
        raise ValueError("there is no age to weigh")
    if known.size == 0 or wanted.min() < known[0] or wanted.max() > known[-1]:
        raise ValueError(f"ages {wanted.min()} to {wanted.max()} are not all within {scored}")
    positions = np.log1p(known.astype(np.float64))
    weights = np.zeros(len(known))
    for place in range(len(known)):
        alone = np.zeros(len(known))
        alone[place] = 1.0
        weights[place] = np.interp(np.log1p(wanted.astype(np.float64)), positions, alone).mean()
    return {int(age): float(w) for age, w in zip(known, weights, strict=True) if w > 0}
