"""CallBudget: picks a wanted share of a device's requests, by score, online."""

from __future__ import annotations

import math

import numpy as np

WINDOW = 128  # past scores a new one is ranked among
PRIOR = 10.0  # scores that an empty window is taken to hold, of unknown rank
SLACK = 3.0  # calls the account may be ahead or behind at most


class CallBudget:
    """Says yes to about ``share`` of the requests: those whose score is high among the latest.

    A threshold on the score itself would need a scale and a prior for every score, and be wrong
    for every user alike until it had moved. A score's rank among the device's own latest ones has
    neither: it is uniform for any exchangeable scores, from the first request on (a smoothed
    conformal p-value), if ties are broken at random. The threshold on the rank is then adapted
    online so that the share holds when scores drift (Gibbs and Candès, arXiv 2106.00170); it
    follows the account of calls earned and spent, with an integrator that saturates (Angelopoulos,
    Candès and Tibshirani, arXiv 2307.16895): whatever the scores do, the account never is more
    than SLACK + 1 calls off, as long as calls can be made at all. Credit beyond SLACK is forfeited,
    so that a long time without any chance to call is not followed by a call at every request.

    Args:
        share: wanted calls per request, in (0, 1].
        rng: breaks ties; also draws where the account starts, within half a call of zero, so that
            devices started together do not run in step.

    Raises:
        ValueError: the share is not in (0, 1].
    """

    def __init__(self, share: float, rng: np.random.Generator) -> None:
        if not 0.0 < share <= 1.0:
            raise ValueError(f"the share must be in (0, 1], not {share}")
        self._share = share
        self._rng = rng
        self._credit = float(rng.uniform(-0.5, 0.5))
        self._scores = np.full(WINDOW, np.nan)
        self._count = 0

    def decide(self, score: float, *, able: bool = True) -> bool:
        """Whether to call at this request; to be asked once per request.

        Args:
            score: the higher, the more a call is worth. NaN: unknown, takes its chance like any
                other; infinite: yes, unless the account is overdrawn by a call already.
            able: False if no call can be made now; the request counts all the same.
        """
        if score == math.inf:
            chosen = self._credit > -1.0
        else:
            chosen = self._rank(score) >= 1.0 - self._chance()
        spends = chosen and able
        if spends or self._credit < SLACK:  # what cannot be spent any more is not earned
            self._credit += self._share - spends
        return spends

    def _rank(self, score: float) -> float:
        """In [0, 1): share of the latest scores below this one, which then joins them."""
        luck = float(self._rng.random())
        if math.isnan(score):
            return luck
        held = min(self._count, WINDOW)
        below = int(np.count_nonzero(self._scores < score))
        tied = 1.0 + int(np.count_nonzero(self._scores == score))
        # Early scores are no fair sample: a first snapshot only ages, so each would be the
        # highest yet. The prior makes them count little, and fades as the window fills.
        prior = PRIOR * (1.0 - held / WINDOW)
        self._scores[self._count % WINDOW] = score
        self._count += 1
        return (below + luck * (tied + prior)) / (held + 1.0 + prior)

    def _chance(self) -> float:
        """In [0, 1]: share of ranks that are chosen; ``share`` while the account is even."""
        if abs(self._credit) >= SLACK:
            return 1.0 if self._credit > 0 else 0.0
        chosen = self._share * (SLACK + self._credit)
        return chosen / (chosen + (1.0 - self._share) * (SLACK - self._credit))
