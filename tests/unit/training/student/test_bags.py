from __future__ import annotations

import dataclasses
from functools import cache

import numpy as np
import pytest

from device_runtime.abstract.digest import Digest
from device_runtime.abstract.words import ItemWords
from device_runtime.state.history import RequestContext
from device_runtime.student.features import StudentFeatures
from shared.abstract_form import AbstractForm
from shared.interactions import InteractionLog
from shared.profile import DeviceProfile
from shared.split import MIN_HISTORY, split_log
from tests.support.logs import drifting_log
from tests.support.sections import talkative_log
from tests.unit.training.test_leakage import changed_from
from training.semantic.anchors import Anchors, merge, stale_anchors
from training.student.bags import Bags, every_training_step, student_bags

LOG = talkative_log()
SPLIT = split_log(LOG, test_steps=4, validation_steps=2, calibration_steps=3)
POINTS = merge(every_training_step(SPLIT), stale_anchors(SPLIT.validation(), (0, 5)))
FORM, ROWS = AbstractForm(), 1024


def bags(log: InteractionLog, anchors: Anchors = POINTS, **profile: object) -> Bags:
    return student_bags(log, anchors, FORM, DeviceProfile(**profile), rows=ROWS)  # type: ignore[arg-type]


@cache
def words_of(log: InteractionLog) -> ItemWords:
    return ItemWords(log.catalogue, FORM.level)


def by_hand(log: InteractionLog, user: int, tau: int, oldest: int = 0) -> dict[int, float]:
    """Row -> weight of one bag, from a digest of its own."""
    words, first = words_of(log), int(log.user_start[user])
    hours, sessions = log.local_hour_of_week(), log.session_events()
    digest = Digest(words, FORM)
    for event in range(first + oldest, first + tau):
        digest.observe(int(log.item[event]), float(hours[event]))
    now = first + tau
    told = digest.sections(
        RequestContext(
            time=None if log.time is None else float(log.time[now]),
            hour_of_week=float(hours[now]),
            query="" if log.query is None else log.query[now],
            session_events=None if sessions is None else int(sessions[now]),
        )
    )
    features = StudentFeatures(words, ROWS)
    tokens = [features.tokens(part) for part in features.parts(told)]
    norm = np.sqrt(sum(float((weight.astype(float) ** 2).sum()) for _, weight in tokens))
    found: dict[int, float] = {}
    for rows, weights in tokens:
        for row, weight in zip(rows.tolist(), weights.tolist(), strict=True):
            found[row] = found.get(row, 0.0) + weight / norm
    return found


def one(found: Bags, place: int) -> dict[int, float]:
    start, rows, weights = found.take(np.array([place]))
    assert start.tolist() == [0]
    total: dict[int, float] = {}
    for row, weight in zip(rows.tolist(), weights.tolist(), strict=True):
        total[row] = total.get(row, 0.0) + weight
    return total


@pytest.mark.parametrize("retain", ["all", "window"])
def test_a_bag_is_what_a_device_reads_at_its_step(retain: str) -> None:
    found = bags(LOG, retain=retain, window=7)
    for place in range(0, len(found), 23):
        user, tau = int(POINTS.user[place]), int(POINTS.tau[place])
        wanted = by_hand(LOG, user, tau, max(0, tau - 7) if retain == "window" else 0)
        assert one(found, place) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize(
    "log", [drifting_log(users=3, events=12, has_time=False), drifting_log(users=3, events=12)]
)
def test_logs_without_times_queries_or_sessions_have_bags(log: InteractionLog) -> None:
    points = every_training_step(split_log(log, test_steps=2))
    found = bags(log, points)
    for place in range(len(found)):
        wanted = by_hand(log, int(points.user[place]), int(points.tau[place]))
        assert one(found, place) == pytest.approx(wanted, rel=1e-5)


def test_bags_are_taken_in_any_order() -> None:
    found = bags(LOG)
    index = np.array([5, 0, 17, 5])
    start, rows, weights = found.take(index)
    stops = [*start[1:].tolist(), len(rows)]
    for place, first, stop in zip(index, start.tolist(), stops, strict=True):
        _, alone, weighted = found.take(np.array([place]))
        np.testing.assert_array_equal(rows[first:stop], alone)
        np.testing.assert_array_equal(weights[first:stop], weighted)
    assert found.take(np.array([], dtype=np.int64))[0].tolist() == []


def test_weights_of_a_bag_have_length_one() -> None:
    found = bags(LOG)
    for place in range(0, len(found), 13):
        _, _, weights = found.take(np.array([place]))
        assert np.linalg.norm(weights) == pytest.approx(1.0, rel=1e-5)


def test_every_training_step_has_a_bag_and_no_other() -> None:
    steps = every_training_step(SPLIT)
    wanted = [
        (user, tau)
        for user, stop in enumerate(SPLIT.calibration_start.tolist())
        for tau in range(MIN_HISTORY, stop)
    ]
    assert list(zip(steps.user.tolist(), steps.tau.tolist(), strict=True)) == wanted


def test_nothing_that_comes_later_changes_a_bag() -> None:
    """Later items, times, sessions and queries of everybody, from any step on."""
    found = bags(LOG)
    for known in (SPLIT.test_start, SPLIT.calibration_start, np.full(LOG.n_users, 9)):
        changed = bags(changed_from(LOG, known))
        before = np.flatnonzero(POINTS.tau < known[POINTS.user])
        assert len(before)
        for mine, other in zip(found.take(before), changed.take(before), strict=True):
            np.testing.assert_array_equal(mine, other)


def test_the_item_of_the_step_itself_is_not_in_its_bag() -> None:
    found = bags(LOG)
    for place in range(0, len(found), 59):
        at = int(LOG.user_start[POINTS.user[place]] + POINTS.tau[place])
        item = LOG.item.copy()
        item[at:] = (item[at:] + 1) % len(LOG.catalogue)
        other = dataclasses.replace(LOG, item=item)
        changed = bags(other, Anchors(POINTS.user[[place]], POINTS.tau[[place]]))
        assert one(changed, 0) == one(found, place)
