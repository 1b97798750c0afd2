"""The --columns setting."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.errors import ConfigError, DataError
from training.data.columns import ColumnSpec, guess_columns, parse_columns


def test_every_role():
    spec = parse_columns("user=U, item=artist+track ,time=T,session=S,text=X")
    assert spec == ColumnSpec(
        user="U", item=("artist", "track"), time="T", text=("X",), session="S"
    )


def test_time_and_text_are_optional():
    assert parse_columns("item=I,user=U") == ColumnSpec("U", ("I",))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("user=U", r"does not name \['item'\]"),
        ("user=U,item", "cannot read 'item'"),
        ("user=U,item=I,when=T", "cannot read 'when=T'"),
        ("user=U,user=V,item=I", "cannot read 'user=V'"),
        ("", "cannot read ''"),
    ],
)
def test_unreadable(spec, message):
    with pytest.raises(ConfigError, match=message):
        parse_columns(spec)


def test_usual_names_are_guessed():
    spec = guess_columns(["rating", "userId", "movieId", "Timestamp"], Path("log.csv"))
    assert spec == ColumnSpec(user="userId", item=("movieId",), time="Timestamp")


def test_unusual_names_are_asked_for():
    with pytest.raises(DataError, match=r"log.csv: .*--columns user=U.*It has who, what"):
        guess_columns(["who", "what"], Path("log.csv"))
