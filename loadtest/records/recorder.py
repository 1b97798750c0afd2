"""One row per device request and per cloud refresh, kept in parquet whatever ends the run.

Rows gather in memory and go to numbered part files; closing merges the parts into one file per
table. So a run that is killed outright keeps all but its last rows (``recover``), and one that is
interrupted keeps them all. The same rows always give the same bytes.
"""

from __future__ import annotations

import contextlib
import math
from pathlib import Path
from typing import NamedTuple, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from loadtest.records.checksums import seal
from loadtest.records.record_table import RecordTable
from shared.errors import ConfigError

REQUESTS = "requests.parquet"
REFRESHES = "refreshes.parquet"


class RequestRecord(NamedTuple):
    """One device request. Times are seconds of the replay; ranks are 1-based, inf if not ranked.

    A rank is the target's, and the mean over the orders of the items that tie with it. -1, 0 and
    NaN stand for "no snapshot" in delta and snapshot_tau, snapshot_version, and the cues.

    Attributes:
        user: index of the user in the log.
        step: events of the user before the request.
        target: index of the item that the user took next.
        is_return: the user had that item before.
        scheduled_s: when the request was due.
        started_s: when the device was asked.
        finished_s: when it had answered.
        latency_scheduled_ms: from the time it was due to the answer; what a user waits.
        latency_service_ms: from the device being asked to the answer.
        source: ``snapshot``, or ``local`` where the device held none.
        rank: in the answer given.
        rank_uncalibrated: in the answer that takes the cached snapshot as it is.
        rank_structure: by the device's own score, over the same candidates.
        rank_popularity, rank_frequency, rank_decayed: by a counter, over the full catalogue.
        n_candidates: items that were ranked.
        delta: events since the snapshot's abstract.
        omega: cue: agreement of the device's ranking and the snapshot's.
        drift: cue: how far e_str has moved since the snapshot's abstract.
        r: estimated reliability of the snapshot.
        alpha: strength 1 - r of the correction.
        de_norm: length of the correction.
        trust: factor that the age rule puts on the weight of the cloud's score.
        snapshot_version, snapshot_tau: of the snapshot that was used.
        snapshot_age_s: seconds since the cloud computed it.
        breaker: state of the device's circuit breaker.
        cloud_up: the cloud could be reached, as far as was planned and found.
        tied*: items with the score of the rank of the same name, the target among them.
        rank_alone: of the device had it no cloud at all: own candidates, own score. NaN in records
            that do not say.
    """

    user: int
    step: int
    target: int
    is_return: bool
    scheduled_s: float
    started_s: float
    finished_s: float
    latency_scheduled_ms: float
    latency_service_ms: float
    source: str
    rank: float
    rank_uncalibrated: float
    rank_structure: float
    rank_popularity: float
    rank_frequency: float
    rank_decayed: float
    n_candidates: int
    delta: int
    omega: float
    drift: float
    r: float
    alpha: float
    de_norm: float
    trust: float
    snapshot_version: int
    snapshot_tau: int
    snapshot_age_s: float
    breaker: str
    cloud_up: bool
    tied: int = 1
    tied_uncalibrated: int = 1
    tied_structure: int = 1
    tied_popularity: int = 1
    tied_frequency: int = 1
    tied_decayed: int = 1
    rank_alone: float = math.nan
    tied_alone: int = 1


class RefreshRecord(NamedTuple):
    """One attempt of a device to get a snapshot.

    Attributes:
        user: index of the user in the log.
        step: events of the user that the abstract knows.
        started_s, finished_s: seconds of the replay; negative in the warm-up.
        outcome: fresh, stale, deadline, refused, breaker, network, server or rejected.
        attempts: HTTP requests that were sent.
        request_bytes, response_bytes: of all their bodies.
        latency_ms: from the start to the end.
        tau, version: of the snapshot that the device holds afterwards; -1 and 0: none.
        cloud_up: the cloud could be reached, as far as was planned and found.
        reason: what is behind the outcome, in a stable word; empty if the outcome says it all.
    """

    user: int
    step: int
    started_s: float
    finished_s: float
    outcome: str
    attempts: int
    request_bytes: int
    response_bytes: int
    latency_ms: float
    tau: int
    version: int
    cloud_up: bool
    reason: str = ""


class Observer(Protocol):
    """Is shown every record as it is made; must be quick and must not raise."""

    def request(self, record: RequestRecord) -> None:
        """A device was asked and has answered."""

    def refresh(self, record: RefreshRecord) -> None:
        """A refresh ended, well or not."""


class Recorder:
    """Writes requests.parquet and refreshes.parquet into a run folder; a context manager.

    Args:
        run_dir: created if missing.
        observer: shown every record too, for whoever watches the run.

    Raises:
        ConfigError: the folder already holds records, or cannot be written.
    """

    def __init__(self, run_dir: Path, observer: Observer | None = None) -> None:
        self.run_dir = run_dir
        self._observer = observer
        self._requests = RecordTable(run_dir / REQUESTS, RequestRecord)
        self._refreshes = RecordTable(run_dir / REFRESHES, RefreshRecord)
        for table in self._tables():
            if table.path.exists() or table.parts.exists():
                raise ConfigError(f"{run_dir} already holds records; use a new run folder")
        try:
            run_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"cannot create run folder {run_dir}: {error}") from error

    def request(self, record: RequestRecord) -> None:
        if self._observer is not None:
            self._observer.request(record)
        if self._requests.add(record):
            self.flush()

    def refresh(self, record: RefreshRecord) -> None:
        if self._observer is not None:
            self._observer.refresh(record)
        if self._refreshes.add(record):
            self.flush()

    def flush(self) -> None:
        """Write what has gathered to part files, so that a killed run keeps it.

        A full disk does not end the replay: the rows stay in memory for the next flush, and
        ``close`` complains if it fails as well.
        """
        for table in self._tables():
            with contextlib.suppress(OSError):
                table.flush()

    def close(self) -> None:
        """Merge everything into the two files; raises ConfigError if the disk refuses."""
        try:
            for table in self._tables():
                table.flush()
                table.merge()
                table.drop_parts()
            seal(self.run_dir, REQUESTS, REFRESHES)
        except OSError as error:
            raise ConfigError(
                f"cannot write records into {self.run_dir}: {error}. What was written before lies "
                f"in its *.parts folders; free some space and run `scalrec report {self.run_dir}`"
            ) from error

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _tables(self) -> tuple[RecordTable, RecordTable]:
        return self._requests, self._refreshes


def recover(run_dir: Path) -> dict[str, int]:
    """Merge the parts that a killed run left behind; returns rows per file that was made.

    The parts stay: should the run be alive after all, it loses nothing.

    Raises:
        ConfigError: the merged file cannot be written, or a part cannot be read.
    """
    made = {}
    for name, record in ((REQUESTS, RequestRecord), (REFRESHES, RefreshRecord)):
        table = RecordTable(run_dir / name, record)
        if not table.parts.exists():
            continue
        try:
            table.merge()
        except (OSError, pa.ArrowInvalid) as error:
            raise ConfigError(f"cannot merge the records in {table.parts}: {error}") from error
        made[name] = pq.read_metadata(table.path).num_rows
    if made:
        seal(run_dir, *made)
    return made
