"""Records and updates as a fleet process makes them, with only what a test cares about set."""

from __future__ import annotations

import math
from typing import Any

from loadtest.dashboard.bins import Bin
from loadtest.dashboard.messages import Facts, Update
from loadtest.records.recorder import RefreshRecord, RequestRecord
from loadtest.replay.ticker import ReplayTick


def request(**known: Any) -> RequestRecord:
    """An answered request at second 0, from a snapshot two events old."""
    values: dict[str, Any] = dict.fromkeys(RequestRecord._fields, 0) | {
        "scheduled_s": 0.0, "finished_s": 0.0,
        "latency_scheduled_ms": 3.0, "latency_service_ms": 2.0,
        "source": "snapshot", "rank": 1.0, "rank_uncalibrated": 3.0, "rank_structure": math.inf,
        "rank_alone": math.inf,
        "delta": 2, "snapshot_age_s": 4.0, "breaker": "closed", "cloud_up": True,
    }  # fmt: skip
    return RequestRecord(**(values | known))


def refresh(**known: Any) -> RefreshRecord:
    """A refresh that brought a fresh snapshot in 50 ms."""
    values: dict[str, Any] = dict.fromkeys(RefreshRecord._fields, 0) | {
        "started_s": 0.0, "finished_s": 0.05, "outcome": "fresh", "attempts": 1,
        "latency_ms": 50.0, "cloud_up": True,
    }  # fmt: skip
    return RefreshRecord(**(values | known))


def tick(replay_s: float, **known: Any) -> ReplayTick:
    """Where a replay of a minute stands."""
    values: dict[str, Any] = {
        "replay_s": replay_s, "window_s": 60.0, "devices": 5, "due": 100, "answered": 10,
        "from_snapshot": 9, "refreshes": 2, "failed_refreshes": 0, "breakers": {"closed": 1},
        "skipped_refreshes": 0, "cloud_up": True,
    }  # fmt: skip
    return ReplayTick(**(values | known))


def facts(run: str = "run", **known: Any) -> Facts:
    """Facts of a run of a minute under every-k, k = 5."""
    values: dict[str, Any] = {
        "run": run, "started": 1.0, "log": "invented", "policy": "every-k, k = 5",
        "profile": "small device", "availability": "always up", "clock": "wall", "window_s": 60.0,
        "width_s": 1.0, "calibrate": True, "controllable": True, "k": 5,
    }  # fmt: skip
    return Facts(**(values | known))


def update(shard: str = "a", bins: dict[int, Bin] | None = None, **known: Any) -> Update:
    """News of one process."""
    values: dict[str, Any] = {
        "facts": facts(), "shard": shard, "status": "running", "replay_s": 1.0, "devices": 5,
        "due": 100, "answered": 10, "skipped": 0, "cloud_up": True, "breakers": {"closed": 1},
        "whole": True, "bins": bins or {},
    }  # fmt: skip
    return Update(**(values | known))
