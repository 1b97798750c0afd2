"""The page of what a run records: the columns of each parquet file."""

from __future__ import annotations

import inspect
import re
from typing import NamedTuple

from loadtest.history.records import ATTEMPTS, WRITES, AttemptRecord, WriteRecord
from loadtest.records.evidence_records import FULL, PAPER, FullRecord, PaperRecord
from loadtest.records.record_table import schema_of
from loadtest.records.recorder import REFRESHES, REQUESTS, RefreshRecord, RequestRecord
from scalrec.reference.cells import code, table

# Which file has which rows, and which runs make it.
RECORDS: dict[str, tuple[type[NamedTuple], str]] = {
    REQUESTS: (RequestRecord, "Every replay: `simulate`, `fleet`, `loadtest run`."),
    REFRESHES: (RefreshRecord, "Every replay."),
    PAPER: (PaperRecord, "`simulate`, at controlled ages of the snapshot."),
    FULL: (FullRecord, "`simulate`, over the whole catalogue."),
    ATTEMPTS: (AttemptRecord, "`loadtest run` and `robustness`: what crossed the wire."),
    WRITES: (WriteRecord, "`loadtest run --virtual` and `robustness`: what reached the store."),
}
_HEAD = """\
# Records

A run's folder, `runs/latest` for the newest one, holds parquet files with one row per request or
refresh. They are all that a report is made from: `scalrec report FOLDER` makes it anew. polars,
pandas and DuckDB read them as they are:

```python
import polars as pl

requests = pl.read_parquet("runs/latest/requests.parquet")
requests.group_by("source").agg(pl.len(), pl.col("latency_scheduled_ms").median())
```

`checksums.json` beside them keeps the hash of each file ([runs](../runs.md)).

"""


def records_page() -> str:
    """A section for each file: which runs have it, what a row is, and its columns."""
    return _HEAD + "".join(_section(name, *told) for name, told in RECORDS.items())


def meanings(record: type[NamedTuple]) -> dict[str, str]:
    """What a record type's docstring says under ``Attributes:`` of each column, in their order.

    A line may name several columns, and those of one beginning by ``*``; a column that it does not
    name has no words.
    """
    *_, listed = inspect.cleandoc(record.__doc__ or "").partition("Attributes:\n")
    told: dict[str, str] = {}
    for line in inspect.cleandoc(listed).splitlines():
        names, found, words = line.partition(": ")
        if found and not line.startswith(" "):
            last = names.split(", ")
            told |= dict.fromkeys(last, words)
        else:
            told |= {name: f"{told[name]} {line.strip()}" for name in last}
    return {column: _words(column, told) for column in record._fields}


def _words(column: str, told: dict[str, str]) -> str:
    families = (n for n in told if n.endswith("*") and column.startswith(n[:-1]))
    return told.get(column) or next((told[name] for name in families), "")


def _section(file: str, record: type[NamedTuple], runs: str) -> str:
    about = inspect.cleandoc(record.__doc__ or "").partition("Attributes:\n")[0].strip()
    told, schema = meanings(record), schema_of(record)
    rows = [[code(f.name), str(f.type), re.sub("``", "`", told[f.name])] for f in schema]
    return f"## {code(file)}\n\n{runs}\n\n{about}\n\n{table(['column', 'type', 'meaning'], rows)}\n"
