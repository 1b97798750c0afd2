"""Dealing a schedule out to shards, and adding up what became of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from loadtest.replay.shards.merge import keep_records, merge_records
from loadtest.replay.shards.outcome import (
    ShardOutcome,
    failure_notes,
    read_outcomes,
    write_outcomes,
)
from loadtest.replay.shards.plan import log_digest, plan_shards
from loadtest.settings import ReplaySettings
from loadtest.timing.schedule import build_schedule
from shared.errors import ConfigError, DataError
from shared.split import split_log
from tests.support.staleness import make_log

LOG = make_log(users=7, events=20)
SCHEDULE = build_schedule(LOG, split_log(LOG, test_steps=4), ReplaySettings(steps=4), seed=3)


@pytest.mark.parametrize("shards", [1, 2, 3, 7, 20])
def test_every_request_belongs_to_one_shard_at_its_moment(shards: int) -> None:
    plans = plan_shards(SCHEDULE, shards, seed=3)
    assert len(plans) == min(shards, 7)
    parts = [SCHEDULE.of_users(plan.users) for plan in plans]
    assert [len(part) for part in parts] == [plan.due for plan in plans]
    for plan, part in zip(plans, parts, strict=True):
        assert set(part.user.tolist()) == set(plan.users)
        assert part.window_s == SCHEDULE.window_s
    rows = np.concatenate([part.row for part in parts])
    moments = np.concatenate([part.scheduled_s for part in parts])
    order, whole = np.argsort(rows), np.argsort(SCHEDULE.row)
    assert np.array_equal(rows[order], SCHEDULE.row[whole])
    assert np.array_equal(moments[order], SCHEDULE.scheduled_s[whole])
    assert max(plan.due for plan in plans) - min(plan.due for plan in plans) <= 4


def test_seeds_differ_by_shard_and_run_and_repeat() -> None:
    seeds = [plan.seed for seed in (0, 1) for plan in plan_shards(SCHEDULE, 3, seed=seed)]
    assert len(set(seeds)) == 6
    assert seeds[:3] == [plan.seed for plan in plan_shards(SCHEDULE, 3, seed=0)]


def test_no_shards_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least one"):
        plan_shards(SCHEDULE, 0, seed=0)


def test_the_digest_knows_another_log() -> None:
    assert log_digest(LOG) == log_digest(make_log(users=7, events=20))
    assert log_digest(LOG) != log_digest(make_log(users=7, events=20, seed=1))


def test_a_failed_shard_is_told_with_what_is_missing(tmp_path: Path) -> None:
    good = ShardOutcome(shard=0, users=3, due=30, answered=30, seed=1, node="a", started=5.0)
    bad = ShardOutcome(shard=1, users=4, due=40, answered=9, seed=2, error="gone")
    write_outcomes(tmp_path, (good, bad))
    assert read_outcomes(tmp_path) == (good, bad)
    [note] = failure_notes((good, bad))
    assert "shard 1 of 2 failed (gone): 31 of 40 requests of its 4 users" in note
    assert read_outcomes(tmp_path / "elsewhere") == ()


def test_shards_without_records_merge_to_none_and_a_damaged_file_is_named(tmp_path: Path) -> None:
    keep_records(tmp_path, 0, {})
    assert merge_records(tmp_path) == {"requests.parquet": 0, "refreshes.parquet": 0}
    keep_records(tmp_path, 1, {"requests.parquet": b"PAR1 and no more"})
    with pytest.raises(DataError, match=r"shards/001/requests\.parquet"):
        merge_records(tmp_path)
