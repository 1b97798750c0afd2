"""ShardPlan: the users one process of a larger fleet serves, and its own stream of the seed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from loadtest.timing.schedule import Schedule
from shared.errors import ConfigError
from shared.interactions import InteractionLog

_SHARDS = 4  # stream of the seed that the shards' own seeds come from


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """One shard's part of a replay.

    Attributes:
        number: of the shard, from 0.
        users: indices in the log.
        due: requests planned for them.
        seed: of what devices and links draw; were it the run's own, links of all shards would
            retry in step.
    """

    number: int
    users: tuple[int, ...]
    due: int
    seed: int


def plan_shards(schedule: Schedule, shards: int, *, seed: int) -> tuple[ShardPlan, ...]:
    """Deal the users of ``schedule`` out to ``shards`` processes, or to one per user if fewer.

    Raises:
        ConfigError: no shards.
    """
    if shards < 1:
        raise ConfigError(f"a fleet of {shards} shards serves nobody; give at least one")
    users = list(schedule.first_steps())
    plans = []
    for number in range(min(shards, len(users))):
        own = users[number::shards]
        draw = np.random.SeedSequence([seed, _SHARDS, number]).generate_state(1)
        due = int(np.isin(schedule.user, own).sum())
        plans.append(ShardPlan(number, tuple(own), due, int(draw[0])))
    return tuple(plans)


def log_digest(log: InteractionLog) -> str:
    """Short hash of who did what in which order: equal where two machines hold the same log."""
    digest = hashlib.sha256()
    for column in (log.user, log.item):
        digest.update(np.ascontiguousarray(column).tobytes())
    digest.update("\0".join((*log.user_ids, "", *log.catalogue.ids)).encode())
    return digest.hexdigest()[:16]
