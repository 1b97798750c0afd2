"""LineRates: how many log lines a caller may cause, so that nobody can fill a disk by asking."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

PER_CALLER, ALL_TOGETHER = 10, 100  # lines a minute
MINUTE_S = 60.0
MOST_CALLERS = 10_000  # remembered; some 3 MB


@dataclass(slots=True)
class _Minute:
    began_s: float
    written: int = 0


class LineRates:
    """At most ``per_caller`` lines a minute about each caller, and ``all_together`` in all.

    What is left out is counted, and the next line that is written tells the count.

    Args:
        clock: seconds that never go back.
        per_caller, all_together: lines in ``per_s`` seconds.
        most_callers: remembered at once; one that is forgotten starts anew.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        per_caller: int = PER_CALLER,
        all_together: int = ALL_TOGETHER,
        most_callers: int = MOST_CALLERS,
        per_s: float = MINUTE_S,
    ) -> None:
        self._clock = clock
        self._per_caller = per_caller
        self._all_together = all_together
        self._most_callers = most_callers
        self._callers: OrderedDict[Hashable, _Minute] = OrderedDict()
        self._all = _Minute(float("-inf"))
        self._per_s = per_s
        self._left_out = 0

    def __len__(self) -> int:
        return len(self._callers)

    def take(self, caller: Hashable) -> int | None:
        """Lines left out since the last one that was written; None: leave this one out, too."""
        now = self._clock()
        if now - self._all.began_s >= self._per_s:
            self._all = _Minute(now)
        minute = self._callers.get(caller)
        if minute is None or now - minute.began_s >= self._per_s:
            self._callers.pop(caller, None)
            minute = self._callers[caller] = _Minute(now)
            if len(self._callers) > self._most_callers:
                self._callers.popitem(last=False)
        if minute.written >= self._per_caller or self._all.written >= self._all_together:
            self._left_out += 1
            return None
        minute.written += 1
        self._all.written += 1
        return self.rest()

    def rest(self) -> int:
        """Lines left out that no line has told yet; they count as told now."""
        left_out, self._left_out = self._left_out, 0
        return left_out
