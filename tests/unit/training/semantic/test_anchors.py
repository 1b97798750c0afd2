from __future__ import annotations

import asyncio
import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from device_runtime.abstract.digest import Digest
from device_runtime.abstract.writer import TemplateAbstract
from device_runtime.state.history import RequestContext, Window
from shared.abstract_form import AbstractForm
from shared.interactions import InteractionLog
from shared.profile import DeviceProfile
from shared.split import MIN_HISTORY, Split, split_log, stale_tau
from tests.support.logs import drifting_log
from training.semantic.anchors import (
    BETWEEN_YIELDS,
    Anchors,
    merge,
    stale_anchors,
    training_anchors,
    write_abstracts,
    write_abstracts_yielding,
)

LOG = drifting_log(users=12, events=60)
SPLIT = split_log(LOG, test_steps=5, validation_steps=2)
GAPS = (0, 5, 10, 20)


def split_of(*validation_start: int) -> Split:
    start = np.array(validation_start, dtype=np.int64)
    return Split(start, start + 1, start + 2)


class Spy:
    """Notes what a writer is shown."""

    def __init__(self) -> None:
        self.seen: list[tuple[NDArray[np.int32], RequestContext]] = []

    def write(self, past: Window, context: RequestContext) -> str:
        self.seen.append((past.items.copy(), context))
        return f"abstract {len(self.seen)}"


def test_training_steps_are_training_steps() -> None:
    anchors = training_anchors(SPLIT, 12)
    assert (anchors.tau >= MIN_HISTORY).all()
    assert (anchors.tau < SPLIT.validation_start[anchors.user]).all()
    _, count = np.unique(anchors.user, return_counts=True)
    assert (count == 12).all()


def test_gaps_five_ten_and_twenty_fall_on_other_anchors() -> None:
    anchors = training_anchors(SPLIT, 12)
    last = SPLIT.validation_start - 1
    users = np.arange(LOG.n_users)
    for gap in (0, 5, 10, 15, 20):
        assert (anchors.find(users, last - gap) >= 0).all()
    gaps = {
        int(a - b)
        for user in users
        for a in anchors.tau[anchors.user == user]
        for b in anchors.tau[anchors.user == user]
        if 0 <= a - b <= 20
    }
    assert gaps == set(range(21))


def test_short_histories_give_the_anchors_they_have() -> None:
    anchors = training_anchors(split_of(MIN_HISTORY, MIN_HISTORY + 1, 4), 12)
    assert list(zip(anchors.user, anchors.tau, strict=True)) == [(1, 2), (2, 2), (2, 3)]


def test_runs_of_all_seeds_share_their_anchors() -> None:
    a, b = training_anchors(SPLIT, 8), training_anchors(SPLIT, 8)
    np.testing.assert_array_equal(a.user, b.user)
    np.testing.assert_array_equal(a.tau, b.tau)


@pytest.mark.parametrize("retain", ["all", "window"])
def test_no_abstract_shows_an_event_at_or_after_its_step(retain: str) -> None:
    anchors = merge(training_anchors(SPLIT, 12), stale_anchors(SPLIT.validation(), GAPS))
    spy, profile = Spy(), DeviceProfile(window=7, retain=retain)  # type: ignore[arg-type]
    texts = write_abstracts(LOG, anchors, spy, profile)
    assert len(texts) == len(anchors)
    for user, tau, (items, context) in zip(anchors.user, anchors.tau, spy.seen, strict=True):
        known = LOG.item[LOG.events_of(user)][:tau]
        np.testing.assert_array_equal(items, known if retain == "all" else known[-7:])
        assert context.time == LOG.time[LOG.events_of(user)][tau]  # type: ignore[index]


def window_of(log: InteractionLog, user: int, tau: int) -> Window:
    rows = slice(int(log.user_start[user]), int(log.user_start[user]) + tau)
    times = np.full(tau, np.nan) if log.time is None else log.time[rows]
    return Window(log.item[rows], times, log.local_hour_of_week()[rows])


def context_of(log: InteractionLog, user: int, tau: int) -> RequestContext:
    row = int(log.user_start[user]) + tau
    sessions = log.session_events()
    return RequestContext(
        None if log.time is None else float(log.time[row]),
        float(log.local_hour_of_week()[row]),
        "" if log.query is None else log.query[row],
        None if sessions is None else int(sessions[row]),
    )


@pytest.mark.parametrize("level", ["items", "coarse"])
@pytest.mark.parametrize("context", [True, False])
@pytest.mark.parametrize("has_time", [True, False])
def test_advanced_from_anchor_to_anchor_texts_are_those_of_the_whole_window(
    level: str, context: bool, has_time: bool
) -> None:
    log = drifting_log(users=12, events=60, has_time=has_time)
    log = dataclasses.replace(
        log,
        query=tuple(f"query {row} like a drama" for row in range(len(log))),
        session=np.arange(len(log)) // 7,
    )
    split = split_log(log, test_steps=5, validation_steps=2)
    anchors = merge(training_anchors(split, 12), stale_anchors(split.validation(), GAPS))
    form = AbstractForm(level=level, context=context)  # type: ignore[arg-type]
    texts = write_abstracts(
        log, anchors, TemplateAbstract(log.catalogue, form), DeviceProfile(retain="all")
    )
    alone = TemplateAbstract(log.catalogue, form)
    assert texts == [
        alone.write(window_of(log, user, tau), context_of(log, user, tau))
        for user, tau in zip(anchors.user.tolist(), anchors.tau.tolist(), strict=True)
    ]


def test_each_event_is_counted_once_however_many_abstracts_are_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    observed: list[int] = []
    observe = Digest.observe

    def counting(self: Digest, item: int, hour_of_week: float) -> None:
        observed.append(item)
        observe(self, item, hour_of_week)

    monkeypatch.setattr(Digest, "observe", counting)
    anchors = merge(training_anchors(SPLIT, 12), stale_anchors(SPLIT.validation(), GAPS))
    last = [int(anchors.tau[anchors.user == user].max()) for user in range(LOG.n_users)]
    write_abstracts(LOG, anchors, TemplateAbstract(LOG.catalogue), DeviceProfile(retain="all"))
    own = (LOG.item[LOG.events_of(user)][:tau].tolist() for user, tau in enumerate(last))
    assert observed == [item for items in own for item in items]


def test_anchors_in_any_order_and_beyond_what_is_remembered_get_the_texts_of_their_windows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("device_runtime.abstract.writer.REMEMBERED", 30)
    monkeypatch.setattr("training.semantic.anchors.REMEMBERED", 30)
    points = [(3, 40), (3, 12), (3, 30), (1, 31), (3, 29), (1, 5)]
    users, taus = (np.array(column, dtype=np.int64) for column in zip(*points, strict=True))
    writer = TemplateAbstract(LOG.catalogue)
    texts = write_abstracts(LOG, Anchors(users, taus), writer, DeviceProfile(retain="all"))
    assert texts == [
        writer.write(window_of(LOG, user, tau), context_of(LOG, user, tau)) for user, tau in points
    ]


def test_no_event_at_or_after_an_anchor_changes_its_text() -> None:
    anchors = training_anchors(SPLIT, 12)
    last = {user: int(anchors.tau[anchors.user == user].max()) for user in range(LOG.n_users)}
    changed = drifting_log(users=12, events=60)
    for user, tau in last.items():
        at = int(LOG.user_start[user]) + tau
        changed.item[at : changed.user_start[user + 1]] = 0
        changed.time[at + 1 : changed.user_start[user + 1]] += 1e6  # type: ignore[index]
    texts = [
        write_abstracts(log, anchors, TemplateAbstract(log.catalogue), DeviceProfile(retain="all"))
        for log in (LOG, changed)
    ]
    assert texts[0] == texts[1]


def test_test_events_change_nothing_that_training_reads() -> None:
    changed = drifting_log(users=12, events=60)
    for user in range(LOG.n_users):
        at = int(LOG.user_start[user] + SPLIT.test_start[user])
        changed.item[at : changed.user_start[user + 1]] = 0
        changed.time[at : changed.user_start[user + 1]] += 1e6  # type: ignore[index]
    anchors = merge(training_anchors(SPLIT, 12), stale_anchors(SPLIT.validation(), GAPS))
    assert (anchors.tau < SPLIT.test_start[anchors.user]).all()
    spies = Spy(), Spy()
    for log, spy in zip((LOG, changed), spies, strict=True):
        write_abstracts(log, anchors, spy, DeviceProfile())
    for (items, context), (other_items, other_context) in zip(
        spies[0].seen, spies[1].seen, strict=True
    ):
        np.testing.assert_array_equal(items, other_items)
        assert context == other_context


def test_validation_targets_appear_in_no_training_abstract() -> None:
    spy = Spy()
    write_abstracts(LOG, anchors := training_anchors(SPLIT, 12), spy, DeviceProfile())
    for user, (items, _) in zip(anchors.user, spy.seen, strict=True):
        assert len(items) < SPLIT.validation_start[user]


def test_evaluation_covers_the_last_steps_at_every_gap() -> None:
    anchors = stale_anchors(SPLIT.last_test(3), GAPS)
    users = np.arange(LOG.n_users)
    for back in (1, 2, 3):
        for gap in GAPS:
            assert (anchors.find(users, SPLIT.test_stop - back - gap) >= 0).all()
    assert len(anchors) == LOG.n_users * 3 * len(GAPS)


def test_stale_points_are_clipped_at_the_first_usable_history() -> None:
    np.testing.assert_array_equal(stale_tau(np.array([2, 6, 30]), 5), [MIN_HISTORY, 2, 25])


def test_find_says_where_and_where_not() -> None:
    anchors = Anchors(np.array([0, 0, 2]), np.array([3, 8, 3]))
    found = anchors.find(np.array([2, 0, 1, 0]), np.array([3, 8, 3, 9]))
    np.testing.assert_array_equal(found, [2, 1, -1, -1])
    empty = Anchors(np.empty(0, np.int64), np.empty(0, np.int64))
    np.testing.assert_array_equal(empty.find(np.array([0]), np.array([3])), [-1])


async def test_writing_ends_soon_after_it_is_cancelled_and_lets_others_run() -> None:
    spy, anchors = Spy(), training_anchors(SPLIT, 12)
    assert len(anchors) > 3 * BETWEEN_YIELDS
    writing = asyncio.create_task(write_abstracts_yielding(LOG, anchors, spy, DeviceProfile()))
    await asyncio.sleep(0)
    assert len(spy.seen) == BETWEEN_YIELDS
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert len(spy.seen) == BETWEEN_YIELDS


async def test_writing_that_yields_writes_the_same() -> None:
    spies, anchors = (Spy(), Spy()), training_anchors(SPLIT, 12)
    texts = await write_abstracts_yielding(LOG, anchors, spies[0], DeviceProfile())
    assert texts == write_abstracts(LOG, anchors, spies[1], DeviceProfile())
