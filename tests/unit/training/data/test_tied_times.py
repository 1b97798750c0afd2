"""Order inside one time: the file's, never that of items."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from shared.interactions import InteractionLog
from training.data.validate import build_log

T = 1_700_000_000.0


def built(rows: list[tuple[str, str, float]]) -> InteractionLog:
    events = pl.DataFrame(rows, schema=["user", "item", "time"], orient="row")
    return build_log("log", events, None, min_events=3, source=Path("log.csv"), duplicates="keep")


def drawn(users: int = 12, days: int = 10, a_day: int = 4) -> list[tuple[str, str, float]]:
    """Events of several on a day, in an order that has nothing to do with items."""
    rng = np.random.default_rng(1)
    return [
        (f"u{user}", f"i{item}", T + 86_400.0 * day)
        for user in range(users)
        for day in range(days)
        for item in rng.choice(200, a_day, replace=False)
    ]


def named(log: InteractionLog) -> list[tuple[str, str]]:
    pairs = zip(log.user.tolist(), log.item.tolist(), strict=True)
    return [(log.user_ids[user], log.catalogue.ids[item]) for user, item in pairs]


def test_the_order_within_ties_is_the_files_whatever_items_are_called() -> None:
    rows = drawn()
    log = built(rows)
    wanted = sorted(rows, key=lambda row: (log.user_ids.index(row[0]), row[2]))  # stable
    assert named(log) == [row[:2] for row in wanted]
    other = {f"i{n}": f"i{m}" for n, m in enumerate(np.random.default_rng(2).permutation(200))}
    renamed = built([(user, other[item], time) for user, item, time in rows])
    assert named(renamed) == [(user, other[item]) for user, item in named(log)]
    assert log.tied_share() == 1.0
    assert "100.0% of events share their time" in log.describe()["tied times"]


@pytest.mark.parametrize("key", [lambda item: int(item[1:]), str])
@pytest.mark.parametrize("reverse", [False, True])
def test_a_file_sorted_by_item_within_a_time_tells_nothing_of_what_comes_next(
    key: object, reverse: bool
) -> None:
    rows = sorted(drawn(), key=lambda row: key(row[1]), reverse=reverse)  # type: ignore[operator]
    log = built(sorted(rows, key=lambda row: (row[0], row[2])))
    assert any("sorts these by item" in note for note in log.notes)
    assert log.time is not None
    tied = (np.diff(log.user) == 0) & (np.diff(log.time) == 0)
    up = (np.diff(log.item)[tied] > 0).mean()
    assert 0.4 < up < 0.6
    # The events are the same, and so is their order in time.
    assert sorted(named(log)) == sorted(row[:2] for row in rows)


def test_few_ties_or_an_order_of_chance_are_left_alone() -> None:
    few = [(f"u{n // 8}", f"i{n % 8:02d}", T + 86_400.0 * (n // 2)) for n in range(80)]
    for rows in (few, drawn()):
        log = built(rows)
        assert not any("sorts these" in note for note in log.notes)


def test_tied_share_by_hand() -> None:
    rows = [("u", f"i{n}", T + t) for n, t in enumerate([0, 0, 1, 2, 2, 2, 3])]
    assert built(rows).tied_share() == pytest.approx(5 / 7)
