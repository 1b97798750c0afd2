"""CallBudget: picks a wanted share of a device's requests, by score, online."""

from __future__ import annotations

import math

import numpy as np

from shared.refresh_file import CallRates

WINDOW = 128  # past scores a new one is ranked among
PRIOR = 10.0  # scores that an empty window is taken to hold, of unknown rank
TRAINED = 64.0  # the same, if ranks among training scores are known
SLACK = 3.0  # calls the account may be ahead or behind at most
# Range of a new account's credit, in calls. Its middle is slightly negative, because the credit of
# a running account is slightly negative on average.
START = (-0.65, 0.35)
EARLY_SLACK = 1.0  # SLACK of an account that has earned nothing yet


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
        rng: breaks ties; also draws where the account starts, in START, so that
            devices started together do not run in step.
        known: of scores like these on training data: new scores are first ranked among those, and
            less so as the window fills. A few requests then come near the share.
        window: past scores kept.
        tolerance: share of the calls earned so far that the account may be off, if that is more
            than SLACK. A fleet's account needs it: what many devices want varies more than SLACK.

    Raises:
        ValueError: the share is not in (0, 1].
    """

    def __init__(
        self,
        share: float,
        rng: np.random.Generator,
        *,
        known: CallRates | None = None,
        window: int = WINDOW,
        tolerance: float = 0.0,
    ) -> None:
        if not 0.0 < share <= 1.0:
            raise ValueError(f"the share must be in (0, 1], not {share}")
        self._share = share
        self._rng = rng
        self._credit = float(rng.uniform(*START))
        self._known = known
        self._tolerance = tolerance
        self._scores = np.full(window, np.nan)
        self._count = 0
        self._requests = 0

    def decide(self, score: float, *, able: bool = True) -> bool:
        """Whether to call at this request; to be asked once per request.

        Args:
            score: the higher, the more a call is worth. NaN: unknown, takes its chance like any
                other; infinite: yes, unless the account is overdrawn by a call already.
            able: False if no call can be made now; the request counts all the same.
        """
        self._requests += 1
        if score == math.inf:
            chosen = self._credit > -1.0
        else:
            chance = self._chance()
            chosen = self._rank(score) > 1.0 - chance or chance == 1.0
        spends = chosen and able
        if spends or self._credit < self._slack:  # credit stops growing at the limit
            self._credit += self._share - spends
        return spends

    @property
    def _slack(self) -> float:
        """Calls that the account may be ahead or behind at most.

        The limit is small at first. Ten requests at a share of .1 should ask once: with the full
        SLACK they could ask four times.
        """
        earned = self._share * self._requests
        return max(min(SLACK, EARLY_SLACK + earned / 4.0), self._tolerance * earned)

    def _rank(self, score: float) -> float:
        """In [0, 1]: share of the latest scores below this one, which then joins them."""
        luck = float(self._rng.random())
        if math.isnan(score):
            return luck
        window = len(self._scores)
        held = min(self._count, window)
        below = int(np.count_nonzero(self._scores < score))
        tied = 1 + int(np.count_nonzero(self._scores == score))
        self._scores[self._count % window] = score
        self._count += 1
        # Early scores are no fair sample: a first snapshot only ages, so each would be the
        # highest yet. At first another rank mostly stands in, less and less as the window fills.
        # One of the two is drawn: a mean of ranks would hardly ever be high.
        prior = (PRIOR if self._known is None else TRAINED) * (1.0 - held / window)
        if self._rng.random() * (held + 1.0 + prior) < prior:
            return luck if self._known is None else 1.0 - self._known.rate(score)
        return (below + luck * tied) / (held + 1.0)

    def _chance(self) -> float:
        """In [0, 1]: share of ranks that are chosen; ``share`` while the account is even."""
        slack = self._slack
        if abs(self._credit) >= slack:
            return 1.0 if self._credit > 0 else 0.0
        chosen = self._share * (slack + self._credit)
        return chosen / (chosen + (1.0 - self._share) * (slack - self._credit))
