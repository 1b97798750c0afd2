"""Hub: the newest news of every process of a run, added up; and what the page asks the run for."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import TypeVar

from loadtest.dashboard.bins import Bin
from loadtest.dashboard.messages import Facts, Reply, Status, Update, Wish
from loadtest.dashboard.preparation import Preparation
from loadtest.timing.switched_availability import Mode
from shared.errors import ConfigError

T = TypeVar("T")
SILENT_S = 10.0
MOST_SHARDS = 256


@dataclass
class HeardShard:
    """The last update of one process, all its bins, and when it came (monotonic seconds)."""

    last: Update
    bins: dict[int, Bin] = field(default_factory=dict)
    heard: float = 0.0

    def silent(self, now: float) -> bool:
        return self.last.status == "running" and now - self.heard > SILENT_S


@dataclass
class Run:
    """All processes of one run.

    Attributes:
        bins: of all processes together. total: the sum of them.
        changed: numbers of bins changed since whoever draws them last looked.
    """

    facts: Facts
    shards: dict[str, HeardShard] = field(default_factory=dict)
    bins: dict[int, Bin] = field(default_factory=dict)
    total: Bin = field(default_factory=Bin)
    changed: set[int] = field(default_factory=set)
    wish: Wish = field(default_factory=Wish)

    @property
    def status(self) -> Status:
        """Running as long as any process is."""
        states = {shard.last.status for shard in self.shards.values()}
        return (
            "running" if "running" in states else "stopped" if "stopped" in states else "finished"
        )

    def silent(self, now: float) -> int:
        """Processes that should be heard of and are not."""
        return sum(shard.silent(now) for shard in self.shards.values())

    def take(self, update: Update, now: float) -> bool:
        """Add the news of one process; False if earlier news of it are missing here."""
        shard = self.shards.get(update.shard)
        if shard is None:
            if not update.whole:
                return False
            shard = self.shards[update.shard] = HeardShard(update)
        shard.last, shard.heard = update, now
        for number, newer in update.bins.items():
            older = shard.bins.get(number)
            both = self.bins.setdefault(number, Bin())
            for target in (both, self.total):
                if older is not None:
                    target.merge(older, -1)
                target.merge(newer)
            shard.bins[number] = newer
            self.changed.add(number)
        return True


class Hub:
    """One run at a time: the one that was heard of last, until another begins.

    Methods may be called from any thread.

    Args:
        now: monotonic seconds.

    Attributes:
        preparation: what this process does before a run begins.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = Lock()
        self._run: Run | None = None
        self.version = 0
        self.preparation = Preparation(now)

    def offer(self, update: Update) -> Reply:
        """Take an update.

        Raises:
            ConfigError: another run is going on, or too many processes take part.
        """
        with self._lock:
            now = self._now()
            run = self._run
            if run is None or run.facts.run != update.facts.run:
                if run is not None and not self._is_over(run, now):
                    raise ConfigError(
                        f"run {run.facts.run} is being shown; give the processes of one run the "
                        "same dashboard.run"
                    )
                run = self._run = Run(update.facts)
            if update.facts.width_s != run.facts.width_s:
                raise ConfigError(
                    f"bins are {run.facts.width_s:g} s wide in this run, not "
                    f"{update.facts.width_s:g} s: its processes must agree on replay.duration_s"
                )
            if update.shard not in run.shards and len(run.shards) >= MOST_SHARDS:
                raise ConfigError(f"more than {MOST_SHARDS} processes in one run")
            known = run.take(update, now)
            self.version += 1
            return Reply(run.wish, resend=not known)

    def close(self) -> None:
        """Nothing is left to deliver: updates arrive at once."""

    def ask(
        self, *, cloud: Mode | None = None, k: int | None = None, calibrate: bool | None = None
    ) -> Wish:
        """Ask every process of the run for a change; it follows with its next update.

        Raises:
            ConfigError: there is no run, or it cannot be changed in this way.
        """
        with self._lock:
            run = self._run
            if run is None or run.status != "running":
                raise ConfigError("no run is going on")
            if not run.facts.controllable:
                raise ConfigError("a replay under the virtual clock cannot be changed by hand")
            if k is not None and run.facts.k is None:
                raise ConfigError(f"the refresh policy is {run.facts.policy}, which has no k")
            if calibrate is not None and run.facts.calibrate is None:
                raise ConfigError(
                    f"the ranking is {run.facts.ranking}, which has nothing to calibrate"
                )
            old = run.wish
            run.wish = Wish(
                old.revision + 1,
                old.cloud if cloud is None else cloud,
                old.k if k is None else k,
                old.calibrate if calibrate is None else calibrate,
            )
            self.version += 1
            return run.wish

    def look(self, read: Callable[[Run, float], T]) -> T | None:
        """What ``read`` makes of the run and the present moment; None if there is no run."""
        with self._lock:
            return None if self._run is None else read(self._run, self._now())

    def _is_over(self, run: Run, now: float) -> bool:
        return run.status != "running" or all(
            shard.last.status != "running" or shard.silent(now) for shard in run.shards.values()
        )
