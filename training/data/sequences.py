"""One line per user, ``user item item ...``, oldest first and without times (as S3-Rec ships).

Item text is taken from ``NAME_items.tsv`` (gzip too) beside ``NAME.txt`` unless another file is
named; where it tells Amazon products, see ``training.data.amazon``.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from shared.errors import DataError
from shared.interactions import InteractionLog
from training.data import amazon
from training.data.file_columns import MISSING
from training.data.items import read_items
from training.data.reading.dialects import Dialect
from training.data.reading.streams import first_line
from training.data.tables import records
from training.data.validate import build_log

_SPACED = Dialect(" ", quoted=False)


def recognises(path: Path) -> bool:
    """True for a .txt file whose first line is at least three words separated by spaces."""
    named = path.name.removesuffix(".gz").endswith(".txt")
    return named and "\t" not in (line := first_line(path)) and len(line.split()) >= 3


def load(path: Path, *, name: str, items: Path | None, min_events: int) -> InteractionLog:
    """Read sequences; raises DataError, naming file and line, for a user without items or twice."""
    users: list[str] = []
    sequences: list[list[str]] = []
    lines: dict[str, int] = {}
    for line, fields in records(path, _SPACED):
        user, *sequence = (field for field in fields if field)
        if not sequence:
            raise DataError(f"user {user!r} has no items; write: user item item ...", path, line)
        if missing := [field for field in (user, *sequence) if field.lower() in MISSING]:
            raise DataError(f"{missing[0]!r} means missing and is no id", path, line)
        if user in lines:
            raise DataError(f"user {user!r} already has line {lines[user]}", path, line)
        lines[user] = line
        users.append(user)
        sequences.append(sequence)
    events = pl.DataFrame(
        {"user": users, "item": sequences}, schema={"user": pl.String, "item": pl.List(pl.String)}
    ).explode("item", empty_as_null=False)
    notes = ["no times: items stand in each user's order"]
    if items is None and (items := _beside(path)) is not None:
        notes.append(f"item text from {items.name} beside it")
    of_amazon = items is not None and amazon.recognises(items)
    known = None
    if items is not None:
        known = amazon.read_products(items) if of_amazon else read_items(items)
    return build_log(
        name,
        events,
        known,
        min_events=min_events,
        source=path,
        terms=amazon.TERMS if of_amazon or name in amazon.NAMES else "",
        notes=tuple(notes),
    )


def _beside(path: Path) -> Path | None:
    stem = path.name.removesuffix(".gz").removesuffix(".txt")
    names = (f"{stem}_items.tsv", f"{stem}_items.tsv.gz")
    return next((file for name in names if (file := path.with_name(name)).is_file()), None)
