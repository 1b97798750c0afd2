"""JSON lines: one object a line, its plain fields as columns of strings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import polars as pl

from shared.errors import DataError
from training.data.reading.bad_rows import BadRows
from training.data.reading.streams import numbered_lines

CHUNK = 65_536  # rows that are plain Python objects at a time


def read_json_lines(
    path: Path, bad: BadRows, named: Sequence[str] = ()
) -> tuple[pl.DataFrame, pl.Series, dict[int, str]]:
    """(columns as strings, 1-based line of each row, what is wrong with others by line).

    Lists of words are joined by "|"; objects and lists of anything else are null.

    Args:
        named: only these columns, if there are any.

    Raises:
        DataError: a line is not an object, named, unless ``bad`` skips it.
    """
    wrong: dict[int, str] = {}
    decoder = msgspec.json.Decoder()
    chunks: list[pl.DataFrame] = []
    columns: dict[str, list[str | None]] = {name: [] for name in named}
    lines: list[int] = []
    numbers: list[pl.Series] = []

    def close() -> None:
        chunks.append(pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String)))
        numbers.append(pl.Series(lines, dtype=pl.Int64))
        for column in columns.values():
            column.clear()
        lines.clear()

    rows = numbered_lines(path, bad=wrong if bad.skipping else None, refusal=bad.refusal)
    for line, text in rows:
        if not text.strip():
            continue
        try:
            row = decoder.decode(text)
            if not isinstance(row, dict):
                raise msgspec.DecodeError(f"it is {_kind(row)}, not an object")
        except (msgspec.DecodeError, RecursionError) as error:
            message = f"not a JSON line: {error}"
            if not bad.skipping:
                raise DataError(bad.refusal(message), path, line) from error
            wrong[line] = message
            continue
        if not named:
            for name in row:
                if name not in columns:
                    columns[name] = [None] * len(lines)
        lines.append(line)
        for name, column in columns.items():
            column.append(_plain(row.get(name)))
        if len(lines) >= CHUNK:
            close()
    close()
    return pl.concat(chunks, how="diagonal"), pl.concat(numbers), wrong


def _plain(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value or None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list) and all(isinstance(word, str) for word in value):
        return "|".join(value) or None
    return None


def _kind(value: object) -> str:
    return "a list (write one object a line)" if isinstance(value, list) else f"{value!r:.40}"
