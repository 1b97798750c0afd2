"""Records of shards: each in a folder of its own, and all together as those of one run."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from loadtest.records.checksums import check, seal
from loadtest.records.record_table import schema_of
from loadtest.records.recorder import REFRESHES, REQUESTS, RefreshRecord, RequestRecord
from shared.errors import ConfigError, DataError
from shared.files import staged, write_whole

SHARDS_DIR = "shards"
_ORDERS = {
    REQUESTS: (RequestRecord, ("scheduled_s", "user", "step")),
    REFRESHES: (RefreshRecord, ("finished_s", "user", "step")),
}


def shard_dir(run_dir: Path, number: int) -> Path:
    """Folder of one shard's own records."""
    return run_dir / SHARDS_DIR / f"{number:03d}"


def keep_records(run_dir: Path, number: int, files: dict[str, bytes]) -> None:
    """Write the records a shard sent; raises ConfigError if the disk refuses."""
    folder = shard_dir(run_dir, number)
    try:
        for name in _ORDERS:
            if name in files:
                write_whole(folder / name, files[name])
        if files:
            seal(folder, *files)
    except OSError as error:
        raise ConfigError(f"cannot write records of shard {number}: {error}") from error


def merge_records(run_dir: Path) -> dict[str, int]:
    """Write the union of all shards' records into the run folder, in the order they were made.

    Returns rows per file. Raises DataError for a shard's file that cannot be read, ConfigError if
    the disk refuses.
    """
    rows = {}
    for name, (record, order) in _ORDERS.items():
        schema = schema_of(record)
        tables = [schema.empty_table()]
        for path in sorted((run_dir / SHARDS_DIR).glob(f"*/{name}")):
            check(path)
            try:
                tables.append(pq.read_table(path, schema=schema))
            except (OSError, pa.ArrowException) as error:
                raise DataError(f"not a readable record file: {error}", path) from error
        merged = pa.concat_tables(tables).sort_by([(column, "ascending") for column in order])
        try:
            with staged(run_dir / name) as partial:
                pq.write_table(merged, partial, compression="zstd")
            seal(run_dir, name)
        except OSError as error:
            raise ConfigError(f"cannot write {run_dir / name}: {error}") from error
        rows[name] = merged.num_rows
    return rows
