"""The split: nothing a test step asks for was trained on, and time only goes one way."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shared.interactions import Catalogue, InteractionLog
from shared.split import MIN_HISTORY, split_log, split_log_at, trained_after


def log_of(counts, time=None):
    catalogue = Catalogue(ids=("i",), titles=("t",), categories=((),), areas=("",), texts=("x",))
    user = np.repeat(np.arange(len(counts)), counts).astype(np.int32)
    return InteractionLog(
        name="log",
        user=user,
        item=np.zeros(len(user), np.int32),
        time=time,
        utc_offset_min=None,
        query=None,
        user_ids=tuple(map(str, range(len(counts)))),
        catalogue=catalogue,
    )


counts = st.lists(st.integers(0, 30), min_size=1, max_size=12).filter(any)


@given(counts, st.integers(1, 12), st.integers(1, 4))
def test_split_properties(counts, test_steps, validation_steps):
    split = split_log(log_of(counts), test_steps=test_steps, validation_steps=validation_steps)
    test = {(u, t) for u, t in zip(split.test().user, split.test().step, strict=True)}
    valid = {(u, t) for u, t in zip(split.validation().user, split.validation().step, strict=True)}
    assert not test & valid
    for user, n in enumerate(counts):
        trained = set(range(split.validation_start[user]))
        tested = sorted(t for u, t in test if u == user)
        validated = sorted(t for u, t in valid if u == user)
        # Every event is training, validation or test, once, and in that order.
        assert sorted([*trained, *validated, *tested]) == list(range(n))
        assert [*trained, *validated, *tested] == list(range(n))
        room = n - validation_steps - MIN_HISTORY
        assert len(tested) == max(0, min(test_steps, room))
        assert len(validated) == (validation_steps if tested else 0)
        if tested:
            assert len(trained) >= MIN_HISTORY
            assert tested[-1] == n - 1


@given(counts, st.integers(0, 20))
def test_calibration_takes_the_last_training_events_but_never_most_of_them(counts, steps):
    log = log_of(counts)
    split, plain = split_log(log, calibration_steps=steps), split_log(log)
    np.testing.assert_array_equal(plain.calibration_start, plain.validation_start)
    np.testing.assert_array_equal(split.validation_start, plain.validation_start)
    for start, training in zip(split.calibration_start, split.validation_start, strict=True):
        taken = training - start
        assert 0 <= taken <= steps
        assert 2 * start >= training
        assert start >= min(MIN_HISTORY, training)
        # No more is left to the backbone than the three bounds ask for.
        assert taken == steps or start == max(-(-training // 2), min(MIN_HISTORY, training))


@given(counts, st.integers(1, 12), st.integers(1, 4))
def test_the_last_test_step_is_each_tested_users_last_event(counts, test_steps, validation_steps):
    split = split_log(log_of(counts), test_steps=test_steps, validation_steps=validation_steps)
    last = split.last_test(1)
    tested = sorted(set(split.test().user.tolist()))
    assert last.user.tolist() == tested
    assert last.step.tolist() == [counts[user] - 1 for user in tested]


@given(counts)
def test_steps_come_sorted_by_user_then_step(counts):
    steps = split_log(log_of(counts), test_steps=5).test()
    pairs = list(zip(steps.user.tolist(), steps.step.tolist(), strict=True))
    assert pairs == sorted(pairs)
    assert steps.user.dtype == steps.step.dtype == np.int32
    assert len(steps) == len(pairs)


@given(st.lists(st.integers(0, 12), min_size=1, max_size=6).filter(any), st.data())
def test_the_share_trained_on_from_after_a_request_is_counted_pair_by_pair(counts, data):
    clock = st.integers(0, 9)
    time = np.concatenate([sorted(data.draw(clock) for _ in range(n)) for n in counts])
    log = log_of(counts, time.astype(np.float64))
    split = split_log(log, test_steps=2)
    learned = [
        time[log.user_start[user] + place]
        for user, stop in enumerate(split.validation_start)
        for place in range(stop)
    ]
    shares = [
        np.mean([event > time[log.user_start[user] + step] for event in learned])
        for user, step in zip(split.test().user, split.test().step, strict=True)
    ]
    found = trained_after(log, split)
    assert (found is None) == (not shares)
    if shares:
        np.testing.assert_allclose(found, np.mean(shares), atol=1e-12)


@given(
    st.lists(st.integers(0, 12), min_size=1, max_size=6).filter(any),
    *(st.integers(1, 4), st.integers(1, 3), st.integers(0, 4), st.data()),
)
def test_a_cut_at_one_instant_is_one_for_everybody(counts, test_steps, held, block, data):
    clock = st.integers(0, 9)
    time = np.concatenate([sorted(data.draw(clock) for _ in range(n)) for n in counts])
    log = log_of(counts, time.astype(np.float64))
    instant = data.draw(clock)
    split = split_log_at(
        log, instant, test_steps=test_steps, validation_steps=held, calibration_steps=block
    )
    test, validation = split.test(), split.validation()
    for user, n in enumerate(counts):
        own = time[log.events_of(user)]
        before = int((own < instant).sum())
        assert split.test_start[user] == before
        asked = [step for step in range(before, n) if step >= MIN_HISTORY]
        assert test.step[test.user == user].tolist() == asked[:test_steps]
        judged = validation.step[validation.user == user].tolist()
        enough = before >= MIN_HISTORY + held
        assert judged == (list(range(before - held, before)) if enough else [])
        assert split.validation_start[user] == before - len(judged)
        assert split.calibration_start[user] <= split.validation_start[user]
    assert split.tested().tolist() == sorted(set(test.user.tolist()))
    assert trained_after(log, split) in (None, 0.0)
    # What comes later decides nothing before it.
    if split.test_start.any():
        shorter = log_of(split.test_start.tolist(), time[time < instant].astype(np.float64))
        alone = split_log_at(shorter, instant, validation_steps=held, calibration_steps=block)
        for name in ("calibration_start", "validation_start", "test_start"):
            np.testing.assert_array_equal(getattr(alone, name), getattr(split, name))


def test_without_times_nobody_knows_what_came_later():
    log = log_of([9, 9])
    assert trained_after(log, split_log(log)) is None
