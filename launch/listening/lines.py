"""LineBudget: a bound on the log lines that strangers can cause, which says what it left out."""

from __future__ import annotations

import logging
from collections.abc import Callable

from shared.line_rates import LineRates

LINES, PER_S = 10, 60.0


class LineBudget:
    """At most ``lines`` in every ``per_s`` seconds; the first of the next ones tells how many
    were left out.

    Args:
        clock: seconds that never go back.
        lines, per_s: the bound.
    """

    def __init__(
        self, clock: Callable[[], float], *, lines: int = LINES, per_s: float = PER_S
    ) -> None:
        self._rates = LineRates(clock, per_caller=lines, all_together=lines, per_s=per_s)
        # A child of uvicorn's own, so that its level and handlers are kept, but not its volume.
        self.logger = logging.Logger("uvicorn.error.bounded")
        self.logger.setLevel(logging.INFO)
        self.logger.parent = logging.getLogger("uvicorn.error")
        self.logger.addFilter(self._filter)

    def take(self) -> int | None:
        """Lines left out since the last one that was written; None: leave this one out, too."""
        return self._rates.take(None)

    def _filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.getLogger("uvicorn.error").getEffectiveLevel():
            return False
        left_out = self.take()
        if left_out:
            record.msg = f"{record.getMessage()} ({left_out} such lines were left out)"
            record.args = ()
        return left_out is not None
