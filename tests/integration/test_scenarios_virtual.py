"""Every scenario on the virtual clock, over the real cloud app: judged, and the same every time."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from loadtest.history.history import read_history
from loadtest.records.recorder import REFRESHES, REQUESTS
from loadtest.scenarios.load import load_scenario, scenario_names
from loadtest.scenarios.verdict import VERDICT, ScenarioVerdict
from tests.support.scenarios import USERS, run_virtually


@pytest.mark.parametrize("name", scenario_names())
def test_every_request_is_answered_and_the_history_holds(tmp_path: Path, name: str) -> None:
    verdict = run_virtually(tmp_path, name)
    assert verdict.violations == ()
    assert verdict.answered == verdict.due == USERS * load_scenario(name).steps
    assert verdict.passed
    written = (tmp_path / "run" / VERDICT).read_text()
    assert verdict == ScenarioVerdict.model_validate_json(written)
    assert verdict.max_ms is not None
    assert verdict.max_ms < 1e-3  # whatever becomes of the cloud, no answer waits for it
    scenario = load_scenario(name)
    if scenario.script().faults and name != "flash-crowd":
        assert verdict.recovery_s is not None
        assert verdict.recovery_s < 5 + 5 + 5  # deadline, breaker, and until somebody asks
    if name.startswith(("every-k", "steady")):
        assert verdict.stale_share < 0.01  # a refresh may be under way when the next request comes
        assert verdict.failed_refreshes == 0


def test_the_same_scenario_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        run_virtually(tmp_path / name, "brown-out")
    for file in (REQUESTS, REFRESHES, VERDICT, "writes.parquet"):
        one, two = ((tmp_path / name / "run" / file).read_bytes() for name in ("one", "two"))
        assert one == two, file


def test_devices_that_rank_collaboratively_live_through_an_outage(tmp_path: Path) -> None:
    device = {"policy": "inconsistency", "budget": 0.3, "ranking": "collaborative"}
    scenario = load_scenario("network-cut").changed(users=USERS, device=device)
    verdict = run_virtually(tmp_path, scenario)
    assert verdict.passed
    assert verdict.policy == "inconsistency, budget = 0.3; ranking collaborative, alpha = 0.1"
    requests = read_history(tmp_path / "run").requests
    assert (requests["rank"] == requests["rank_uncalibrated"]).all()
    assert (requests["rank"] != requests["rank_structure"]).any()


def test_devices_return_from_a_long_outage_without_a_stampede(tmp_path: Path) -> None:
    usual = run_virtually(tmp_path / "usual", load_scenario("thundering-return").changed(
        users=200, faults=[]))  # fmt: skip
    verdict = run_virtually(tmp_path / "outage", "thundering-return", users=200)
    rate = verdict.refresh_rate
    assert sum(rate[22:80]) < 0.2 * sum(usual.refresh_rate[22:80])  # breakers hold them back
    # 200 devices waited for a minute. They do not all come in the first second, nor faster than
    # their users make requests (20 each in two minutes): each asks after its own next request.
    assert max(rate[80:]) < 200 / 4
    assert max(rate[80:]) < 1.5 * 200 * 20 / 120
    assert sum(rate[80:95]) > 0.5 * sum(usual.refresh_rate[80:95])


def test_a_crowd_is_refused_and_told_so_and_served_later(tmp_path: Path) -> None:
    verdict = run_virtually(tmp_path, "flash-crowd", users=200)
    assert verdict.refused > 20
    assert verdict.passed
    attempts = read_history(tmp_path / "run").attempts
    refused = attempts.filter(pl.col("status").is_in([429, 503]))
    assert refused["retry_after"].all()


def test_lost_data_and_a_dead_store_cost_nothing_but_the_stored_copies(tmp_path: Path) -> None:
    verdict = run_virtually(tmp_path, "redis-restart")
    history = read_history(tmp_path / "run")
    assert "emptied" in set(history.writes["change"])
    down = history.attempts.filter(pl.col("sent_s").is_between(35, 42))
    assert len(down) > 3
    assert not down["stored"].any()
    assert set(down["status"]) == {200}
    assert verdict.failed_refreshes == 0


def test_a_killed_replica_leaves_the_other_one_serving(tmp_path: Path) -> None:
    run_virtually(tmp_path, load_scenario("replica-killed").changed(
        users=200, replay={"devices_per_link": 25}))  # fmt: skip
    attempts = read_history(tmp_path / "run").attempts.filter(pl.col("sent_s").is_between(31, 49))
    by_link = dict(
        attempts.group_by("link").agg((pl.col("status") == 200).mean().alias("ok")).iter_rows()
    )
    assert all(ok == (1.0 if link % 2 else 0.0) for link, ok in by_link.items())
    assert {link % 2 for link in by_link} == {0, 1}


def test_blocking_name_lookups_do_not_outlast_the_deadline(tmp_path: Path) -> None:
    run_virtually(tmp_path, "network-cut")
    refreshes = read_history(tmp_path / "run").refreshes
    assert "deadline" in set(refreshes["outcome"])
    assert refreshes["latency_ms"].max() <= 3000.0 + 1e-6  # type: ignore[operator]


def test_the_embedder_may_come_up_late(tmp_path: Path) -> None:
    verdict = run_virtually(tmp_path, "slow-start")
    requests = read_history(tmp_path / "run").requests
    assert set(requests.filter(pl.col("started_s") < 30)["source"]) == {"local"}
    late = requests.filter(pl.col("started_s") > 50)
    assert (late["source"] == "snapshot").mean() > 0.9  # type: ignore[operator]
    assert 0.2 < verdict.local_share < 0.7


def test_a_clock_that_jumps_changes_no_age_and_asks_for_no_refresh(tmp_path: Path) -> None:
    scenario = load_scenario("clock-steps").changed(users=USERS)
    run_virtually(tmp_path / "jumps", scenario)
    run_virtually(tmp_path / "steady", scenario.changed(faults=[]))
    jumps, steady = (read_history(tmp_path / name / "run") for name in ("jumps", "steady"))
    # Ages rest on a clock that nobody sets, so everything happens as if nobody had.
    assert jumps.requests.equals(steady.requests)
    assert jumps.requests["snapshot_age_s"].max() < 60  # type: ignore[operator]


def test_a_primary_without_writes_costs_the_stored_copies_and_no_data(tmp_path: Path) -> None:
    verdict = run_virtually(tmp_path, "redis-failover")
    history = read_history(tmp_path / "run")
    assert "emptied" not in set(history.writes["change"])
    during = history.attempts.filter(pl.col("sent_s").is_between(35.5, 42))
    assert len(during) > 3
    assert not during["stored"].any()
    assert history.attempts.filter(pl.col("sent_s") > 44)["stored"].all()
    assert verdict.failed_refreshes == 0


def test_replicas_are_replaced_one_after_the_other(tmp_path: Path) -> None:
    scenario = load_scenario("rolling-update")
    assert scenario.script().availability(2).intervals(90) == []
    assert scenario.script().availability(1).intervals(90) == [(25.0, 40.0)]
    run_virtually(tmp_path, scenario.changed(users=200, replay={"devices_per_link": 25}))
    attempts = read_history(tmp_path / "run").attempts
    lost = attempts.filter(pl.col("status") == 0)
    first = lost.filter(pl.col("link") % 2 == 0)["sent_s"]
    second = lost.filter(pl.col("link") % 2 == 1)["sent_s"]
    assert (len(first) > 3, len(second) > 3) == (True, True)
    assert first.is_between(25, 32.5).all()
    assert second.is_between(40, 47.5).all()


def test_texts_without_numbers_fail_their_own_users_alone(tmp_path: Path) -> None:
    run_virtually(tmp_path, "nan-texts")
    during = read_history(tmp_path / "run").attempts.filter(pl.col("sent_s").is_between(25, 55))
    fresh = (during["status"] == 200) & ~during["stale"]
    assert 0.6 < fresh.mean() < 0.95  # type: ignore[operator]  # 0.8 of texts have numbers


def test_an_embedder_that_stalls_is_waited_for_within_deadlines(tmp_path: Path) -> None:
    run_virtually(tmp_path, "stalled-embedder")
    attempts = read_history(tmp_path / "run").attempts
    stalled = attempts.filter(pl.col("sent_s").is_between(31, 44))
    assert not ((stalled["status"] == 200) & ~stalled["stale"]).any()
    assert (attempts.filter(pl.col("sent_s") > 52)["status"] == 200).all()


def test_a_share_of_requests_is_refused_and_told_when_to_come_back(tmp_path: Path) -> None:
    scenario = load_scenario("failing-requests").changed(
        users=200, device={"policy": "always", "link": {"attempts": 1}}
    )
    run_virtually(tmp_path, scenario)
    during = read_history(tmp_path / "run").attempts.filter(pl.col("sent_s").is_between(25, 55))
    refused = during.filter(pl.col("status") == 503)
    assert refused["retry_after"].all()
    spread = (len(during) * 0.3 * 0.7) ** 0.5
    assert abs(len(refused) - 0.3 * len(during)) < 4 * spread


def test_a_snapshot_is_no_stand_in_once_the_store_would_have_dropped_it(tmp_path: Path) -> None:
    scenario = load_scenario("steady").changed(
        users=USERS,
        device={"policy": "every-k", "k": 2},
        cloud={"snapshot_ttl_s": 10.0},
        faults=[{"target": "embedder", "kind": "nan", "at_s": 20, "for_s": 30}],
    )
    verdict = run_virtually(tmp_path, scenario)
    assert verdict.violations == ()
    during = read_history(tmp_path / "run").attempts.filter(pl.col("sent_s").is_between(31, 49))
    assert not during["stale"].any()  # all were written more than ten seconds ago
    assert (during["status"] != 200).all()
