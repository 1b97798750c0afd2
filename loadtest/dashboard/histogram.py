"""LogHistogram: quantiles of positive values in constant memory, mergeable by adding counts.

HdrHistogram's Python port was looked at: it counts whole numbers in dense arrays, thousands of
places each, and cannot take away the counts that a newer report of the same second replaces.
"""

from __future__ import annotations

import math

import msgspec

STEPS_PER_OCTAVE = 8  # a quantile is off by at most 2 ** (1/16), 4.4 %
_LEAST, _MOST = 2.0**-8, 2.0**30


class LogHistogram(msgspec.Struct, forbid_unknown_fields=True):
    """Counts by bucket: bucket i holds values in [2^(i/8), 2^((i+1)/8)).

    Values beyond 2^-8 and 2^30 count as these; NaN is not counted.
    """

    counts: dict[int, int] = {}

    def add(self, value: float) -> None:
        """Count one value; constant time."""
        if value != value:
            return
        value = min(max(value, _LEAST), _MOST)
        place = math.floor(math.log2(value) * STEPS_PER_OCTAVE)
        self.counts[place] = self.counts.get(place, 0) + 1

    def merge(self, other: LogHistogram, sign: int = 1) -> None:
        """Add (or with ``sign`` -1 take away) what another one counted."""
        for place, count in other.counts.items():
            total = self.counts.get(place, 0) + sign * count
            if total:
                self.counts[place] = total
            else:
                self.counts.pop(place, None)

    @property
    def count(self) -> int:
        return sum(self.counts.values())

    def quantiles(self, *shares: float) -> list[float | None]:
        """Nearest-rank quantiles, each the geometric middle of its bucket; None if empty.

        Args:
            shares: in [0, 1], ascending.
        """
        total = self.count
        if total == 0:
            return [None] * len(shares)
        found: list[float | None] = []
        buckets = iter(sorted(self.counts.items()))
        place, below = next(buckets)
        for share in shares:
            while below < max(1, math.ceil(share * total)):
                place, count = next(buckets)
                below += count
            found.append(2.0 ** ((place + 0.5) / STEPS_PER_OCTAVE))
        return found
