"""Scenarios against real processes: Redis, two cloud services, fault proxies, all on loopback."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from loadtest.history.history import LASTING_KEYS, read_history
from loadtest.scenarios.load import load_scenario
from scalrec.stack.embedder_server import ServedEmbedder
from tests.support.scenarios import tiny_run

# Two replicas under devices that give up early, so that faults of seconds show.
TWO_REPLICAS = {
    "steps": 20,
    "replicas": 2,
    "replay": {"devices_per_link": 15},
    "device": {
        "policy": "every-k",
        "k": 2,
        "link": {"deadline_s": 2.0, "breaker_open_s": 1.0, "breaker_failures": 3},
    },
}


@pytest.mark.slow
async def test_everything_that_can_happen_to_real_processes(tmp_path: Path) -> None:
    scenario = load_scenario("steady").changed(
        users=60,
        duration_s=52.0,
        **TWO_REPLICAS,
        faults=[
            {"target": "cloud-link", "kind": "cut", "at_s": 2, "for_s": 3},
            {"target": "cloud-link", "kind": "cut", "at_s": 8, "for_s": 3, "failure": "hang"},
            {"target": "cloud-link", "kind": "slow", "at_s": 14, "for_s": 3, "latency_s": 0.4},
            {"target": "cloud-link", "kind": "errors", "at_s": 15, "for_s": 2, "share": 0.5},
            {"target": "redis", "kind": "restart", "at_s": 20, "for_s": 3},
            {"target": "redis-link", "kind": "cut", "at_s": 25, "for_s": 2, "failure": "hang"},
            {"target": "cloud", "kind": "kill", "at_s": 29, "for_s": 3, "replica": 1},
            {"target": "device-link", "kind": "cut", "at_s": 38, "for_s": 6, "failure": "dns"},
        ],
    )
    run = tiny_run(tmp_path, scenario, virtual=False, users=60)
    verdict = await run.on_local_processes(ServedEmbedder(run.settings.embedder, None))
    assert verdict.violations == ()
    assert verdict.passed
    assert verdict.answered == 1200
    assert verdict.recovery_s is not None
    history = read_history(tmp_path / "run")
    outcomes = set(history.refreshes["outcome"])
    assert {"fresh", "network", "deadline"} <= outcomes
    refreshes = history.refreshes.filter(pl.col("started_s") >= 0)
    # The overall deadline holds whatever blocks: looking names up does for six seconds. Twice the
    # deadline, because a busy machine wakes a sleeper late.
    assert refreshes["latency_ms"].max() < 4000  # type: ignore[operator]
    assert (tmp_path / "run" / LASTING_KEYS).read_text() == ""  # looked at, and nothing found
    # Without its store the cloud went on serving, and with it it stores again.
    attempts = history.attempts.filter(pl.col("status") == 200)
    assert not attempts.filter(pl.col("sent_s").is_between(20, 23))["stored"].all()
    assert attempts.filter(pl.col("sent_s") > 45)["stored"].all()
    fresh = refreshes.filter(pl.col("outcome") == "fresh")
    assert fresh.filter(pl.col("started_s").is_between(14, 17))["latency_ms"].median() >= 400  # type: ignore[operator]
    # Nobody but the refreshes waits for a cloud that hangs.
    hanging = pl.col("started_s").is_between(8, 11)
    asked = history.requests.filter(hanging)["latency_service_ms"].median()
    waited = refreshes.filter(hanging, pl.col("outcome") == "deadline")["latency_ms"].median()
    assert waited >= 2000  # type: ignore[operator]
    assert asked < waited / 10  # type: ignore[operator]
    assert not (tmp_path / "run" / "history.html").exists()


async def test_a_frozen_cloud_shows_in_the_refreshes_and_not_in_the_answers(
    tmp_path: Path,
) -> None:
    scenario = load_scenario("freeze").changed(
        users=60,
        duration_s=20.0,
        device={"policy": "every-k", "k": 2, "link": {"deadline_s": 9.0}},
        faults=[{"target": "cloud", "kind": "freeze", "at_s": 5, "for_s": 6}],
    )
    run = tiny_run(tmp_path, scenario, virtual=False)
    verdict = await run.on_local_processes(ServedEmbedder(run.settings.embedder, None))
    assert verdict.passed, verdict.violations
    history = read_history(tmp_path / "run")
    standing = pl.col("started_s").is_between(5, 10.8)
    frozen = history.refreshes.filter(standing, pl.col("latency_ms") > 1000)
    # Asked for on schedule all the while, so that waiting is seen in full: the open loop does not
    # stop asking because nobody answers.
    assert len(frozen) > 20
    assert frozen["started_s"].max() > 9  # type: ignore[operator]
    waits = (11.0 - frozen["started_s"]) * 1e3
    assert (frozen["latency_ms"] > waits - 200).all()
    assert verdict.refresh_p99_ms is not None
    assert verdict.refresh_p99_ms > 5000
    # Answers do not wait; a tenth of the freeze leaves room for a busy machine.
    asked = history.requests.filter(standing)["latency_service_ms"]
    assert asked.quantile(0.99) < 600  # type: ignore[operator]


@pytest.mark.slow
async def test_what_happens_to_processes_in_the_field(tmp_path: Path) -> None:
    scenario = load_scenario("steady").changed(
        users=60,
        duration_s=56.0,
        **TWO_REPLICAS,
        faults=[
            {"target": "redis", "kind": "failover", "at_s": 3, "for_s": 5},
            {"target": "cloud", "kind": "rolling", "at_s": 12, "for_s": 16},
            {"target": "cloud", "kind": "silent", "at_s": 34, "for_s": 4, "connections": 300},
            {"target": "device-clock", "kind": "step", "at_s": 34, "for_s": 4, "step_s": 86400},
            {"target": "cloud-link", "kind": "errors", "at_s": 40, "for_s": 5, "share": 0.4,
             "answer": "503"},
            {"target": "redis", "kind": "failover", "at_s": 48, "for_s": 2},
        ],
    )  # fmt: skip
    run = tiny_run(tmp_path, scenario, virtual=False, users=60)
    verdict = await run.on_local_processes(ServedEmbedder(run.settings.embedder, None))
    # Among them: no key of the promoted Redis is without an end, and no age follows the clock.
    assert verdict.violations == ()
    assert verdict.answered == 1200
    attempts = read_history(tmp_path / "run").attempts.filter(pl.col("status") == 200)

    def stored(start: float, end: float) -> pl.Series:
        return attempts.filter(pl.col("sent_s").is_between(start, end))["stored"]

    # Nothing is stored while the primary takes no writes; the promoted one does, twice over.
    assert not stored(4.0, 7.0).any()
    assert stored(9.0, 11.5).all()
    assert stored(53.0, 56.0).all()
    # One after the other, not both: some refresh succeeds in every second of the update.
    served = attempts.filter(pl.col("sent_s").is_between(12, 28))["sent_s"]
    assert served.diff().max() < 3  # type: ignore[operator]
    # Silent connections starve nobody.
    assert len(attempts.filter(pl.col("sent_s").is_between(34, 38))) > 20
    during = read_history(tmp_path / "run").attempts.filter(pl.col("sent_s").is_between(40.2, 44.8))
    assert 0.15 < (during["status"] == 503).mean() < 0.65  # type: ignore[operator]
    assert not (tmp_path / "run" / "logs" / "proxy.token").exists()
