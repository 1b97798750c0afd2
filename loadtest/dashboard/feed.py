"""Feed: watches one process's replay and reports it to the live view, near or far."""

from __future__ import annotations

import logging
from typing import Protocol

from loadtest.dashboard.bins import Bin
from loadtest.dashboard.messages import Facts, Reply, Status, Update, Wish
from loadtest.records.recorder import RefreshRecord, RequestRecord
from loadtest.replay.controls import Controls
from loadtest.replay.ticker import ReplayTick
from shared.errors import ConfigError

logger = logging.getLogger(__name__)


class Sink(Protocol):
    """Where updates go."""

    def offer(self, update: Update) -> Reply | None:
        """Take an update without waiting; the newest reply there is, if any."""

    def close(self) -> None:
        """Deliver what is left, within a few seconds."""


class Feed:
    """An observer of a recorder, whose ``start`` and ``tick`` go to the replay.

    All of it runs on the replay's own loop: counting is constant time per record, and a tick hands
    over copies of the bins that changed, then carries out what the page was asked for.

    Args:
        facts: of the run.
        shard: name of this process.
        sink: gets the updates.
    """

    def __init__(self, facts: Facts, shard: str, sink: Sink) -> None:
        self._facts = facts
        self._shard = shard
        self._sink = sink
        self._calibrating = bool(facts.calibrate)
        self._bins: dict[int, Bin] = {}
        self._changed: set[int] = set()
        self._controls: Controls | None = None
        self._applied = Wish()
        self._last: ReplayTick | None = None
        self._whole = True

    def request(self, record: RequestRecord) -> None:
        """Count an answered request, when it was answered: a busy process answers late, and the
        page shows what happens now."""
        self._bin(record.finished_s).request(record, calibrating=self._calibrating)

    def refresh(self, record: RefreshRecord) -> None:
        """Count a refresh that ended; those of the warm-up precede the window and are left out."""
        if record.started_s >= 0:
            self._bin(record.finished_s).refresh(record)

    def start(self, controls: Controls) -> None:
        """The window begins."""
        self._controls = controls

    def tick(self, tick: ReplayTick) -> None:
        """Report, and do what was asked for on the page."""
        self._last = tick
        self._bin(tick.replay_s).see_cloud(tick.cloud_up)
        self._report("running")

    def end(self, status: Status) -> None:
        """The run is over: say so and deliver everything."""
        self._controls = None
        if self._last is not None:
            self._report(status)
        self._sink.close()

    def _report(self, status: Status) -> None:
        tick = self._last
        assert tick is not None  # noqa: S101 - both callers have seen one
        numbers = self._bins if self._whole else self._changed
        update = Update(
            facts=self._facts,
            shard=self._shard,
            status=status,
            replay_s=max(0.0, tick.replay_s),
            devices=tick.devices,
            due=tick.due,
            answered=tick.answered,
            skipped=tick.skipped_refreshes,
            cloud_up=tick.cloud_up,
            breakers=dict(tick.breakers),
            whole=self._whole,
            bins={number: self._bins[number].copy() for number in sorted(numbers)},
        )
        self._changed.clear()
        reply = self._sink.offer(update)
        self._whole = reply is not None and reply.resend
        if reply is not None:
            self._apply(reply.wish)

    def _apply(self, wish: Wish) -> None:
        controls = self._controls
        if controls is None or wish.revision <= self._applied.revision:
            return
        before, self._applied = self._applied, wish
        if wish.cloud != before.cloud:
            controls.cloud(wish.cloud)
        if wish.k is not None:
            try:
                controls.refresh_every(wish.k)
            except ConfigError as error:
                logger.warning("asked for k = %d: %s", wish.k, error)
        if wish.calibrate is not None:
            try:
                controls.calibrate(wish.calibrate)
                self._calibrating = wish.calibrate
            except ConfigError as error:
                logger.warning("asked for calibration: %s", error)

    def _bin(self, replay_s: float) -> Bin:
        number = max(0, int(replay_s / self._facts.width_s))
        self._changed.add(number)
        found = self._bins.get(number)
        if found is None:
            found = self._bins[number] = Bin()
        return found
