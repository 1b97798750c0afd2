"""RunHistory: all records of one run, read back, as the checker takes them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from loadtest.history.records import ATTEMPTS, WRITES, AttemptRecord, WriteRecord
from loadtest.records.record_table import read_records
from loadtest.records.recorder import REFRESHES, REQUESTS, RefreshRecord, RequestRecord
from shared.errors import DataError

LASTING_KEYS = "lasting_keys.txt"


@dataclass(frozen=True, slots=True)
class RunHistory:
    """Records of one run.

    Attributes:
        requests, refreshes: of the devices (loadtest.records.recorder).
        attempts: HTTP requests that left them.
        writes: changes of the store; empty where nobody could watch it.
        lasting_keys: of a store looked at after the run, those that would stay for ever.
    """

    requests: pl.DataFrame
    refreshes: pl.DataFrame
    attempts: pl.DataFrame
    writes: pl.DataFrame
    lasting_keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Expected:
    """What a history is held against, beside itself.

    Attributes:
        due: requests that were planned per user; a run that was cut short has none of this.
        bundle_id: the only bundle whose snapshots may be used.
        gamma_max: of the bundle: |de| <= gamma_max * alpha (SCaLRec eq. 13).
        deadline_s, breaker_open_s: of the links.
        retry_after_s: longest the cloud asks a device to wait.
        quiet: [start, end) in which nothing was wrong, each after a fault.
        ttl_s: how long the store keeps a snapshot.
        slack_s: what clocks and headers of whole seconds may add to an age.
    """

    due: Mapping[int, int]
    bundle_id: str
    gamma_max: float
    deadline_s: float
    breaker_open_s: float
    retry_after_s: float = 1.0
    quiet: tuple[tuple[float, float], ...] = ()
    ttl_s: float = math.inf
    slack_s: float = 2.0


@dataclass(frozen=True, slots=True)
class Violation:
    """One place where a history contradicts the model.

    Attributes:
        rule: name of the invariant.
        user: index in the log; -1 if it is no one user's.
        at_s: seconds of the replay.
        what: in words, with the values.
    """

    rule: str
    user: int
    at_s: float
    what: str


def read_history(run_dir: Path) -> RunHistory:
    """The history in a run folder; raises DataError naming the file that is missing or damaged."""
    frames = []
    for name, record in (
        (REQUESTS, RequestRecord),
        (REFRESHES, RefreshRecord),
        (ATTEMPTS, AttemptRecord),
        (WRITES, WriteRecord),
    ):
        # Fields with a default came later; older records are read without them.
        needed = tuple(f for f in record._fields if f not in record._field_defaults)
        frame = read_records(run_dir / name, needed)
        if frame is None:
            raise DataError("no history here: was the run made with one?", run_dir / name)
        frames.append(frame)
    requests, refreshes, attempts, writes = frames
    return RunHistory(
        requests=requests,
        refreshes=refreshes,
        attempts=attempts,
        writes=writes,
        lasting_keys=_lasting_keys(run_dir),
    )


def write_lasting_keys(run_dir: Path, keys: Iterable[str]) -> None:
    """Lay down what a look into the store after the run has found."""
    (run_dir / LASTING_KEYS).write_text("".join(f"{key}\n" for key in keys), encoding="utf-8")


def _lasting_keys(run_dir: Path) -> tuple[str, ...]:
    path = run_dir / LASTING_KEYS
    return tuple(path.read_text(encoding="utf-8").splitlines()) if path.exists() else ()


def user_index(wire_user: str) -> int:
    """Index in the log of the user the cloud knows as ``<run>.<index>``; -1 if it is no name."""
    index = wire_user.rpartition(".")[2]
    return int(index) if index.isdecimal() else -1
