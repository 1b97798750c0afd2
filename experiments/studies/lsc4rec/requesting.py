"""Which requests ask the cloud for a list of the moment (LSC4Rec eqs. 11 and 12)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from device_runtime.state.cues import inconsistency
from training.collaboration.asked import Lists

Floats = NDArray[np.float64]
Metrics = dict[str, NDArray[np.float64]]


def inconsistencies(
    lists: Lists,
    rerank: NDArray[np.float32],
    allowed: NDArray[np.bool_],
    *,
    top: int | None = None,
) -> Floats:
    """[R] c of each request, by the device's own function; infinite where nothing is left.

    Args:
        top: over the first so many of either ranking; None: over the whole list.
    """
    found = np.empty(len(lists.items))
    for row, (items, scores, kept) in enumerate(zip(lists.items, rerank, allowed, strict=True)):
        initial, own = items[kept], scores[kept]
        order = np.argsort(initial)
        found[row] = inconsistency(initial, initial[order], own[order], top=top)
    return np.where(np.isnan(found), np.inf, found)


def threshold(collected: Floats, share: float) -> float:
    """The quantile of collected c at or above which a share of requests lies (section 3.2.4)."""
    return float(np.quantile(collected, 1.0 - share, method="higher"))


def granted(stale: Metrics, fresh: Metrics, asks: NDArray[np.bool_]) -> Metrics:
    """Metrics [R] where the requests that ask are answered with the fresh list."""
    return {name: np.where(asks, fresh[name], stale[name]) for name in stale}


def at_random(stale: Metrics, fresh: Metrics, share: float) -> Metrics:
    """Metrics [R] expected if each request asks with probability ``share``."""
    return {name: (1.0 - share) * stale[name] + share * fresh[name] for name in stale}


def best_share(stale: Metrics, fresh: Metrics, share: float) -> NDArray[np.bool_]:
    """[R] the share of requests that gain most NDCG@10: a bound that no policy can know."""
    gain = fresh["ndcg10"] - stale["ndcg10"]
    asks = np.zeros(len(gain), dtype=np.bool_)
    asks[np.argsort(-gain, kind="stable")[: round(share * len(gain))]] = True
    return asks
