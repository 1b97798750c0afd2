"""The page of records has each column of each file, with its type and its meaning."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest

from loadtest.records.record_table import RecordTable
from scalrec.reference.records_page import RECORDS, meanings, records_page


@pytest.mark.parametrize("file", RECORDS)
def test_each_column_of_a_record_is_explained(file: str) -> None:
    record, _ = RECORDS[file]
    silent = [column for column, words in meanings(record).items() if not words]
    assert silent == [], f"say under Attributes of {record.__name__} what they are"


@pytest.mark.parametrize("file", RECORDS)
def test_the_page_has_the_columns_of_a_written_file(file: str, tmp_path: Path) -> None:
    record, _ = RECORDS[file]
    table = RecordTable(tmp_path / file, record)
    table.flush()
    table.parts.mkdir()
    table.merge()
    part = records_page().partition(f"\n## `{file}`\n")[2].partition("\n## ")[0]
    rows = [line for line in part.splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == pl.read_parquet(tmp_path / file).columns
    assert all(len(row.split(" | ")) == 3 for row in rows)


class Sample(NamedTuple):
    """A row.

    Attributes:
        one, two: in
            two lines.
        tied*: of a family: all of it.
    """

    one: int
    two: int
    tied: int
    tied_more: int
    silent: int


def test_docstrings_are_read_by_column() -> None:
    assert meanings(Sample) == {
        "one": "in two lines.",
        "two": "in two lines.",
        "tied": "of a family: all of it.",
        "tied_more": "of a family: all of it.",
        "silent": "",
    }
