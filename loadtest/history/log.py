"""HistoryLog: takes down what crosses the wire and reaches the store, at a bounded cost."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from loadtest.history.records import ATTEMPTS, WRITES, AttemptRecord, WriteRecord
from loadtest.records.checksums import seal
from loadtest.records.record_table import RecordTable
from loadtest.timing.clock import ReplayTime
from shared.errors import ConfigError


class HistoryLog:
    """Writes attempts.parquet and writes.parquet beside a run's other records; a context manager.

    Rows gather in memory up to a part's size, then go to disk, so memory does not grow with the
    length of a run.

    Args:
        run_dir: created if missing.

    Raises:
        ConfigError: the folder already holds a history.
    """

    def __init__(self, run_dir: Path) -> None:
        self._attempts = RecordTable(run_dir / ATTEMPTS, AttemptRecord)
        self._writes = RecordTable(run_dir / WRITES, WriteRecord)
        for table in (self._attempts, self._writes):
            if table.path.exists() or table.parts.exists():
                raise ConfigError(f"{run_dir} already holds a history; use a new run folder")
        run_dir.mkdir(parents=True, exist_ok=True)
        self._time: ReplayTime | None = None
        self._early: list[AttemptRecord | WriteRecord] = []

    def attach(self, time: ReplayTime) -> None:
        """From now on times are read from, and recorded relative to the start of, ``time``."""
        self._time = time

    def now(self) -> float:
        """The replay's clock, as records are to be stamped; 0 before one is attached."""
        return 0.0 if self._time is None else self._time.clock.time()

    def attempt(self, record: AttemptRecord) -> None:
        """Take down an attempt stamped by ``now``."""
        self._keep(record)

    def write(self, record: WriteRecord) -> None:
        """Take down a change of the store stamped by ``now``."""
        self._keep(record)

    def close(self) -> None:
        """Write both files; raises ConfigError if the disk refuses."""
        self._settle()
        try:
            for table in (self._attempts, self._writes):
                table.flush()
                table.parts.mkdir(exist_ok=True)
                table.merge()
                table.drop_parts()
            seal(self._attempts.path.parent, ATTEMPTS, WRITES)
        except OSError as error:
            raise ConfigError(
                f"cannot write the history into {self._attempts.path.parent}: {error}"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _keep(self, record: AttemptRecord | WriteRecord) -> None:
        # The window's start is not known in the warm-up: its few records wait for it.
        self._early.append(record)
        if self._time is not None and self._time.started:
            self._settle()

    def _settle(self) -> None:
        time = self._time
        shift = time.of if time is not None and time.started else (lambda moment: moment)
        for record in self._early:
            if isinstance(record, AttemptRecord):
                moved = record._replace(sent_s=shift(record.sent_s), done_s=shift(record.done_s))
                if self._attempts.add(moved):
                    self._attempts.flush()
            elif self._writes.add(record._replace(at_s=shift(record.at_s))):
                self._writes.flush()
        self._early.clear()
