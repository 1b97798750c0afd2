"""Delimited text and parquet: what is read, and which line a refusal names."""

from __future__ import annotations

import gzip

import polars as pl
import pytest

from shared.errors import DataError
from training.data.reading.dialects import TSV, Dialect
from training.data.tables import read_parquet, read_table, read_text

CSV = Dialect(",", quoted=True)


def rows(table):
    return table.frame.rows()


def test_good_csv_is_read_as_strings(write):
    path = write("log.csv", 'user,item\n1,"a, b"\n02,c\n')
    assert read_text(path, CSV, rows) == [("1", "a, b"), ("02", "c")]


@pytest.mark.parametrize("name", ["log.tsv", "log.tsv.gz"])
def test_tsv_takes_quotes_as_text(write, name):
    path = write(name, 'user\titem\n1\t"half\n2\tb\n')
    assert read_table(path, rows) == [("1", '"half'), ("2", "b")]


def test_byte_order_mark_blank_lines_and_crlf_are_harmless(write):
    path = write("log.csv", b"\xef\xbb\xbfuser,item\r\n1,a\r\n\r\n2,b\r\n")
    assert read_table(path, lambda t: (t.columns, rows(t))) == (
        ["user", "item"],
        [("1", "a"), ("2", "b")],
    )


def test_semicolons_are_recognised(write):
    assert read_table(write("log.csv", "user;item\n1;a,b\n"), rows) == [("1", "a,b")]


def test_empty_last_field_is_no_short_row(write):
    assert read_table(write("log.csv", "user,item,note\n1,a,\n2,b,x\n"), rows) == [
        ("1", "a", None),
        ("2", "b", "x"),
    ]


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        ("user,item\n1,a\n2\n", 3, "1 fields where there should be 2"),
        ("user,item\n1,a\n\n2,b,c\n", 4, "3 fields where there should be 2"),
        ('user,item\n1,a\n2,"open\n3,c\n', 3, "not a csv row"),
        (b"user,item\n1,a\n2,\xff\n", 3, "not utf-8 text"),
        ("user,user\n1,a\n", 1, "a column name occurs twice"),
        ("user,item\n1,a\rb,c\n", 2, "not a csv row"),
    ],
)
def test_malformed_row_is_named_by_its_line(write, content, line, message):
    path = write("log.csv", content)
    with pytest.raises(DataError, match=f"{path}, line {line}: {message}") as caught:
        read_table(path, rows)
    assert (caught.value.path, caught.value.line) == (path, line)


def test_line_of_a_refused_value_counts_quoted_line_breaks(write):
    path = write("log.csv", 'user,item\n1,"two\nlines"\n,b\n')
    with pytest.raises(DataError, match=f"{path}, line 4: column 'user' is empty"):
        read_table(path, lambda table: table.ids("user"))


@pytest.mark.parametrize("name", ["log.csv", "log.csv.gz"])
def test_empty_file_is_named(write, name):
    with pytest.raises(DataError, match="the file is empty"):
        read_table(write(name, ""), rows)


def test_missing_column_names_what_is_there(write):
    with pytest.raises(DataError, match="no column 'when'; it has user, item"):
        read_table(write("log.csv", "user,item\n1,a\n"), lambda table: table.column("when"))


def test_truncated_gzip_is_named(tmp_path):
    path = tmp_path / "log.csv.gz"
    path.write_bytes(gzip.compress(b"user,item\n" + b"1,a\n" * 5000)[:-20])
    with pytest.raises(DataError, match=f"{path}: damaged or truncated gzip file"):
        read_table(path, rows)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="cannot be read: No such file"):
        read_table(tmp_path / "none.csv", rows)


def test_other_encoding(write):
    dialect = Dialect("\t", quoted=False, header=("user", "place"), encoding="latin-1")
    assert read_text(write("log.txt", "1\tCafé\n".encode("latin-1")), dialect, rows) == [
        ("1", "Café")
    ]


def test_parquet_row_is_named(tmp_path):
    path = tmp_path / "log.parquet"
    pl.DataFrame({"user": [1, None, 3]}).write_parquet(path)
    with pytest.raises(DataError, match=f"{path}, line 2: column 'user' is empty"):
        read_table(path, lambda table: table.ids("user"))


def test_parquet_float_ids_are_integers(tmp_path):
    path = tmp_path / "log.parquet"
    pl.DataFrame({"user": [1.0, 12.0]}).write_parquet(path)
    assert read_parquet(path).ids("user").to_list() == ["1", "12"]


def test_nested_parquet_column_is_refused(tmp_path):
    path = tmp_path / "log.parquet"
    pl.DataFrame({"user": [[1], [2]]}).write_parquet(path)
    with pytest.raises(DataError, match="column 'user' holds List"):
        read_parquet(path).ids("user")
    with pytest.raises(DataError, match="column 'user' holds List"):
        read_parquet(path).times("user")


def test_damaged_parquet_is_refused(tmp_path):
    path = tmp_path / "log.parquet"
    pl.DataFrame({"user": [1, 2]}).write_parquet(path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(DataError, match="not a readable parquet file"):
        read_table(path, rows)


def test_tab_separated_row_with_too_many_fields(write):
    path = write("log.tsv", "user\titem\n1\ta\n2\tb\tc\n")
    with pytest.raises(DataError, match=f"{path}, line 3: 3 fields"):
        read_text(path, TSV, rows)
