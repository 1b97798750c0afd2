"""Rows of the controlled experiments, and their parquet files."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from loadtest.records.checksums import seal
from loadtest.records.record_table import schema_of
from shared.errors import ConfigError
from shared.files import staged

PAPER = "paper.parquet"
FULL = "full.parquet"


class PaperRecord(NamedTuple):
    """One request of paper mode at one setting and gap.

    Ranks are 1-based within the candidates, inf if the target is not among them or may not be
    recommended again, and means over the orders of ``tied`` items, the target among them;
    ``uncalibrated`` is the snapshot as it is, ``structure`` the device's own score (with its counts
    and words); ``delta`` is below ``gap`` where the history is too short for it.
    """

    user: int
    step: int
    target: int
    is_return: bool
    last: bool
    setting: str
    gap: int
    n_candidates: int
    rank_calibrated: float
    rank_uncalibrated: float
    rank_structure: float
    rank_semantic: float
    delta: int
    omega: float
    drift: float
    r: float
    alpha: float
    de_norm: float
    trust: float
    tied_calibrated: int = 1
    tied_uncalibrated: int = 1
    tied_structure: int = 1
    tied_semantic: int = 1


class FullRecord(NamedTuple):
    """One request with the whole catalogue ranked at gap 0; ranks as in PaperRecord.

    ``rank_structure`` is of the encoder's score alone, ``rank_counts`` of it with the own counts,
    ``rank_student`` of the whole own score, with words; ``rank_fused`` adds a fresh embedding to
    that one. Where a bundle lacks a term, the rank is that without it. Older records, whose device
    had structure alone, are without the two.
    """

    user: int
    step: int
    target: int
    is_return: bool
    last: bool
    rank_structure: float
    rank_semantic: float
    rank_fused: float
    rank_popularity: float
    rank_frequency: float
    rank_decayed: float
    tied_structure: int = 1
    tied_semantic: int = 1
    tied_fused: int = 1
    tied_popularity: int = 1
    tied_frequency: int = 1
    tied_decayed: int = 1
    rank_counts: float = math.nan
    rank_student: float = math.nan
    tied_counts: int = 1
    tied_student: int = 1


def write_records(path: Path, rows: Iterable[tuple[object, ...]], record: type[NamedTuple]) -> Path:
    """Write all rows in one step (zstd); raises ConfigError if the disk refuses."""
    schema = schema_of(record)
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    arrays = [pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)]
    table = pa.Table.from_arrays(arrays, schema=schema)
    try:
        with staged(path) as partial:
            pq.write_table(table, partial, compression="zstd")
        seal(path.parent, path.name)
    except OSError as error:
        raise ConfigError(f"cannot write records to {path}: {error}") from error
    return path
