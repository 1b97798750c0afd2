"""Figures by interval against a known truth."""

from __future__ import annotations

import math

import polars as pl
import pytest

from scalrec.advice.estimation import estimate
from shared.errors import DataError
from shared.profile import PRESETS
from tests.support.advice_scores import STEPS, Truth, invented_scores

TINY, SMALL, FULL = (PRESETS[name] for name in ("tiny", "small", "full"))


def flat(value: float) -> Truth:
    return lambda age: value


def falling(start: float, per: float) -> Truth:
    return lambda age: start - per * math.log1p(age)


def levels(setting: str, calibrated: Truth, stale: Truth) -> dict[tuple[str, str], Truth]:
    return {
        (setting, "calibrated"): calibrated,
        (setting, "stale"): stale,
        (setting, "fused"): flat(0.31),
        ("alone", "student"): flat(0.20),
    }


def test_figures_are_those_of_the_truth() -> None:
    scores = invented_scores(levels("device", falling(0.30, 0.02), falling(0.30, 0.04)))
    found = estimate(scores, 60, TINY, draws=100)
    assert (found.users, found.requests) == (60, 60 * STEPS)
    assert found.fresh.value == pytest.approx(0.11)
    assert (found.opponents, found.opponent) == ({}, None)
    assert found.alone.value == pytest.approx(0.20)
    assert [row.interval for row in found.intervals] == [1, 2, 5, 10, 20]
    for row in found.intervals:
        mean = sum(math.log1p(age) for age in range(row.interval)) / row.interval
        late = sum(math.log1p(age + 1) for age in range(row.interval)) / row.interval
        assert row.calls_per_1000 == pytest.approx(1000 / row.interval)
        assert row.calibrated.value == pytest.approx(0.30 - 0.02 * mean)
        assert row.uncalibrated.value == pytest.approx(0.30 - 0.04 * mean)
        assert row.gain.value == pytest.approx(0.10 - 0.02 * mean)
        assert row.uncalibrated_gain.value == pytest.approx(0.10 - 0.04 * mean)
        assert row.calibration.value == pytest.approx(0.02 * mean, abs=1e-12)
        assert row.late_gain is not None
        assert row.late_gain.value == pytest.approx(0.10 - 0.02 * late)
        assert row.gain_by_part == {}
        assert row.gain.count == 60 * STEPS


def test_differences_are_paired_by_user() -> None:
    """Users differ far more than scorers do: a difference is surer than either of its sides."""
    truth = levels("device", flat(0.45), flat(0.44))
    scores = invented_scores(truth, noise=0.002, level_noise=0.05)
    row = estimate(scores, 60, TINY).intervals[0]

    def width(of: str) -> float:
        found = getattr(row, of)
        return float(found.high - found.low)

    assert width("gain") < width("calibrated") / 5
    assert row.calibration.sign == 1


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    hit = 0
    runs = 150
    for seed in range(runs):
        truth = levels("device", flat(0.52), flat(0.5))
        scores = invented_scores(truth, ages=(0, 1), users=40, noise=0.05, seed=seed)
        row = estimate(scores, 40, TINY, intervals=(1, 2), draws=300).intervals[1]
        assert row.gain.low is not None
        assert row.gain.high is not None
        hit += row.gain.low <= 0.32 <= row.gain.high
    assert 0.88 <= hit / runs <= 0.99


def test_users_weigh_by_their_requests() -> None:
    truth = levels("device", flat(0.4), flat(0.3))
    many = invented_scores(truth, users=2)
    one = many["user"] == 1
    mine = (many["setting"] == "device") & one
    scores = many.with_columns(
        n=pl.when(one).then(12).otherwise(4).cast(pl.Int32),
        ndcg10=pl.when(mine).then(12 * 0.8).when(one).then(12 * 0.2).otherwise(pl.col("ndcg10")),
    )
    row = estimate(scores, 2, TINY, draws=100).intervals[0]
    assert row.calibrated.value == pytest.approx((4 * 0.4 + 12 * 0.8) / 16)
    assert row.gain.value == pytest.approx((4 * 0.2 + 12 * 0.6) / 16)


def test_users_without_a_request_change_nothing() -> None:
    scores = invented_scores(
        levels("device", flat(0.3), flat(0.3)), users=30, noise=0.02, level_noise=0.05
    )
    some, more = (estimate(scores, users, TINY, draws=100) for users in (30, 300))
    assert some == more


def test_intervals_beyond_the_scored_ages_are_left_out() -> None:
    truth = levels("device", flat(0.3), flat(0.3))
    found = estimate(invented_scores(truth, ages=(0, 5)), 60, TINY, draws=100)
    assert [row.interval for row in found.intervals] == [1, 2, 5]
    assert [row.late_gain is None for row in found.intervals] == [False, False, False]
    found = estimate(invented_scores(truth, ages=(0, 4)), 60, TINY, draws=100)
    assert [row.late_gain is None for row in found.intervals] == [False, False, True]


def test_returns_and_discoveries_of_a_device_that_ranks_everything() -> None:
    truth = levels("device", flat(0.30), flat(0.25)) | {
        ("full", "student"): flat(0.22),
    }
    scores = invented_scores(truth, parts={"all": 4, "return": 3, "discovery": 1})
    kept = scores.filter((scores["part"] == "all") | (scores["setting"] != "alone"))
    row = estimate(kept, 60, FULL, draws=100).intervals[-1]
    assert {name: e.count for name, e in row.gain_by_part.items()} == {
        "return": 180,
        "discovery": 60,
    }
    assert row.gain_by_part["return"].value == pytest.approx(0.08)
    # The same scores do not tell them apart for a device that ranks less than everything.
    narrow = invented_scores(levels("device", flat(0.3), flat(0.3)))
    assert estimate(narrow, 60, TINY, draws=100).intervals[0].gain_by_part == {}


def test_what_a_table_would_bring_is_told_to_those_who_do_not_use_theirs() -> None:
    truth = levels("device", flat(0.10), flat(0.10)) | {("S2_local", "calibrated"): flat(0.26)}
    scores = invented_scores(truth)
    narrow = SMALL.model_copy(update={"local_candidates": 0})
    assert estimate(scores, 60, SMALL, draws=100).intervals[2].local_gain is None
    local = estimate(scores, 60, narrow, draws=100).intervals[2].local_gain
    assert local is not None
    assert local.value == pytest.approx(0.06)
    assert estimate(scores, 60, TINY, draws=100).intervals[2].local_gain is None


def test_the_best_opponent_without_a_cloud_is_found_and_paired() -> None:
    others = {"popularity": 0.05, "decayed_all": 0.19, "counts": 0.18, "ensemble": 0.21}
    truth = levels("device", flat(0.30), flat(0.28)) | {
        ("alone", name): flat(value) for name, value in others.items()
    }
    found = estimate(invented_scores(truth, level_noise=0.05), 60, TINY, draws=100)
    assert set(found.opponents) == set(others)
    assert found.opponent == "ensemble"
    for row in found.intervals:
        assert row.over_opponent is not None
        assert row.over_opponent.value == pytest.approx(0.09)
        assert row.over_opponent.sign == 1


def test_missing_and_unequal_scores_are_refused() -> None:
    scores = invented_scores(levels("device", flat(0.3), flat(0.3)))
    with pytest.raises(DataError, match="in the setting device"):
        estimate(scores.filter(scores["setting"] != "device"), 60, FULL)
    with pytest.raises(DataError, match="student was not scored in the setting alone"):
        estimate(scores.filter(scores["setting"] != "alone"), 60, TINY)
    first = (scores["user"] == 0) & (scores["gap"] == 5) & (scores["scorer"] == "calibrated")
    with pytest.raises(DataError, match="not scored on the same requests"):
        estimate(scores.filter(~first), 60, TINY)
