"""ShardOutcome: what became of one shard; all of them stand in shards.json beside the records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
from pydantic import Field, TypeAdapter

from loadtest.records.checksums import check, seal
from loadtest.replay.replay import ReplayResult
from shared.files import write_whole
from shared.strict import Strict

SHARDS_FILE = "shards.json"
_SUMMED = (
    "users", "requests", "from_snapshot", "refreshes", "failed_refreshes", "skipped_refreshes",
    "cancelled_refreshes",
)  # fmt: skip


class ShardOutcome(Strict):
    """One shard of a run.

    Attributes:
        users, due: devices it was given, and their requests.
        answered: requests there are records of.
        node: machine it ran on; "" if it never began.
        started: Unix seconds at which its window began, by its machine's clock.
        error: why it did not end well; "" if it did.
    """

    shard: int
    users: int
    due: int
    answered: int = Field(ge=0)
    seed: int
    node: str = ""
    started: float | None = None
    error: str = ""

    @property
    def unanswered(self) -> int:
        return self.due - self.answered


_OUTCOMES = TypeAdapter(tuple[ShardOutcome, ...])


def write_outcomes(run_dir: Path, outcomes: Sequence[ShardOutcome]) -> Path:
    """Write shards.json in one step; returns its path."""
    data = _OUTCOMES.dump_json(tuple(outcomes), indent=2) + b"\n"
    path = write_whole(run_dir / SHARDS_FILE, data)
    seal(run_dir, SHARDS_FILE)
    return path


def read_outcomes(run_dir: Path) -> tuple[ShardOutcome, ...]:
    """The shards of a run, in order; none where it was a single process."""
    path = run_dir / SHARDS_FILE
    check(path)
    return _OUTCOMES.validate_json(path.read_bytes()) if path.exists() else ()


def failure_notes(outcomes: Sequence[ShardOutcome]) -> list[str]:
    """One sentence per shard that failed, with what its users went without."""
    return [
        f"shard {o.shard} of {len(outcomes)} failed ({o.error}): {o.unanswered:,} of {o.due:,} "
        f"requests of its {o.users:,} users were not answered"
        for o in outcomes
        if o.error
    ]


def add_up(results: Sequence[ReplayResult]) -> ReplayResult:
    """The replay of all shards as one: counts added, the longest real time, mean memory."""
    first = results[0]
    same = {field.name: getattr(first, field.name) for field in fields(first)}
    counts = {name: sum(getattr(result, name) for result in results) for name in _SUMMED}
    memory = np.average([r.state_kib for r in results], weights=[r.users for r in results])
    longest = max(result.elapsed_s for result in results)
    told = {
        name: dict(sum((Counter(getattr(result, name)) for result in results), Counter()))
        for name in ("outcomes", "outcomes_up")
    }
    return ReplayResult(**same | counts | told | {"state_kib": float(memory), "elapsed_s": longest})
