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
    recommended again, and means over the orders of the items that tie with it.

    Attributes:
        user: index of the user in the log.
        step: events of the user before the request.
        target: index of the item that the user took next.
        is_return: the user had that item before.
        last: it is the user's last request.
        setting: ``S1`` (candidates are fresh) or ``S2`` (they are as old as the snapshot).
        gap: age of the snapshot in events, as the experiment sets it.
        n_candidates: items that were ranked.
        rank_calibrated: under the corrected snapshot.
        rank_uncalibrated: under the snapshot as it is.
        rank_structure: by the device's own score, with its counts and words.
        rank_semantic: by the snapshot's embedding alone.
        delta: events since the snapshot's abstract; below ``gap`` where the history is too short.
        omega: cue: agreement of the device's ranking and the snapshot's.
        drift: cue: how far e_str has moved since the snapshot's abstract.
        r: estimated reliability of the snapshot.
        alpha: strength 1 - r of the correction.
        de_norm: length of the correction.
        trust: factor that the age rule puts on the weight of the cloud's score.
        tied*: items with the score of the rank of the same name, the target among them.
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

    Where a bundle lacks a term, a rank is that without it.

    Attributes:
        user: index of the user in the log.
        step: events of the user before the request.
        target: index of the item that the user took next.
        is_return: the user had that item before.
        last: it is the user's last request.
        rank_structure: by the encoder's score alone.
        rank_semantic: by the fresh embedding alone.
        rank_fused: by the whole own score and the fresh embedding.
        rank_popularity, rank_frequency, rank_decayed: by a counter.
        tied*: items with the score of the rank of the same name, the target among them.
        rank_counts: by the encoder's score with the own counts; NaN in older records.
        rank_student: by the whole own score, with words; NaN in older records.
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
