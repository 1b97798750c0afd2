"""What a user should know of a log before they trust a run on it, in numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.interactions import Catalogue, InteractionLog
from training.data.text import UNKNOWN_ITEM

MINUTE_S, TEN_MINUTES_S, DAY_S = 60.0, 600.0, 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class UserFigures:
    """Events per user.

    Attributes:
        low, median, high: 5 %, 50 % and 95 % of users have at most so many.
        most: of one user, whose id is ``busiest``.
    """

    low: float
    median: float
    high: float
    most: int
    busiest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DayFigures:
    """Events per day, days in UTC.

    Attributes:
        days: from the first event's to the last one's, both included.
        empty: days among them without an event.
        median: events on a day, empty days included.
        most: events on the busiest day.
        most_share: share of all events that fall on it.
    """

    days: int
    empty: int
    median: float
    most: int
    most_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestGaps:
    """Seconds between a user's consecutive requests.

    Attributes:
        median: of all gaps of all users.
        minute, ten_minutes, day: share of gaps of at most so long.
    """

    median: float
    minute: float
    ten_minutes: float
    day: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WordFigures:
    """What the text model can read of the items.

    Attributes:
        median: words of an item's text; none for those that are wordless.
        wordless: items that are known by an opaque id alone.
        samples: (item id, text) of the most frequent item, of one in the middle and of the rarest.
    """

    median: float
    wordless: int
    samples: tuple[tuple[str, str], ...]


def user_figures(log: InteractionLog) -> UserFigures:
    """Events per user; quantiles are numbers of events that users have, not between two."""
    counts = log.counts()
    low, median, high = np.quantile(counts, (0.05, 0.5, 0.95), method="inverted_cdf")
    busiest = int(counts.argmax())
    return UserFigures(
        low=float(low),
        median=float(median),
        high=float(high),
        most=int(counts[busiest]),
        busiest=log.user_ids[busiest],
    )


def day_figures(log: InteractionLog) -> DayFigures | None:
    """Events per day; None without times."""
    if log.time is None:
        return None
    day, events = np.unique(np.floor(log.time / DAY_S).astype(np.int64), return_counts=True)
    days = int(day[-1] - day[0]) + 1
    return DayFigures(
        days=days,
        empty=days - len(day),
        median=_median_with_zeros(events, days - len(day)),
        most=int(events.max()),
        most_share=float(events.max() / len(log)),
    )


def gap_figures(log: InteractionLog) -> RequestGaps | None:
    """Gaps between consecutive events of a user; None without times or gaps."""
    if log.time is None:
        return None
    gaps = np.diff(log.time)[np.diff(log.user) == 0]
    if len(gaps) == 0:
        return None
    return RequestGaps(
        median=float(np.median(gaps)),
        minute=float(np.mean(gaps <= MINUTE_S)),
        ten_minutes=float(np.mean(gaps <= TEN_MINUTES_S)),
        day=float(np.mean(gaps <= DAY_S)),
    )


def word_figures(log: InteractionLog) -> WordFigures:
    """Words of the items' texts; items are ranked by events, those with equal ones by index."""
    catalogue = log.catalogue
    ranked = np.argsort(-np.bincount(log.item, minlength=len(catalogue)), kind="stable")
    places = dict.fromkeys(int(ranked[place]) for place in (0, len(ranked) // 2, -1))
    silent = wordless(catalogue)
    counts = np.array([len(text.split()) for text in catalogue.texts])
    return WordFigures(
        median=float(np.median(np.where(silent, 0, counts))),
        wordless=int(silent.sum()),
        samples=tuple((catalogue.ids[item], catalogue.texts[item]) for item in places),
    )


def wordless(catalogue: Catalogue) -> NDArray[np.bool_]:
    """[I] items of which nothing is said: neither a title nor a category."""
    rows = zip(catalogue.titles, catalogue.categories, strict=True)
    return np.array([title == UNKNOWN_ITEM and not kinds for title, kinds in rows], dtype=np.bool_)


def _median_with_zeros(counts: NDArray[np.int64], zeros: int) -> float:
    """The median of ``counts`` [d] and so many zeros, which a span of years may have many of."""
    ordered, total = np.sort(counts), len(counts) + zeros
    middle = [place - zeros for place in ((total - 1) // 2, total // 2)]
    return float(np.mean([ordered[place] if place >= 0 else 0 for place in middle]))
