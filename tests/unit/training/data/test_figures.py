"""Figures of a log, each counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from shared.interactions import Catalogue, InteractionLog
from training.data.figures import day_figures, gap_figures, user_figures, word_figures
from training.data.text import UNKNOWN_ITEM

DAY = 86_400.0
T = 19_000 * DAY  # midnight, UTC


def log_of(
    events: dict[str, list[tuple[str, float]]],
    texts: dict[str, str] | None = None,
    *,
    has_time: bool = True,
) -> InteractionLog:
    """A log of (item, seconds after T) by user; an item's text is its title."""
    texts = texts or {}
    rows = [(user, *row) for user, own in events.items() for row in own]
    users, items = list(events), sorted({item for _, item, _ in rows} | texts.keys())
    said = tuple(texts.get(item, UNKNOWN_ITEM) for item in items)
    return InteractionLog(
        name="log",
        user=np.array([users.index(user) for user, _, _ in rows], dtype=np.int32),
        item=np.array([items.index(item) for _, item, _ in rows], dtype=np.int32),
        time=np.array([T + after for _, _, after in rows]) if has_time else None,
        utc_offset_min=None,
        query=None,
        user_ids=tuple(users),
        catalogue=Catalogue(
            ids=tuple(items),
            titles=said,
            categories=((),) * len(items),
            areas=("",) * len(items),
            texts=said,
        ),
    )


def test_events_per_user() -> None:
    log = log_of({f"u{n}": [("a", float(k)) for k in range(n)] for n in range(1, 21)})
    found = user_figures(log)
    # Users have 1 to 20 events: one of twenty (5 %) has 1, half 10 at most, nineteen (95 %) 19.
    assert (found.low, found.median, found.high) == (1, 10, 19)
    assert (found.most, found.busiest) == (20, "u20")


def test_events_per_day() -> None:
    log = log_of(
        {
            "u": [("a", 0.0), ("a", DAY - 1), ("a", DAY), ("a", 4 * DAY + 5)],
            "v": [("a", 10.0), ("a", 20.0)],
        }
    )
    found = day_figures(log)
    assert found is not None
    # Day 0 has four, day 1 one, days 2 and 3 none, day 4 one: 0, 0, 1, 1, 4.
    assert (found.days, found.empty, found.median, found.most) == (5, 2, 1.0, 4)
    assert found.most_share == pytest.approx(4 / 6)


@pytest.mark.parametrize(
    ("days", "median"),
    # By day 3; 3, 1; 3, 0, 1; 3, 0, 0, 1 and 3, 0, 0, 0, 1.
    [([], 3.0), ([1], 2.0), ([2], 1.0), ([3], 0.5), ([4], 0.0)],
)
def test_days_without_events_count_in_the_median(days: list[int], median: float) -> None:
    log = log_of({"u": [("a", 0.0)] * 3 + [("a", day * DAY) for day in days]})
    found = day_figures(log)
    assert found is not None
    assert found.median == median


def test_gaps_are_those_of_one_user_and_bounds_count_in() -> None:
    log = log_of(
        {
            "u": [("a", 0.0), ("b", 60.0), ("a", 660.0), ("b", 661.0 + 86_400.0)],
            "v": [("a", 5.0), ("b", 5.0)],
        }
    )
    found = gap_figures(log)
    assert found is not None
    # 60, 600 and 86,401 s of u, 0 s of v; none between the two.
    assert found.median == pytest.approx(330.0)
    assert (found.minute, found.ten_minutes, found.day) == (0.5, 0.75, 0.75)


def test_without_times_or_second_events_there_are_no_gaps() -> None:
    order = log_of({"u": [("a", 0.0), ("b", 1.0)]}, has_time=False)
    assert (gap_figures(order), day_figures(order)) == (None, None)
    assert gap_figures(log_of({"u": [("a", 0.0)], "v": [("a", 0.0)]})) is None


def test_words_and_samples() -> None:
    texts = {"a": "One", "b": "Two words", "c": "Now three words", "d": "And here are four"}
    events = {"u": [("c", 0.0), ("c", 1.0), ("b", 2.0), ("b", 3.0), ("b", 4.0), ("e", 5.0)]}
    found = word_figures(log_of(events, texts))
    # a 1, b 2, c 3, d 4 words, and e has none; by events b, c, e, a, d.
    assert (found.median, found.wordless) == (2.0, 1)
    assert found.samples == (("b", "Two words"), ("e", UNKNOWN_ITEM), ("d", "And here are four"))


def test_a_catalogue_of_one_item_has_one_sample() -> None:
    assert word_figures(log_of({"u": [("a", 0.0)]}, {"a": "Alone"})).samples == (("a", "Alone"),)
