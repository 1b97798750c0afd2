"""Which column means what: the ``--columns`` setting, and the names usual for each role."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from shared.errors import ConfigError, DataError

SYNTAX = "user=U,item=I[+I2],time=T[,session=S][,text=X]"
_ROLES = ("user", "item", "time", "session", "text")
_USUAL = {
    "user": ("user_id", "userid", "user", "uid", "session_id"),
    "item": ("item_id", "itemid", "item", "iid", "movie_id", "movieid", "venue_id", "track_id"),
    "time": ("timestamp", "time", "datetime", "date", "utc_time", "ts"),
}


@dataclass(frozen=True, slots=True)
class ColumnSpec:
    """Columns of an interaction file.

    Attributes:
        user: the user id.
        item: one or more columns that together name the item ("artist", "track").
        time: the time of the event; None: the file's order is the order of events.
        text: columns with words about the row's item.
        session: the session of the event; consecutive events of a user with one value are one.
    """

    user: str
    item: tuple[str, ...]
    time: str | None = None
    text: tuple[str, ...] = ()
    session: str | None = None


def parse_columns(spec: str) -> ColumnSpec:
    """Read a spec written as SYNTAX says; raises ConfigError saying what is wrong."""
    found: dict[str, str] = {}
    for part in spec.split(","):
        role, equals, name = (word.strip() for word in part.partition("="))
        if not equals or not name or role not in _ROLES or role in found:
            raise ConfigError(f"--columns {spec!r}: cannot read {part.strip()!r}; write {SYNTAX}")
        found[role] = name
    if missing := {"user", "item"} - found.keys():
        raise ConfigError(f"--columns {spec!r} does not name {sorted(missing)}; write {SYNTAX}")
    return ColumnSpec(
        user=found["user"],
        item=_joined(found["item"]),
        time=found.get("time"),
        text=_joined(found.get("text", "")),
        session=found.get("session"),
    )


def guess_columns(columns: Iterable[str], path: Path) -> ColumnSpec:
    """The columns with usual names; raises DataError, naming what is there, if there are none."""
    columns = list(columns)
    lowered = {name.lower(): name for name in reversed(columns)}
    found = {
        role: next((lowered[name] for name in names if name in lowered), None)
        for role, names in _USUAL.items()
    }
    user, item = found["user"], found["item"]
    if user is None or item is None:
        raise DataError(
            f"cannot tell which columns are user and item; say so with --columns {SYNTAX}. "
            f"It has {', '.join(columns)}",
            path,
        )
    return ColumnSpec(user=user, item=(item,), time=found["time"])


def _joined(names: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in names.split("+") if name.strip())
