"""InteractionLog and Catalogue: one log, as columns, whatever file it came from."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import DataError
from shared.log_reading import LogReading


@dataclass(frozen=True)
class Catalogue:
    """What is known of each item; all tuples have length I and share one item index.

    Attributes:
        ids: the source's item ids; no abstract is made of them, and they are cut from its words.
        titles: short names for abstracts ("Heat (1995)", "Fat Cat").
        categories: zero or more category words per item, most specific last.
        areas: neighbourhood or region in words, "" when the source has none.
        texts: the full text the embedder reads for the item.
        vocabulary: categories that are common enough to be said at the privacy level
            ``categories``, where no other word of data leaves the device; None: nobody chose.
    """

    ids: tuple[str, ...]
    titles: tuple[str, ...]
    categories: tuple[tuple[str, ...], ...]
    areas: tuple[str, ...]
    texts: tuple[str, ...]
    vocabulary: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        lengths = {len(c) for c in (self.ids, self.titles, self.categories, self.areas, self.texts)}
        if len(lengths) != 1:
            raise DataError(f"catalogue columns differ in length: {sorted(lengths)}")
        if len(set(self.ids)) != len(self.ids):
            raise DataError("catalogue has duplicate item ids")

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, eq=False)
class InteractionLog:
    """Columns of n events, sorted by user, then time, ties in the source's order.

    Attributes:
        name: short name of the log, used in paths and reports.
        user: [n] int32 user index, non-decreasing.
        item: [n] int32 item index into the catalogue.
        time: [n] float64 Unix seconds (UTC), or None when the source only has an order.
        utc_offset_min: [n] int16 minutes to add for the user's local time, or None for UTC.
        query: n sanitised natural-language queries ("" where there is none), or None.
        session: [n] int64 number of the session (a dialogue, a visit) an event belongs to,
            non-decreasing for each user, or None when the source tells of no sessions.
        user_ids: the source's user ids by index.
        catalogue: the items.
        terms: the source's terms of use, printed wherever the log is used.
        notes: what loading dropped or repaired, for the report.
        reading: the same in numbers; None for a log that was read from no source.
    """

    name: str
    user: NDArray[np.int32]
    item: NDArray[np.int32]
    time: NDArray[np.float64] | None
    utc_offset_min: NDArray[np.int16] | None
    query: tuple[str, ...] | None
    user_ids: tuple[str, ...]
    catalogue: Catalogue
    terms: str = ""
    notes: tuple[str, ...] = ()
    session: NDArray[np.int64] | None = None
    reading: LogReading | None = None
    user_start: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        n = len(self.user)
        if n == 0:
            raise DataError(f"log {self.name!r} has no interactions")
        columns = {
            "item": self.item,
            "time": self.time,
            "utc_offset_min": self.utc_offset_min,
            "query": self.query,
            "session": self.session,
        }
        for name, column in columns.items():
            if column is not None and len(column) != n:
                raise DataError(f"column {name} has {len(column)} rows, user has {n}")
        if np.any(np.diff(self.user) < 0):
            raise DataError("interactions are not sorted by user")
        if not 0 <= self.user[0] <= self.user[-1] < len(self.user_ids):
            raise DataError("interactions name users that user_ids does not name")
        if not 0 <= self.item.min() <= self.item.max() < len(self.catalogue):
            raise DataError("interactions name items that the catalogue does not hold")
        same_user = np.diff(self.user) == 0
        if self.session is not None and np.any(np.diff(self.session)[same_user] < 0):
            raise DataError("sessions of a user are not in order")
        # Written so that a NaN is refused as well.
        if self.time is not None and (
            not np.all(np.diff(self.time)[same_user] >= 0) or np.isnan(self.time).any()
        ):
            raise DataError("interactions of a user are not in time order")
        counts = np.bincount(self.user, minlength=len(self.user_ids))
        start = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        object.__setattr__(self, "user_start", start)

    def __len__(self) -> int:
        return len(self.user)

    @property
    def n_users(self) -> int:
        return len(self.user_ids)

    def take(self, rows: NDArray[np.integer], **changed: Any) -> InteractionLog:
        """The events at ``rows`` [k], and fields of the result that are not this log's."""
        columns = {
            "user": self.user[rows],
            "item": self.item[rows],
            "time": None if self.time is None else self.time[rows],
            "utc_offset_min": None if self.utc_offset_min is None else self.utc_offset_min[rows],
            "query": None if self.query is None else tuple(self.query[row] for row in rows),
            "session": None if self.session is None else self.session[rows],
        }
        return replace(self, **columns | changed)

    def events_of(self, user: int) -> slice:
        """Rows of one user, in time order."""
        return slice(int(self.user_start[user]), int(self.user_start[user + 1]))

    def counts(self) -> NDArray[np.int64]:
        """Events per user [U]."""
        return np.diff(self.user_start)

    def local_hour_of_week(self) -> NDArray[np.float32]:
        """[n] local hour of the week in [0, 168), Monday 00:00 = 0; zeros without times."""
        if self.time is None:
            return np.zeros(len(self), dtype=np.float32)
        offset = 0.0 if self.utc_offset_min is None else self.utc_offset_min.astype(float) * 60.0
        return hour_of_week(self.time, offset)

    def session_events(self) -> NDArray[np.int64] | None:
        """[n] events of the same session before each event; None without sessions.

        What a device knows at the moment of an event, if it knows when its session began.
        """
        if self.session is None:
            return None
        rows = np.arange(len(self))
        begins = np.concatenate([[True], (np.diff(self.user) != 0) | (np.diff(self.session) != 0)])
        begun: NDArray[np.int64] = rows - np.maximum.accumulate(np.where(begins, rows, 0))
        return begun

    def return_share(self) -> float:
        """Share of events whose item the same user had before (each user's first event aside)."""
        pairs = self.user.astype(np.int64) * len(self.catalogue) + self.item
        pairs.sort()
        distinct = 1 + np.count_nonzero(np.diff(pairs))
        return (len(self) - int(distinct)) / max(1, len(self) - self.n_users)

    def tied_share(self) -> float:
        """Share of events at the same moment as another of the same user; 0 without times."""
        if self.time is None:
            return 0.0
        same = (np.diff(self.user) == 0) & (np.diff(self.time) == 0)
        tied = np.concatenate([[False], same]) | np.concatenate([same, [False]])
        return float(tied.mean())

    def describe(self) -> dict[str, str]:
        """Counts and time span in words, for `scalrec data show` and the report."""
        counts = self.counts()
        span = "order only, no times"
        if self.time is not None:
            first, last = (
                datetime.fromtimestamp(t, UTC) for t in (self.time.min(), self.time.max())
            )
            span = f"{first:%Y-%m-%d} to {last:%Y-%m-%d}"
        quartiles = f"{counts.min()} / {int(np.median(counts))} / {counts.max()}"
        return {
            "log": self.name,
            "users": f"{self.n_users:,}",
            "items": f"{len(self.catalogue):,}",
            "interactions": f"{len(self):,}",
            "events per user (min / median / max)": quartiles,
            "time span": span,
            **({} if self.time is None else {"tied times": self._ties_told()}),
            **({} if self.session is None else {"sessions": f"{self._n_sessions():,}"}),
            "returns": f"{self.return_share():.1%} of events repeat an item of the same user",
        }

    def _ties_told(self) -> str:
        return f"{self.tied_share():.1%} of events share their time with another of the same user"

    def _n_sessions(self) -> int:
        first = self.session_events()
        return 0 if first is None else int((first == 0).sum())


def hour_of_week(
    time: NDArray[np.float64], offset_s: NDArray[np.float64] | float
) -> NDArray[np.float32]:
    """[n] local hour of the week in [0, 168), Monday 00:00 = 0.

    Args:
        time: [n] Unix seconds.
        offset_s: seconds to add for local time.
    """
    # 1970-01-01 was a Thursday: shift by three days so that Monday starts the week.
    hours = (((time + offset_s) / 3600.0 + 72.0) % 168.0).astype(np.float32)
    # The last milliseconds of a week round up to its end in float32.
    week: NDArray[np.float32] = np.minimum(hours, np.nextafter(np.float32(168.0), np.float32(0.0)))
    return week
