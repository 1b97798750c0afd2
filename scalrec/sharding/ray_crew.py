"""RayCrew: shards as actors of a Ray cluster."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from scalrec.sharding.crew import Crew
from scalrec.sharding.ray_cluster import Cluster
from scalrec.sharding.shard import ShardActor, ShardOrder

POLL_S = 0.25
PLACED_WITHIN_S = 120.0
STOPPED_WITHIN_S = 10.0


class RayCrew(Crew):
    """Starts one actor per order.

    Args:
        cluster: where.
        orders: what each is to do; their plans' numbers name them here.
        placed_within_s: a shard that found no free CPU by then has failed.
    """

    def __init__(
        self,
        cluster: Cluster,
        orders: Sequence[ShardOrder],
        *,
        placed_within_s: float = PLACED_WITHIN_S,
    ) -> None:
        super().__init__(len(orders))
        self._ray = cluster.ray
        self._give_up = time.monotonic() + placed_within_s
        # Threads, so that a shard can be asked while it works. Nothing restarts: a replay cannot
        # be taken up in the middle by devices that have lost their histories.
        actor = self._ray.remote(num_cpus=1, max_concurrency=4, max_restarts=0)(ShardActor)
        self._actors = {order.plan.number: actor.remote(order) for order in orders}
        self._running = {a.run.remote(): number for number, a in self._actors.items()}
        self._asked = {a.state.remote(): number for number, a in self._actors.items()}

    def _going(self) -> Sequence[int]:
        return list(self._running.values())

    def _poll(self) -> None:
        ended, _ = self._ray.wait(
            list(self._running), num_returns=len(self._running), timeout=POLL_S
        )
        for ref in ended:
            number = self._running.pop(ref)
            try:
                self.reports[number] = self._ray.get(ref)
            except self._ray.exceptions.RayError as error:
                self._fail(number, _reason(error))
        if self._asked:
            told, _ = self._ray.wait(list(self._asked), num_returns=len(self._asked), timeout=0)
            for ref in told:
                number = self._asked.pop(ref)
                try:
                    self._states[number] = self._ray.get(ref)
                except self._ray.exceptions.RayError:
                    continue  # its run ends with the same error
                if number not in self.reports:
                    self._asked[self._actors[number].state.remote()] = number
        if time.monotonic() > self._give_up:
            self._strike_off_unplaced()

    def _strike_off_unplaced(self) -> None:
        for ref, number in list(self._running.items()):
            if number not in self._states:
                del self._running[ref]
                self._fail(number, "no CPU of the Ray cluster became free for it in time")

    def _tell(self, what: str) -> None:
        for number in self._running.values():
            getattr(self._actors[number], what).remote()

    def _wait_for_the_last(self) -> None:
        deadline = time.monotonic() + STOPPED_WITHIN_S
        while self._running and time.monotonic() < deadline:
            self._poll()

    def _end(self) -> None:
        for actor in self._actors.values():
            self._ray.kill(actor)


def _reason(error: Any) -> str:
    """Ray's reports are pages long; the line that says what happened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return f"{type(error).__name__}: {lines[-1] if hasattr(error, 'cause') else lines[0]}"
