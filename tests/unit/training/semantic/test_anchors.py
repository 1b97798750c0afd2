from __future__ import annotations

import asyncio

import numpy as np
import pytest
from numpy.typing import NDArray

from device_runtime.state.history import RequestContext, Window
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
