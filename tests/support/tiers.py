"""How the suite is cut: examples of property tests by tier, tests that share a worker."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import settings

# Examples of a property test where it names no number of its own: `make test-all`, `make test`.
FULL, QUICK = 100, 25

# Files whose tests share a worker: of the run's one text model, and of what waits on the wall clock
# or counts processes, which would disturb one another.
TOGETHER = {
    "model": frozenset({"test_demo.py", "test_cloud_real_vllm.py", "test_launch.py"}),
    "clock": frozenset(
        {
            "test_collaborative_replay.py", "test_device_transport.py", "test_fault_proxy.py",
            "test_redis_failover.py",
            "test_live_view.py", "test_process.py", "test_replay_sockets.py",
            "test_request_faults.py", "test_robustness.py", "test_scenarios_sockets.py",
        }
    ),
}  # fmt: skip


def examples(full: int) -> int:
    """``full`` under the full Hypothesis profile, under a shorter one its share, five at least."""
    return min(full, max(5, full * settings.default.max_examples // FULL))


# Of tests that `make test-all` alone runs: a part that other tests cover, in one more form.
REST = (pytest.mark.slow, pytest.mark.rest)


def first_quick(cases: Iterable[Any], quick: int = 1) -> list[Any]:
    """Parameters of which all but the first ``quick`` are REST.

    A tuple is the values of several arguments.
    """
    every = (case if isinstance(case, tuple) else (case,) for case in cases)
    return [
        pytest.param(*values, marks=() if place < quick else REST)
        for place, values in enumerate(every)
    ]


def group_of(node_id: str) -> str:
    """What shares a worker with other tests: its file, or the files of TOGETHER it is among."""
    path = node_id.partition("::")[0]
    name = path.rpartition("/")[2]
    return next((group for group, names in TOGETHER.items() if name in names), path)
