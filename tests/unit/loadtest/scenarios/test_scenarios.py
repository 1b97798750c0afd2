"""Scenario files, the rules they are read by, and the traffic and outages they describe."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import yaml

from device_runtime.settings import POLICIES
from loadtest.faults.fault import Fault, Kind, Target
from loadtest.faults.script import FaultScript
from loadtest.scenarios.load import FOLDER, load_scenario, read_scenario, scenario_names
from loadtest.scenarios.variation import varied
from loadtest.timing.availability import Outages, random_on_off, recorded_trace
from loadtest.timing.crowd import with_crowd
from loadtest.timing.schedule import Schedule
from scalrec.settings import Settings
from shared.errors import ConfigError, DataError

REQUIRED = {
    "steady", "every-k-1", "every-k-5", "every-k-10", "every-k-20", "periodic-outage",
    "random-on-off-99", "random-on-off-50", "brown-out", "slow-start", "redis-restart",
    "replica-killed", "network-cut", "flash-crowd", "thundering-return", "trace", "freeze",
}  # fmt: skip


@pytest.mark.parametrize("policy", POLICIES.built_in)
def test_a_scenario_may_use_any_policy_within_a_budget(policy: str, tmp_path: Path) -> None:
    device = {"policy": policy, "budget": 0.1, "budget_scope": "fleet"}
    path = tmp_path / "sparing.yaml"
    path.write_text(load_scenario("steady").changed(name="sparing", device=device).as_yaml())
    applied = read_scenario(path).applied_to(Settings(), virtual=True).device
    assert applied.policy == policy
    assert (applied.budget, applied.budget_scope) == (0.1, "fleet")


def test_every_scenario_states_what_it_needs_and_can_be_applied() -> None:
    assert set(scenario_names()) >= REQUIRED
    for name in scenario_names():
        stated = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
        assert {"name", "description", "seed", "duration_s", "users", "device"} <= set(stated)
        assert "policy" in stated["device"]
        scenario = load_scenario(name)
        for virtual in (True, False):
            settings = scenario.applied_to(Settings(), virtual=virtual)
            assert settings.seed == scenario.seed
            assert settings.replay.users == scenario.users
            assert settings.replay.clock == ("virtual" if virtual else "wall")
        assert all(fault.at_s < scenario.duration_s for fault in scenario.script().faults)


def test_a_scenario_keeps_the_settings_it_does_not_state() -> None:
    settings = Settings.model_validate({"device": {"budget": 0.3, "link": {"attempts": 2}}})
    applied = load_scenario("network-cut").applied_to(settings, virtual=True)
    assert applied.device.link.deadline_s == 3.0
    assert (applied.device.link.attempts, applied.device.budget) == (2, 0.3)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"seed": -1}, "seed"),
        ({"colour": "red"}, "colour"),
        ({"faults": [{"target": "cloud", "kind": "cut", "at_s": 1, "for_s": 1}]}, "kill, freeze"),
        ({"faults": [{"target": "cloud-link", "kind": "cut", "at_s": 9, "for_s": 9}]}, "recovery"),
        (
            {"faults": [{"target": "cloud", "kind": "kill", "at_s": 1, "for_s": 1, "replica": 1}]},
            "1 replicas",
        ),
        (
            {"faults": [{"target": "redis-link", "kind": "cut", "at_s": 1, "for_s": 1,
                         "failure": "dns"}]},
            "device-link alone",
        ),
        ({"outages": {"kind": "trace"}}, "needs its file"),
        ({"outages": {"kind": "periodic", "period_s": 3, "outage_s": 5}}, "longer than its period"),
        ({"replay": {"users": 3}}, "own fields"),
        ({"name": "other"}, "must agree"),
    ],
)  # fmt: skip
def test_impossible_scenarios_are_refused_by_name(
    tmp_path: Path, fields: dict[str, object], complaint: str
) -> None:
    path = tmp_path / "mine.yaml"
    whole = {"name": "mine", "description": "something happens", "seed": 1, "duration_s": 10,
             "users": 5, **fields}  # fmt: skip
    path.write_text(yaml.safe_dump(whole))
    with pytest.raises(DataError, match=complaint) as caught:
        read_scenario(path)
    assert str(path) in str(caught.value)


def test_unknown_scenarios_are_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="periodic-outage"):
        load_scenario("earthquake")


@pytest.mark.parametrize("text", ["[" * 3_000 + "]" * 3_000, "{a: " * 3_000])
def test_a_file_nested_without_end_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(DataError, match="not a readable scenario"):
        read_scenario(path)


def test_a_file_that_is_no_yaml_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("a: [")
    with pytest.raises(DataError, match="not a readable scenario"):
        read_scenario(path)


@pytest.mark.parametrize("availability", [0.99, 0.9, 0.5])
def test_random_outages_have_the_wanted_availability_and_length(availability: float) -> None:
    until, rng = 400_000.0, np.random.default_rng(3)
    outages = random_on_off(availability, 5.0, until, rng).intervals(until)
    lengths = np.array([end - start for start, end in outages])
    assert lengths.sum() / until == pytest.approx(1 - availability, rel=0.1)
    assert lengths.mean() == pytest.approx(5.0, rel=0.1)
    # Exponential: the standard deviation equals the mean.
    assert lengths.std() == pytest.approx(5.0, rel=0.15)


def test_outages_merge_and_agree_with_their_intervals() -> None:
    outages = Outages([(5, 7), (1, 2), (6, 9), (9, 9), (20, 30)])
    assert outages.intervals(25) == [(1, 2), (5, 9), (20, 25)]
    up = [outages.is_up(t) for t in (0, 1, 1.9, 2, 5, 8.9, 9, 29, 30)]
    assert up == [True, False, False, True, False, False, True, False, True]


def test_a_trace_is_repeated_and_checked(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("time_s,up\n0,1\n4,0\n6,1\n10,1\n")
    assert recorded_trace(path, 25).intervals(25) == [(4, 6), (14, 16), (24, 25)]
    for text, complaint in (
        ("time_s,up\n0,1\n", "two changes"),
        ("time_s,up\n5,1\n4,0\n", "line 3.*grow"),
        ("time_s,up\n0,maybe\n4,0\n", "line 2.*0 or 1"),
        ("when,up\n0,1\n", "line 2.*time_s"),
        ("time_s,up\nnan,1\n4,0\n", "finite"),
    ):
        path.write_text(text)
        with pytest.raises(DataError, match=complaint):
            recorded_trace(path, 10)
    with pytest.raises(DataError, match="cannot read"):
        recorded_trace(tmp_path / "none.csv", 10)


def test_a_crowd_comes_ten_times_as_fast_and_changes_no_order() -> None:
    n = 20_000
    times = np.sort(np.random.default_rng(0).uniform(0, 90, n))
    none = np.zeros(n, np.int32)
    plain = Schedule(
        user=none,
        step=none,
        target=none,
        row=none.astype(np.int64),
        time=None,
        scheduled_s=times,
        window_s=90.0,
        speed_up=None,
    )
    crowded = with_crowd(plain, at_s=30, ramp_s=10, for_s=10, factor=10).scheduled_s
    assert np.all(np.diff(crowded) >= 0)
    assert crowded.min() >= 0
    assert crowded.max() <= 90
    counts, _ = np.histogram(crowded, np.arange(0, 91, 5))
    before, peak = counts[:6].mean(), counts[8:10].mean()  # 0-30 s; 40-50 s
    assert peak / before == pytest.approx(10, rel=0.1)
    assert counts[13:].mean() == pytest.approx(before, rel=0.1)


def test_the_script_knows_when_no_cloud_can_be_reached() -> None:
    kill = {"target": "cloud", "kind": "kill", "for_s": 10}
    script = FaultScript(
        [
            Fault(target="cloud-link", kind="cut", at_s=1, for_s=2),
            Fault(target="redis-link", kind="cut", at_s=5, for_s=2),
            Fault.model_validate({**kill, "at_s": 20, "replica": 0}),
            Fault.model_validate({**kill, "at_s": 26, "replica": 1}),
        ]
    )
    assert script.availability(2).intervals(60) == [(1, 3), (26, 30)]
    assert script.availability(3).intervals(60) == [(1, 3)]
    assert script.quiet_after() == [(3, 5), (7, 20), (36, float("inf"))]
    assert FaultScript([]).quiet_after() == []


def test_variations_differ_by_seed_and_agree_with_themselves(tmp_path: Path) -> None:
    base = load_scenario("steady")
    some = [varied(base, seed=seed, users=40) for seed in range(100)]
    some += [varied(base, seed=seed, users=40) for seed in range(100, 500)]
    assert some[7] == varied(base, seed=7, users=40)
    assert {scenario.users for scenario in some} == {40}
    kinds = {(f.target, f.kind) for scenario in some for f in scenario.faults}
    assert len(kinds) >= 10
    assert {target for target, _ in kinds} == set(get_args(Target))
    assert {kind for _, kind in kinds} == set(get_args(Kind))
    path = tmp_path / "steady.yaml"
    path.write_text(some[7].as_yaml())
    assert read_scenario(path) == some[7]
