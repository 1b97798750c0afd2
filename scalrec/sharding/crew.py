"""Crew: the shards of one run as their driver sees them; one that dies is told and left out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable

from scalrec.sharding.shard import ShardReport, ShardState
from shared.progress import Progress


class Crew(ABC):
    """Brings shards to their end, wherever they run.

    Attributes:
        reports: number of a shard -> what became of it, once it ended.
    """

    def __init__(self, shards: int) -> None:
        self._shards = shards
        self._states: dict[int, ShardState] = {}
        self.reports: dict[int, ShardReport] = {}

    def replay(self, due: int, progress: Progress) -> None:
        """Bring all shards to their end; ``reports`` then has one of each.

        Raises whatever ``progress`` raises to end the work; what was recorded is in ``reports``.
        """
        try:
            with progress.task("Shards get ready", self._shards) as task:
                shown = 0
                while any(not self._is_ready(number) for number in self._going()):
                    self._poll()
                    ready = sum(state.ready for state in self._states.values())
                    task.advance(ready - shown, note=self._slowest())
                    shown = ready
            self._tell("go")
            with progress.task("Replay", due) as task:
                shown = 0
                while self._going():
                    self._poll()
                    answered = sum(state.answered for state in self._states.values())
                    task.advance(max(0, answered - shown), note=self._standing())
                    shown = max(shown, answered)
        except BaseException:
            self._tell("stop")
            self._wait_for_the_last()
            raise
        finally:
            self._end()

    @abstractmethod
    def _going(self) -> Iterable[int]:
        """Numbers of the shards that have not ended, in order."""

    @abstractmethod
    def _poll(self) -> None:
        """Take what has come: ends, failures, answers about where shards stand. Waits a little."""

    @abstractmethod
    def _tell(self, what: str) -> None:
        """Tell all that have not ended to "go" or to "stop"."""

    @abstractmethod
    def _wait_for_the_last(self) -> None:
        """Give shards that were told to stop some time to send what they have."""

    @abstractmethod
    def _end(self) -> None:
        """Leave nothing running."""

    def _fail(self, number: int, reason: str) -> None:
        self.reports[number] = ShardReport("", error=reason)

    def _is_ready(self, number: int) -> bool:
        state = self._states.get(number)
        return state is not None and state.ready

    def _slowest(self) -> str:
        for number in self._going():
            if not self._is_ready(number):
                state = self._states.get(number)
                doing = "has not begun" if state is None else state.phase
                return f"shard {number}: {doing}"
        return ""

    def _standing(self) -> str:
        refreshes = sum(state.refreshes for state in self._states.values())
        failed = sum(bool(report.error) for report in self.reports.values())
        lost = f", {failed} failed" if failed else ""
        going = len(list(self._going()))
        return f"{going} of {self._shards} shards{lost}, {refreshes:,} refreshes"
