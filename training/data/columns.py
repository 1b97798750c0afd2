"""Which column means what: the ``--columns`` setting, and the names usual for each role."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from shared.errors import ConfigError, DataError

SYNTAX = "user=U,item=I[+I2],time=T[,session=S][,text=X]"
# Between columns given one by one, whose names then may hold any other character.
ONE_BY_ONE = "\n"
_ROLES = ("user", "item", "time", "session", "text")
_SEVERAL = ("item", "text")  # may be made of several columns
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
# The first that a file has counts: of several columns of times the finest.
_USUAL = {
    "user": (
        *("user_id", "userid", "user", "uid", "reviewerid", "customer_id", "visitorid"),
        *("visitor_id", "user_pseudo_id", "session_id"),
    ),
    "item": (
        *("item_id", "itemid", "item", "iid", "movie_id", "movieid", "venue_id", "track_id"),
        *("parent_asin", "asin", "business_id", "product_id", "article_id", "video_id"),
    ),
    "time": (
        *("timestamp", "event_timestamp", "time_ms", "unixreviewtime", "time", "datetime"),
        *("event_time", "utc_time", "created_at", "ts", "date", "t_dat", "event_date"),
    ),
}
# Words of a column's name that say it holds times: anywhere, or at its end.
_OF_TIMES = {"time", "timestamp", "date", "datetime"}
_AT_THE_END = {"at", "ts", "day", "when"}


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

    @property
    def names(self) -> tuple[str, ...]:
        """Every column it needs."""
        single = (name for name in (self.time, self.session) if name is not None)
        return (self.user, *self.item, *single, *self.text)


def parse_columns(spec: str) -> ColumnSpec:
    """Read a spec written as SYNTAX says, or one ``role=column`` a line.

    In lines a name is taken as it is, whatever characters it holds, and a role that occurs twice
    has two columns.

    Raises:
        ConfigError: it cannot be read; says what is wrong.
    """
    lines = ONE_BY_ONE in spec
    found: dict[str, tuple[str, ...]] = {}
    for part in spec.split(ONE_BY_ONE if lines else ","):
        role, equals, name = (word.strip() for word in part.partition("="))
        again = role in found and not (lines and role in _SEVERAL)
        if not equals or not name or role not in _ROLES or again:
            raise ConfigError(
                f"--columns {spec!r}: cannot read {part.strip()!r}; write {SYNTAX}, or give "
                "--columns ROLE=COLUMN once for each column if names hold commas or plus signs"
            )
        names = (name,) if lines or role not in _SEVERAL else _joined(name)
        found[role] = found.get(role, ()) + names
    if missing := {"user", "item"} - found.keys():
        raise ConfigError(f"--columns {spec!r} does not name {sorted(missing)}; write {SYNTAX}")
    return ColumnSpec(
        user=found["user"][0],
        item=found["item"],
        time=next(iter(found.get("time", ())), None),
        text=found.get("text", ()),
        session=next(iter(found.get("session", ())), None),
    )


def guess_columns(columns: Iterable[str], path: Path) -> ColumnSpec:
    """The columns with usual names.

    Raises:
        DataError: user or item has none of them; or times have none, but a column is called as if
            it held them, and without times the order of the file would count instead.
    """
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
    if found["time"] is None and (told := [name for name in columns if _tells_times(name)]):
        raise DataError(
            f"{told[0]!r} may hold the times, and is not called as usual: say so with "
            f"--columns user={user},item={item},time={told[0]}; or leave time= out, and the order "
            "of the file counts",
            path,
        )
    return ColumnSpec(user=user, item=(item,), time=found["time"])


def _tells_times(name: str) -> bool:
    words = [word.lower() for word in _WORDS.findall(name)]
    return bool(_OF_TIMES & set(words)) or bool(_AT_THE_END & set(words[-1:]))


def _joined(names: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in names.split("+") if name.strip())
