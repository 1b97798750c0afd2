"""Rows of one kind, in memory, then in part files, then in one parquet file, and read back."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple, get_type_hints

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from loadtest.records.checksums import check
from shared.errors import DataError
from shared.files import staged

ROWS_PER_PART = 20_000
ROWS_PER_GROUP = 50_000
_TYPES = {int: pa.int32(), float: pa.float64(), bool: pa.bool_(), str: pa.string()}
_WIDER = {
    "snapshot_version": pa.uint64(),
    "version": pa.uint64(),
    "blob_version": pa.uint64(),
    "created_ms": pa.int64(),
    "request_bytes": pa.int64(),
    "response_bytes": pa.int64(),
}


def schema_of(record: type[NamedTuple]) -> pa.Schema:
    """Arrow schema of a record type, columns in the order of its fields."""
    fields = get_type_hints(record).items()
    return pa.schema([(name, _WIDER.get(name, _TYPES[kind])) for name, kind in fields])


class RecordTable:
    """Rows of one kind: in memory, then in part files, then in one file.

    Args:
        path: the file they end in; its parts lie beside it.
        record: whose fields are the columns.
    """

    def __init__(self, path: Path, record: type[NamedTuple]) -> None:
        self.path = path
        self.parts = path.with_name(path.name + ".parts")
        self.schema = schema_of(record)
        self.rows: list[tuple[object, ...]] = []
        self._waits_for = 0  # rows, after a part could not be written

    def add(self, row: tuple[object, ...]) -> bool:
        """Keep a row; True when enough have gathered for a part."""
        self.rows.append(row)
        return len(self.rows) >= max(ROWS_PER_PART, self._waits_for)

    def flush(self) -> None:
        """Write the rows in memory as the next part; they are kept if that fails (OSError)."""
        if not self.rows:
            return
        # A full disk is not tried again for every further row.
        self._waits_for = len(self.rows) + ROWS_PER_PART
        columns = zip(*self.rows, strict=True)
        arrays = [pa.array(c, f.type) for c, f in zip(columns, self.schema, strict=True)]
        self.parts.mkdir(exist_ok=True)
        part = self.parts / f"{len(list(self.parts.glob('*.parquet'))):06d}.parquet"
        with staged(part, fsync=False) as partial:
            table = pa.Table.from_arrays(arrays, schema=self.schema)
            pq.write_table(table, partial, compression="zstd")
        self.rows.clear()
        self._waits_for = 0

    def merge(self) -> None:
        """All parts as one file, put in place in one step."""
        with (
            staged(self.path) as partial,
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


def read_records(path: Path, columns: tuple[str, ...]) -> pl.DataFrame | None:
    """The records of one kind, or None if the run made none.

    Raises DataError if they are unusable, or not as the run wrote them.
    """
    check(path)
    if not path.exists():
        return None
    try:
        frame = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"not a readable record file: {error}", path) from error
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise DataError(f"columns are missing: {', '.join(missing)}", path)
    return frame


def numbers(frame: pl.DataFrame, column: str) -> NDArray[np.float64]:
    """A column as float64; null counts as NaN."""
    return frame[column].cast(pl.Float64).to_numpy().astype(np.float64)
