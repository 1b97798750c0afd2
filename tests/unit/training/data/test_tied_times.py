"""Order inside one time: the file's, never that of items."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from shared.interactions import InteractionLog
from shared.metrics import ndcg
from training.backbone.batches import events_of
from training.backbone.evaluate import target_ranks
from training.backbone.fit import BackboneOptions, Cycle, train_backbone
from training.data import validate
from training.data.validate import build_log
from training.encoders.sasrec import SASRecConfig

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


def learned(log: InteractionLog) -> float:
    """NDCG@10 of a small encoder trained on the log, on each user's last event."""
    events, last = events_of(log), log.user_start[1:] - 1
    trained = train_backbone(
        events,
        SASRecConfig(dim=16, layers=1, heads=2, window=8, dropout=0.0),
        BackboneOptions(cycles=(Cycle(epochs=12, learning_rate=1e-2),), batch_windows=16, stride=4),
        n_items=len(log.catalogue),
        validation_start=log.counts() - 2,
        test_start=log.counts() - 1,
        seed=3,
        threads=1,
    )
    return float(ndcg(target_ranks(trained.model, trained.table, events, last), 10).mean())


@pytest.mark.slow
def test_shuffling_rows_of_one_time_does_not_change_what_is_learned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = [
        (user, f"i{(day * 37 + place * 7 + int(user[1:])) % 60}", T + 86_400.0 * day)
        for user in (f"u{n}" for n in range(60))
        for day in range(8)
        for place in range(5)
    ]
    by_item = sorted(rows, key=lambda row: (row[0], row[2], int(row[1][1:])))
    order = np.random.default_rng(5).permutation(len(rows))
    shuffled = sorted((rows[place] for place in order), key=lambda row: (row[0], row[2]))
    protected, fair = learned(built(by_item)), learned(built(shuffled))
    monkeypatch.setattr(validate, "without_item_order", lambda events, _: (events, ()))
    leaked = learned(built(by_item))
    assert abs(protected - fair) < 0.1
    assert leaked > protected + 0.2, "an order of items is worth something to who learns it"
