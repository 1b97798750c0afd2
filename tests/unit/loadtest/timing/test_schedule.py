import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.settings import ReplaySettings
from loadtest.timing.schedule import build_schedule
from shared.errors import ConfigError
from shared.interactions import Catalogue, InteractionLog
from shared.split import split_log

N_ITEMS = 9


def make_log(counts: list[int], *, times: bool = True, sitting_s: float = 60.0) -> InteractionLog:
    """Each user in one sitting; sittings a day apart."""
    names = tuple(f"i{i}" for i in range(N_ITEMS))
    user = np.repeat(np.arange(len(counts)), counts).astype(np.int32)
    place = np.concatenate([np.arange(c) for c in counts])
    return InteractionLog(
        name="tiny",
        user=user,
        item=((user * 3 + place) % N_ITEMS).astype(np.int32),
        time=1e9 + user * 86_400.0 + place * sitting_s if times else None,
        utc_offset_min=None,
        query=None,
        user_ids=tuple(f"u{u}" for u in range(len(counts))),
        catalogue=Catalogue(
            ids=names, titles=names, categories=((),) * N_ITEMS, areas=("",) * N_ITEMS, texts=names
        ),
    )


def settings(**values: object) -> ReplaySettings:
    return ReplaySettings.model_validate({"duration_s": 50.0, "users": 100, "steps": 4, **values})


@given(
    st.lists(st.integers(1, 12), min_size=2, max_size=8).filter(lambda c: max(c) >= 4),
    st.sampled_from(["none", "users"]),
    st.booleans(),
    st.integers(0, 3),
)
def test_every_request_is_a_test_event_in_due_order(
    counts: list[int], align: str, times: bool, seed: int
) -> None:
    log = make_log(counts, times=times)
    split = split_log(log, test_steps=3)
    schedule = build_schedule(log, split, settings(align=align), seed=seed)
    assert np.all(np.diff(schedule.scheduled_s) >= 0)
    assert schedule.scheduled_s.min() >= 0
    assert schedule.scheduled_s.max() <= schedule.window_s
    np.testing.assert_array_equal(log.item[schedule.row], schedule.target)
    asked = set(zip(schedule.user.tolist(), schedule.step.tolist(), strict=True))
    tested = split.test()
    assert asked == set(zip(tested.user.tolist(), tested.step.tolist(), strict=True))
    for user in np.unique(schedule.user):
        assert np.all(np.diff(schedule.step[schedule.user == user]) == 1)


def test_last_steps_only_and_never_a_training_event() -> None:
    log = make_log([12, 12])
    few = build_schedule(log, split_log(log, test_steps=6), settings(steps=2), seed=0)
    assert few.first_steps() == {0: 10, 1: 10}
    many = build_schedule(log, split_log(log, test_steps=6), settings(steps=99), seed=0)
    assert many.first_steps() == {0: 6, 1: 6}


def test_log_clock_is_compressed_linearly() -> None:
    log = make_log([6, 6])
    split = split_log(log, test_steps=2)
    schedule = build_schedule(log, split, settings(align="none", speed_up=600.0), seed=0)
    # Last two events of user 0 and user 1: 0 s, 60 s, one day, one day and 60 s.
    np.testing.assert_allclose(schedule.scheduled_s, [0.0, 0.1, 144.0, 144.1])
    assert schedule.speed_up == 600.0
    fitted = build_schedule(log, split, settings(align="none"), seed=0)
    assert fitted.window_s == 50.0
    assert fitted.speed_up == pytest.approx(86_460.0 / 50.0)
    np.testing.assert_allclose(fitted.scheduled_s, schedule.scheduled_s * 50.0 / 144.1)


def test_alignment_makes_users_active_together() -> None:
    log = make_log([10] * 20)
    split = split_log(log, test_steps=5)

    def spread(align: str) -> list[float]:
        schedule = build_schedule(log, split, settings(align=align, steps=5), seed=0)
        return [float(np.ptp(schedule.scheduled_s[schedule.user == u])) for u in range(20)]

    assert max(spread("none")) < 0.01 * 50.0
    assert min(spread("users")) > 0.5 * 50.0


def test_aligned_requests_keep_to_their_own_slot() -> None:
    log = make_log([10] * 5)
    schedule = build_schedule(log, split_log(log, test_steps=4), settings(), seed=3)
    slot = schedule.scheduled_s / 50.0 * 4
    np.testing.assert_array_equal(np.floor(slot), schedule.step - 6)
    assert schedule.speed_up is None


def test_the_seed_decides_who_and_when() -> None:
    log = make_log([10] * 40)
    split = split_log(log, test_steps=4)
    one, same, other = (
        build_schedule(log, split, settings(users=10), seed=seed) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one.user, same.user)
    np.testing.assert_array_equal(one.scheduled_s, same.scheduled_s)
    assert set(one.user.tolist()) != set(other.user.tolist())
    assert len(one.first_steps()) == 10


def test_a_log_without_times_replays_in_its_order_and_has_no_speed_up() -> None:
    log = make_log([8, 8], times=False)
    split = split_log(log, test_steps=3)
    schedule = build_schedule(log, split, settings(align="none"), seed=0)
    assert schedule.time is None
    assert len(schedule) == 6
    with pytest.raises(ConfigError, match=r"has no times; set replay\.duration_s"):
        build_schedule(log, split, settings(speed_up=10.0), seed=0)


def test_no_test_steps_is_said() -> None:
    log = make_log([2, 2])
    with pytest.raises(ConfigError, match="no user has test steps"):
        build_schedule(log, split_log(log), settings(), seed=0)
