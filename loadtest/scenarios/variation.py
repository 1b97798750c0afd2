"""Variations of a scenario: a smaller fleet, another seed, further faults, for robustness runs."""

from __future__ import annotations

import numpy as np

from loadtest.faults.fault import Fault
from loadtest.scenarios.model import Scenario

MOST_FAULTS = 3
LEAST_QUIET_S = 20.0  # at the end, so that recovery can be seen


def varied(scenario: Scenario, *, seed: int, users: int) -> Scenario:
    """``scenario`` with ``seed``, at most ``users`` devices and up to MOST_FAULTS more faults.

    The same seed gives the same variation.
    """
    rng = np.random.default_rng([seed, scenario.seed])
    more = [_draw(scenario, rng) for _ in range(int(rng.integers(MOST_FAULTS + 1)))]
    return scenario.changed(
        seed=seed,
        users=min(users, scenario.users),
        faults=[fault.model_dump() for fault in (*scenario.faults, *more)],
    )


def _draw(scenario: Scenario, rng: np.random.Generator) -> Fault:
    """One fault somewhere before the last LEAST_QUIET_S seconds."""
    latest = max(1.0, scenario.duration_s - LEAST_QUIET_S)
    at_s = round(float(rng.uniform(0.0, latest * 0.8)), 2)
    for_s = round(float(rng.uniform(0.2, max(0.3, latest - at_s))), 2)
    late = round(float(rng.uniform(0.1, 4.0)), 2)
    jitter = round(float(rng.uniform(0.0, late)), 2)
    links = ("device-link", "cloud-link", "redis-link", "embedder-link")
    shapes: list[dict[str, object]] = [
        {"target": "redis", "kind": "restart"},
        {"target": "cloud", "kind": "kill", "replica": int(rng.integers(scenario.replicas))},
        {"target": "cloud", "kind": "freeze", "replica": int(rng.integers(scenario.replicas))},
        {"target": "device-link", "kind": "cut", "failure": "dns"},
        {"target": "redis", "kind": "failover"},
        {"target": "cloud", "kind": "rolling"},
        {"target": "cloud", "kind": "silent"},
        {"target": "embedder", "kind": "stall"},
        {"target": "embedder", "kind": "nan", "share": round(float(rng.uniform(0.05, 0.6)), 2)},
        {"target": "device-clock", "kind": "step",
         "step_s": round(float(rng.choice([-1, 1])) * 10 ** float(rng.uniform(0, 8)), 2)},
    ]  # fmt: skip
    for link in links:
        shapes += [
            {"target": link, "kind": "cut", "failure": "refuse"},
            {"target": link, "kind": "cut", "failure": "hang"},
            {"target": link, "kind": "slow", "latency_s": late, "jitter_s": jitter},
            {"target": link, "kind": "errors", "share": round(float(rng.uniform(0.1, 1.0)), 2)},
        ]
    for link in links[1:]:
        shapes.append(
            {"target": link, "kind": "resets", "share": round(float(rng.uniform(0.1, 1.0)), 2)}
        )
    for link in ("device-link", "cloud-link", "embedder-link"):
        share = round(float(rng.uniform(0.1, 1.0)), 2)
        shapes += [
            {"target": link, "kind": "errors", "share": share, "answer": "503"},
            {"target": link, "kind": "slow", "latency_s": late, "jitter_s": jitter,
             "share": share},
        ]  # fmt: skip
    chosen = shapes[int(rng.integers(len(shapes)))]
    return Fault.model_validate({**chosen, "at_s": at_s, "for_s": for_s})
