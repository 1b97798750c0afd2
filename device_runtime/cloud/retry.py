"""Retries: how long to wait before one, and whether one may be made at all. Pure, no clock inside.

Full jitter: Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015. Retry budget:
Beyer et al., "Site Reliability Engineering", ch. 21 (client-side retry budgets).
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from random import Random

BACKOFF_BASE_S, BACKOFF_CAP_S = 0.2, 2.0
BURST = 3.0  # retries that may precede any success, so that a lone device can still retry


def full_jitter(attempt: int, *, base_s: float, cap_s: float, rng: Random) -> float:
    """Seconds to wait after the a-th attempt: uniform in [0, min(cap, base * 2^(a-1))].

    Args:
        attempt: tries made so far, >= 1.
        base_s, cap_s: first and largest upper bound.
        rng: source of jitter.
    """
    # The exponent is bounded because 2 ** 1100 is no float.
    return rng.uniform(0.0, min(cap_s, base_s * 2.0 ** min(attempt - 1, 60)))


def retry_after_s(value: str | None, now: datetime | None = None) -> float | None:
    """Seconds of a Retry-After header (RFC 9110 section 10.2.3), None if absent or malformed.

    Args:
        value: delta-seconds (fractions accepted) or an HTTP date.
        now: the present, only for dates; None reads the system clock.
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            at = parsedate_to_datetime(value)
        except (ValueError, OverflowError):  # the latter for a year no machine can hold
            return None
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        seconds = (at - (now or datetime.now(UTC))).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None


class RetryBudget:
    """At most ``ratio`` retries per first attempt, after a burst of BURST.

    Without it, devices that each retry twice triple the load on a cloud that is already failing.
    """

    def __init__(self, ratio: float) -> None:
        self._ratio = ratio
        self._tokens = BURST if ratio > 0 else 0.0

    def first_attempt(self) -> None:
        """A new call: earns a part of a retry."""
        self._tokens = min(max(BURST, self._ratio), self._tokens + self._ratio)

    def take(self) -> bool:
        """Spend one retry if there is one."""
        if self._tokens < 1.0 - 1e-9:  # five fifths are one
            return False
        self._tokens -= 1.0
        return True
