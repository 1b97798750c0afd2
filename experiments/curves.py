"""Curves of quality against calls: monotone, read along either axis, and their area."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
LEAST, MOST = 0.01, 1.0  # calls per request between which the area is taken
_GRID = np.geomspace(LEAST, MOST, 101)


@dataclass(frozen=True, eq=False)
class Curves:
    """The same curve in D resamples, P points each.

    Between two points quality is a straight line in calls: what a share of the users at the one
    and the rest at the other come to. Quality does not fall with calls, because an allowed call
    need not be made: points are fitted by the nearest curve that never falls (isotonic regression).

    Attributes:
        calls: [D, P] ascending in each row. quality: [D, P] not falling in any row.
    """

    calls: Float
    quality: Float

    @staticmethod
    def fitted(calls: Float, quality: Float) -> Curves:
        """From points [D, P] in any order; the first row decides their order along the axis."""
        # Imported here: the containers' runtime reads this module and has no scipy.
        from scipy.optimize import isotonic_regression

        order = np.argsort(calls[0], kind="stable")
        ascending = np.maximum.accumulate(calls[:, order], axis=1)
        fitted = np.stack([isotonic_regression(row).x for row in quality[:, order]])
        return Curves(ascending, fitted)

    def quality_at(self, calls: float) -> Float:
        """[D] at so many calls per request; that of the nearest end outside."""
        return np.array(
            [np.interp(calls, x, y) for x, y in zip(self.calls, self.quality, strict=True)]
        )

    def calls_for(self, quality: Float) -> Float:
        """[D] fewest calls that reach ``quality`` [D]; MOST where nothing does."""
        return np.array(
            [
                _first(x, y, level)
                for x, y, level in zip(self.calls, self.quality, quality, strict=True)
            ]
        )

    def area(self) -> Float:
        """[D] mean quality over a logarithmic axis of calls from LEAST to MOST."""
        values = [np.interp(_GRID, x, y) for x, y in zip(self.calls, self.quality, strict=True)]
        area: Float = np.trapezoid(values, np.linspace(0.0, 1.0, len(_GRID)), axis=1)
        return area


def _first(calls: Float, quality: Float, level: float) -> float:
    """Where a line through the points first comes to ``level``."""
    place = int(np.searchsorted(quality, level))
    if place == len(quality):
        return MOST
    if place == 0:
        return float(calls[0])
    below, above = quality[place - 1], quality[place]
    share = (level - below) / (above - below)
    return float(calls[place - 1] + share * (calls[place] - calls[place - 1]))
