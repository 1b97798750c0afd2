"""A few bad rows are skipped if somebody says so: counted, listed, and never more than 1 %."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from shared.errors import DataError
from shared.interactions import InteractionLog
from training.data.registry import load_log
from training.settings import LogSettings

T = 1_700_000_000
GOOD = [f"u{n % 7},i{n % 11},{T + 61 * n}" for n in range(1000)]
BAD = {
    3: "u1,i1",
    40: ",i1,1700000001",
    500: "u1,NULL,1700000002",
    700: "u1,i1,noon",
    900: "u1,i1,1,2",
}


def own(tmp_path: Path, path: Path, **fields: str) -> InteractionLog:
    columns = "user=user,item=item,time=time"
    chosen = LogSettings(path=path, **({"columns": columns, "bad_rows": "skip"} | fields))
    return load_log(chosen, cache=tmp_path / "cache")


def write(path: Path, bad: dict[int, str]) -> Path:
    rows = list(GOOD)
    for place, row in sorted(bad.items(), reverse=True):
        rows.insert(place, row)
    path.write_text("user,item,time\n" + "\n".join(rows) + "\n")
    return path


def test_refusing_is_the_default(tmp_path: Path) -> None:
    path = write(tmp_path / "log.csv", BAD)
    with pytest.raises(DataError, match=r"log\.csv, line 5: 2 fields where there should be 3"):
        own(tmp_path, path, bad_rows="refuse")


def test_a_few_are_left_out_counted_and_listed(tmp_path: Path) -> None:
    clean = own(tmp_path, write(tmp_path / "clean.csv", {}))
    log = own(tmp_path, write(tmp_path / "log.csv", BAD))
    assert log.item.tolist() == clean.item.tolist()
    assert log.time is not None
    assert clean.time is not None
    assert log.time.tolist() == clean.time.tolist()
    (note,) = (note for note in log.notes if "skipped" in note)
    assert note.startswith("5 bad rows skipped: log.csv, line 5: 2 fields where")
    for said in ("line 43: column 'user' is empty", "is 'NULL', which means missing", "'noon'"):
        assert said in note


def test_lines_that_are_no_text_are_bad_rows(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    rows = [row.encode() for row in GOOD]
    rows.insert(10, b"u1,\xff\xfe,1700000001")
    path.write_bytes(b"user,item,time\n" + b"\n".join(rows) + b"\n")
    assert len(own(tmp_path, path)) == len(GOOD)


def test_more_than_one_in_a_hundred_are_refused_with_the_share(tmp_path: Path) -> None:
    path = write(tmp_path / "log.csv", dict.fromkeys(range(0, 1000, 90), "u1,i1"))
    with pytest.raises(DataError, match=r"line 2: 2 fields .* 12 of its 1,012 rows are bad, more"):
        own(tmp_path, path)


def test_an_open_quote_does_not_swallow_the_rest_unseen(tmp_path: Path) -> None:
    path = write(tmp_path / "log.csv", {5: '"u1,i1,1700000001'})
    with pytest.raises(DataError, match="rows are bad, more than the 1%"):
        own(tmp_path, path)


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "inter"])
def test_so_it_is_in_other_formats(tmp_path: Path, kind: str) -> None:
    rows = [dict(zip(("user", "item", "time"), row.split(","), strict=True)) for row in GOOD]
    rows.insert(9, {"user": "None", "item": "i", "time": str(T)})
    path = tmp_path / f"log.{kind}"
    if kind == "jsonl":
        lines = [json.dumps(row) for row in rows]
        lines.insert(20, '{"user": "u1", "item"')
        path.write_text("\n".join(lines) + "\n")
    elif kind == "parquet":
        pl.DataFrame(rows).write_parquet(path)
    else:
        head = "user:token\titem:token\ttime:float\n"
        path.write_text(head + "".join("\t".join(row.values()) + "\n" for row in rows))
    log = own(tmp_path, path)
    assert len(log) == len(GOOD)
    assert any("bad rows skipped" in note for note in log.notes)
    with pytest.raises(DataError, match="line"):
        own(tmp_path, path, bad_rows="refuse")
