"""Whatever bytes a log file holds, reading it gives a log or a DataError."""

from __future__ import annotations

import contextlib
import gzip
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import DataError
from tests.support.tiers import examples
from training.data.reading.dialects import Dialect
from training.data.registry import load_log
from training.data.tables import read_text, records
from training.settings import LogSettings

TIMED = "user=user,item=item,time=time"
cells = st.one_of(
    st.text(max_size=6),
    st.integers(-10, 10**19).map(str),
    st.sampled_from(['"', ",", "\t", "\r", "\n", "\x00", "2024-01-01", "nan", "1e400", "a:token"]),
)
headers = st.sampled_from(
    ["user,item,time", "user\titem\ttime", "user_id:token\titem_id:token\ttimestamp:float", "x"]
)
tables = st.builds(
    lambda header, rows, separator: "\n".join([header, *(separator.join(row) for row in rows)]),
    headers,
    st.lists(st.lists(cells, min_size=1, max_size=4), max_size=12),
    st.sampled_from([",", "\t", " "]),
).map(lambda text: text.encode("utf-8", "surrogatepass"))
foursquare = st.lists(
    st.lists(cells, min_size=8, max_size=8).map("\t".join)
    | st.just("1\tv\tc\tBar\t0\t0\t-240\tTue Apr 03 18:00:09 +0000 2012"),
    max_size=6,
).map(lambda rows: "\n".join(rows).encode("utf-8", "surrogatepass"))
json_values = st.one_of(st.none(), st.integers(-1, 10**19), st.text(max_size=6), st.just([]))
dialogues = st.lists(
    st.fixed_dictionaries(
        {
            "conversationId": st.integers(0, 5) | json_values,
            "initiatorWorkerId": st.integers(0, 1) | json_values,
            "movieMentions": st.just({"100001": "Heat", "100002": None}) | json_values,
            "messages": st.lists(
                st.fixed_dictionaries({"text": st.just("@100001 or @100002") | json_values}),
                max_size=3,
            ),
        }
    ).map(json.dumps)
    | cells,
    max_size=6,
).map(lambda rows: "\n".join(rows).encode("utf-8", "surrogatepass"))
objects = st.lists(
    st.dictionaries(
        st.sampled_from(["user", "item", "time", "more"]),
        json_values | st.integers(10**9, 2 * 10**9) | st.lists(st.text(max_size=3), max_size=2),
    ).map(json.dumps)
    | cells,
    max_size=8,
).map(lambda rows: "\n".join(rows).encode("utf-8", "surrogatepass"))
numbers = st.lists(
    st.lists(st.integers(-1, 2 * 10**9).map(str) | cells, min_size=3, max_size=4).map("::".join),
    max_size=8,
).map(lambda rows: "\n".join(rows).encode("utf-8", "surrogatepass"))
marked = st.sampled_from([b"\xff\xfe", b"\xfe\xff", b"\x28\xb5\x2f\xfd", b"\xef\xbb\xbf"])
contents = st.one_of(
    *(st.binary(max_size=200), tables, foursquare, dialogues, objects, numbers),
    st.builds(lambda mark, rest: mark + rest, marked, tables | st.binary(max_size=200)),
)


class _NamedDataError(Exception):
    """A DataError that names the file at fault."""


@contextlib.contextmanager
def _named(folder):
    try:
        yield
    except DataError as error:
        if str(error).startswith(folder):
            raise _NamedDataError from error
        raise


@pytest.mark.parametrize(
    "name", ["a.csv", "a.tsv.gz", "a.txt", "a.inter", "a.parquet", "a", "a.jsonl"]
)
@settings(max_examples=examples(60), deadline=None)
@given(
    content=contents,
    packed=st.booleans(),
    columns=st.sampled_from([None, TIMED, "user=user,item=item+time", "user=1,item=2,time=3"]),
    with_items=st.booleans(),
    bad_rows=st.sampled_from(["refuse", "skip"]),
)
def test_any_bytes_give_a_log_or_a_data_error(name, content, packed, columns, with_items, bad_rows):
    with tempfile.TemporaryDirectory() as folder:
        path, items = Path(folder) / name, Path(folder) / "items.csv"
        path.write_bytes(gzip.compress(content) if packed else content)
        items.write_bytes(content)
        chosen = LogSettings(
            path=path,
            columns=columns,
            items=items if with_items else None,
            min_events=3,
            bad_rows=bad_rows,
        )
        # Any other exception, or a DataError that does not name the file, fails the test.
        with contextlib.suppress(_NamedDataError), _named(folder):
            assert (load_log(chosen, cache=Path(folder)).counts() >= 3).all()


words = st.text(
    st.characters(codec="utf-8", exclude_characters='"\r\n\x00,'), min_size=1, max_size=8
)
good_rows = st.lists(
    st.tuples(words, words, st.integers(10**9, 18 * 10**8)), min_size=1, max_size=30
)


@settings(max_examples=examples(100), deadline=None)
@given(rows=good_rows, bad=st.data())
def test_one_bad_row_among_good_ones_is_named_by_its_line(rows, bad):
    position = bad.draw(st.integers(0, len(rows)))
    broken = bad.draw(st.sampled_from(["a,b", "a,b,1,2", ",b,1", "a,,1", "a,b,", "a,b,noon"]))
    lines = ["user,item,time", *(f"x{u},x{i},{t}" for u, i, t in rows)]
    lines.insert(1 + position, broken)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.csv"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="")
        with pytest.raises(DataError) as caught:
            load_log(LogSettings(path=path, columns=TIMED), cache=Path(folder))
    assert (caught.value.path, caught.value.line) == (path, position + 2)


@settings(max_examples=examples(100), deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            *[st.text(st.characters(codec="utf-8", exclude_characters="\r\x00"), max_size=8)] * 2
        ).map(lambda row: ("k" + row[0], "v" + row[1])),
        min_size=1,
        max_size=12,
    )
)
def test_the_fast_and_the_exact_pass_read_the_same(rows):
    quoted = ['"{}","{}"'.format(*(cell.replace('"', '""') for cell in row)) for row in rows]
    dialect = Dialect(",", quoted=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.csv"
        path.write_text("\n".join(["a,b", *quoted]) + "\n", encoding="utf-8", newline="")
        exact = [tuple(fields) for _, fields in records(path, dialect)][1:]
        assert read_text(path, dialect, lambda table: table.frame.rows()) == exact == rows
