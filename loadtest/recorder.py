"""One row per device request and per cloud refresh, kept in parquet whatever ends the run.

Rows gather in memory and go to numbered part files; closing merges the parts into one file per
table. So a run that is killed outright keeps all but its last rows (``recover``), and one that is
interrupted keeps them all. The same rows always give the same bytes.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Protocol, get_type_hints

import pyarrow as pa
import pyarrow.parquet as pq

from shared.errors import ConfigError

REQUESTS = "requests.parquet"
REFRESHES = "refreshes.parquet"
ROWS_PER_PART = 20_000
ROWS_PER_GROUP = 50_000


class RequestRecord(NamedTuple):
    """One device request. Times are seconds of the replay; ranks are 1-based, inf if not ranked.

    ``rank`` is of the answer given, ``rank_uncalibrated`` and ``rank_structure`` of the two other
    answers to the same request, the last three of counters over the full catalogue. -1, 0 and NaN
    stand for "no snapshot" in delta and snapshot_tau, snapshot_version, and the cues.
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
    snapshot_version: int
    snapshot_tau: int
    snapshot_age_s: float
    breaker: str
    cloud_up: bool


class RefreshRecord(NamedTuple):
    """One attempt of a device to get a snapshot; ``started_s`` is negative in the warm-up.

    ``tau`` and ``version`` are of the snapshot the device holds afterwards (-1 and 0: none).
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


class Observer(Protocol):
    """Is shown every record as it is made; must be quick and must not raise."""

    def request(self, record: RequestRecord) -> None:
        """A device was asked and has answered."""

    def refresh(self, record: RefreshRecord) -> None:
        """A refresh ended, well or not."""


_TYPES = {int: pa.int32(), float: pa.float64(), bool: pa.bool_(), str: pa.string()}
_WIDER = {
    "snapshot_version": pa.uint64(),
    "version": pa.uint64(),
    "request_bytes": pa.int64(),
    "response_bytes": pa.int64(),
}


def schema_of(record: type[NamedTuple]) -> pa.Schema:
    """Arrow schema of a record type, columns in the order of its fields."""
    fields = get_type_hints(record).items()
    return pa.schema([(name, _WIDER.get(name, _TYPES[kind])) for name, kind in fields])


@contextlib.contextmanager
def _whole_or_nothing(path: Path) -> Iterator[Path]:
    """A file beside ``path`` to write, which takes its place at the end or is removed."""
    partial = path.with_suffix(".partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


class _Table:
    """Rows of one kind: in memory, then in part files, then in one file."""

    def __init__(self, path: Path, record: type[NamedTuple]) -> None:
        self.path = path
        self.parts = path.with_name(path.name + ".parts")
        self.schema = schema_of(record)
        self.rows: list[tuple[object, ...]] = []
        self.count = 0

    def add(self, row: tuple[object, ...]) -> bool:
        """Keep a row; True when enough have gathered for a part."""
        self.rows.append(row)
        self.count += 1
        return len(self.rows) >= ROWS_PER_PART

    def flush(self) -> None:
        """Write the rows in memory as the next part; they are kept if that fails (OSError)."""
        if not self.rows:
            return
        columns = zip(*self.rows, strict=True)
        arrays = [pa.array(c, f.type) for c, f in zip(columns, self.schema, strict=True)]
        self.parts.mkdir(exist_ok=True)
        part = self.parts / f"{len(list(self.parts.glob('*.parquet'))):06d}.parquet"
        with _whole_or_nothing(part) as partial:
            table = pa.Table.from_arrays(arrays, schema=self.schema)
            pq.write_table(table, partial, compression="zstd")
        self.rows.clear()

    def merge(self) -> None:
        """All parts as one file, put in place in one step."""
        with (
            _whole_or_nothing(self.path) as partial,
            pq.ParquetWriter(partial, self.schema, compression="zstd") as writer,
        ):
            waiting: list[pa.Table] = []
            for part in sorted(self.parts.glob("*.parquet")):
                waiting.append(pq.read_table(part, schema=self.schema))
                if sum(t.num_rows for t in waiting) >= ROWS_PER_GROUP:
                    writer.write_table(pa.concat_tables(waiting))
                    waiting = []
            if waiting:
                writer.write_table(pa.concat_tables(waiting))

    def drop_parts(self) -> None:
        shutil.rmtree(self.parts, ignore_errors=True)


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
        self._requests = _Table(run_dir / REQUESTS, RequestRecord)
        self._refreshes = _Table(run_dir / REFRESHES, RefreshRecord)
        for table in self._tables():
            if table.path.exists() or table.parts.exists():
                raise ConfigError(f"{run_dir} already holds records; use a new run folder")
        try:
            run_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"cannot create run folder {run_dir}: {error}") from error

    @property
    def n_requests(self) -> int:
        return self._requests.count

    @property
    def n_refreshes(self) -> int:
        return self._refreshes.count

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
        except OSError as error:
            raise ConfigError(
                f"cannot write records into {self.run_dir}: {error}. What was written before lies "
                f"in its *.parts folders; free some space and run `scalrec report {self.run_dir}`"
            ) from error

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _tables(self) -> tuple[_Table, _Table]:
        return self._requests, self._refreshes


def recover(run_dir: Path) -> dict[str, int]:
    """Merge the parts that a killed run left behind; returns rows per file that was made.

    The parts stay: should the run be alive after all, it loses nothing.

    Raises:
        ConfigError: the merged file cannot be written, or a part cannot be read.
    """
    made = {}
    for name, record in ((REQUESTS, RequestRecord), (REFRESHES, RefreshRecord)):
        table = _Table(run_dir / name, record)
        if not table.parts.exists():
            continue
        try:
            table.merge()
        except (OSError, pa.ArrowInvalid) as error:
            raise ConfigError(f"cannot merge the records in {table.parts}: {error}") from error
        made[name] = pq.read_metadata(table.path).num_rows
    return made
