"""Fleet: many devices in one process, asked on schedule whatever became of earlier requests."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_runtime.abstract.writer import TemplateAbstract
from device_runtime.cloud.clock import Clock
from device_runtime.cloud.link import CloudLink
from device_runtime.cloud.snapshot_cache import DiskSnapshotCache
from device_runtime.cloud.tokens import TokenSource
from device_runtime.cloud.transport import CloudTransport
from device_runtime.device import Device
from device_runtime.making import make_device
from device_runtime.models import DeviceModels
from device_runtime.ranking.response import Response
from device_runtime.refresh.names import make_fleet_budget
from device_runtime.refresh.policy import EveryK
from device_runtime.settings import POLICIES
from device_runtime.state.history import RequestContext
from loadtest.evaluation.counters import CounterRanks
from loadtest.evaluation.target_rank import target_rank
from loadtest.records.rank_columns import rank_fields
from loadtest.records.recorder import Recorder, RequestRecord
from loadtest.replay.item_pages import ItemPages
from loadtest.replay.profile_figures import shared_parts
from loadtest.replay.refresh_pool import RefreshJob, RefreshPool
from loadtest.replay.state_size import own_bytes
from loadtest.settings import FleetSettings
from loadtest.timing.clock import ReplayTime, UnixTime
from loadtest.timing.schedule import Schedule
from shared.interactions import InteractionLog
from shared.metrics import Rank
from shared.progress import Task
from shared.tracing import Tracing

TOP_K = 10  # items that a request gets
SIZED_DEVICES = 100  # devices whose memory is measured
PIECE = 4096  # requests whose times, users and rows are numbers of Python's at once
_PHASES = 1  # stream of the seed that spreads the devices' refreshes
_POLICIES = 2  # streams that the devices' refresh policies draw from
_FLEET = 3  # stream of the budget they share, one per fleet


@dataclass(frozen=True, slots=True)
class _Event:
    """One row of the log as a device meets it."""

    item: int
    time: float | None
    hour: float
    query: str
    session_events: int | None

    @property
    def context(self) -> RequestContext:
        return RequestContext(self.time, self.hour, self.query, self.session_events)


@dataclass(frozen=True, slots=True)
class _Member:
    device: Device
    link: CloudLink


class Fleet:
    """One Device per user of a schedule; models and abstract writer are shared.

    Args:
        log: whose users these are.
        schedule: requests to make; what lies before a user's first is their history.
        models: the bundle, loaded once.
        settings: of devices, links and replay.
        connect: opens one way to the cloud per link; the fleet closes it.
        time: of the replay.
        cloud_up: whether the cloud is there at a moment of the replay.
        recorder: gets one record per request and refresh.
        run_id: first part of every user's name in the cloud. A store that outlives runs must not
            hand a device what an earlier run computed from this user's future.
        pages: of items, which devices without an item table learn from; the others need none.
        tokens: shown to the cloud by the devices; None where it asks for none.
        tracing: gets a span per refresh.
        planned_up: whether the cloud is meant to be there at a moment; None: as ``cloud_up`` says.
        date_clock: what devices take for the time of day; None: that of ``time``.
    """

    def __init__(
        self,
        log: InteractionLog,
        schedule: Schedule,
        models: DeviceModels,
        settings: FleetSettings,
        connect: Callable[[], CloudTransport],
        *,
        time: ReplayTime,
        cloud_up: Callable[[float], bool],
        recorder: Recorder,
        run_id: str,
        pages: ItemPages | None = None,
        tokens: TokenSource | None = None,
        tracing: Tracing | None = None,
        planned_up: Callable[[float], bool] | None = None,
        date_clock: Clock | None = None,
    ) -> None:
        self._log = log
        self._date_clock = date_clock or UnixTime(time.clock)
        self._pages = pages
        self._tokens = tokens
        self._tracing = tracing
        self._schedule = schedule
        self._settings = settings
        self._time = time
        self._cloud_up = cloud_up
        self._recorder = recorder
        self._hours, self._sessions = log.local_hour_of_week(), log.session_events()
        self._links: list[CloudLink] = []
        self._shared = (models, TemplateAbstract(log.catalogue, models.manifest.abstract))
        self.refreshes = RefreshPool(
            settings.replay.max_refreshes, time, cloud_up, recorder, planned_up
        )
        self.answered = {"snapshot": 0, "local": 0}
        self._budget = make_fleet_budget(
            settings.device,
            np.random.default_rng([settings.seed, _FLEET, *list(schedule.first_steps())[:1]]),
            models.call_rates,
        )
        self._members = dict(self._make_members(connect, run_id))
        self._phases = dict(self._draw_phases())

    def __len__(self) -> int:
        return len(self._members)

    @property
    def breakers(self) -> dict[str, int]:
        """Links by the state of their breaker."""
        return dict(Counter(link.breaker_state.value for link in self._links))

    def refresh_every(self, k: int) -> None:
        """From now on every device asks after every ``k`` requests."""
        for member in self._members.values():
            member.device.policy = EveryK(k)

    def calibrate(self, on: bool) -> None:
        """From now on devices correct a stale snapshot, or take it at face value."""
        for member in self._members.values():
            member.device.calibrate = on

    def load_histories(self, task: Task) -> None:
        """Show every device the events that precede its first request.

        Before a warm start the last few are held back: ``warm_up`` brings them.
        """
        for user, first in self._schedule.first_steps().items():
            device = self._members[user].device
            for event in self._events(user, 0, first - self._phases.get(user, 0)):
                self._consume(device, event)
            task.advance()

    async def warm_up(self, task: Task) -> None:
        """Bring every device to where it would be had it used the cloud all along.

        Each asks for a snapshot (if its policy wants one) at one of the k requests before its
        first recorded one, drawn by the seed, and makes the rest of them unrecorded. Without that
        spread all devices would refresh in step, and an outage would hit all of them or none.
        """
        await self.refreshes.warm_up(self._first_asks(), task.advance)
        for user, phase in self._phases.items():
            device = self._members[user].device
            asked_at = device.step
            for step, event in enumerate(self._events(user, asked_at, asked_at + phase), asked_at):
                if step > asked_at:
                    device.request(event.context, TOP_K)
                self._consume(device, event)

    async def run(self, counters: Iterable[CounterRanks]) -> None:
        """Make all requests, each when it is due, then let refreshes under way end.

        Args:
            counters: [n] what the counters made of each scheduled request.
        """
        schedule = self._schedule
        self.refreshes.window_began()
        due = _one_by_one(schedule.scheduled_s)
        users, rows = _one_by_one(schedule.user), _one_by_one(schedule.row)
        for scheduled, user, row, ranks in zip(due, users, rows, counters, strict=True):
            # An answer needs no waiting, so one dispatcher is enough for an open loop: a request
            # that finds the process busy starts late, and its latency from schedule says so.
            await self._time.wait_until(scheduled)
            await self._serve(user, row, scheduled, ranks)
        await self.refreshes.drain(self._settings.device.link.deadline_s)

    async def aclose(self) -> None:
        """Cancel refreshes and close all links; the fleet is not used afterwards."""
        await self.refreshes.cancel()
        for link in self._links:
            await link.aclose()

    def state_kib(self) -> float:
        """Mean KiB a device holds for itself: history, snapshot, candidate pool, bookkeeping."""
        members = list(self._members.values())[:SIZED_DEVICES]
        models, writer = self._shared
        shared = (
            *shared_parts(models, writer),
            writer,
            models.gain,
            self._budget,
            models.call_rates,
            *models.call_rates.values(),
            self._time.clock,
            self._date_clock,
        )
        return float(np.mean([own_bytes(m.device, shared) for m in members])) / 1024.0

    def _make_members(
        self, connect: Callable[[], CloudTransport], run_id: str
    ) -> Iterator[tuple[int, _Member]]:
        settings = self._settings
        models, writer = self._shared
        other = POLICIES.load(settings.device.policy)
        folder = settings.device.cache_dir
        cache = None if folder is None else DiskSnapshotCache(folder)
        for place, user in enumerate(self._schedule.first_steps()):
            if place % settings.replay.devices_per_link == 0:
                rng = Random(settings.seed * 1_000_003 + len(self._links))
                link = CloudLink(
                    connect(),
                    settings.device.link,
                    self._time.clock,
                    rng,
                    self._tokens,
                    self._tracing,
                )
                self._links.append(link)
            device = make_device(
                f"{run_id}.{user}",
                models,
                writer,
                settings.device,
                np.random.default_rng([settings.seed, _POLICIES, user]),
                cache=cache,
                budget=self._budget,
                other_policy=other,
                clock=self._date_clock,
                steady=self._time.clock,
            )
            yield user, _Member(device, link)

    def _draw_phases(self) -> Iterator[tuple[int, int]]:
        """User -> requests from the first ask to the first recorded one, for a warm start."""
        if not self._settings.replay.warm_start:
            return
        rng = np.random.default_rng([self._settings.seed, _PHASES])
        for user, first in self._schedule.first_steps().items():
            yield user, min(1 + int(rng.integers(self._settings.device.k)), first - 1)

    def _first_asks(self) -> Iterator[RefreshJob]:
        for user, member in self._members.items():
            if member.device.wants_refresh():
                (event,) = self._events(user, member.device.step, member.device.step + 1)
                yield RefreshJob(user, member.device, member.link, event.context)

    async def _serve(self, user: int, row: int, scheduled: float, counters: CounterRanks) -> None:
        member, event = self._members[user], self._event(row)
        device = member.device
        # A loop may fire a timer up to one clock tick early; nobody asks before the schedule.
        started = max(self._time.now(), scheduled)
        response = device.request(event.context, TOP_K)
        finished = max(self._time.now(), started)
        history = self._log.item[int(self._log.user_start[user]) : row]
        seen, items = response.diagnostics, response.candidates
        given = target_rank(items, response.scores, event.item)
        ranks = {
            "uncalibrated": target_rank(items, response.uncalibrated, event.item),
            "structure": target_rank(items, response.structural, event.item),
            "alone": _alone(device, response, event.item),
            "popularity": counters.popularity,
            "frequency": counters.frequency,
            "decayed": counters.decayed,
        }
        self.answered[response.source] += 1
        self._recorder.request(
            RequestRecord(
                user=user,
                step=response.step,
                target=event.item,
                is_return=bool((history == event.item).any()),
                scheduled_s=scheduled,
                started_s=started,
                finished_s=finished,
                latency_scheduled_ms=(finished - scheduled) * 1e3,
                latency_service_ms=(finished - started) * 1e3,
                source=response.source,
                rank=given.expected,
                tied=given.tied,
                **rank_fields(ranks),
                n_candidates=len(response.candidates),
                delta=seen.delta,
                omega=seen.omega,
                drift=seen.drift,
                r=seen.r,
                alpha=seen.alpha,
                de_norm=seen.de_norm,
                trust=seen.trust,
                snapshot_version=seen.snapshot_version,
                snapshot_tau=seen.snapshot_tau,
                snapshot_age_s=seen.snapshot_age_s,
                breaker=member.link.breaker_state.value,
                cloud_up=self._cloud_up(started),
            )
        )
        if device.wants_refresh():
            self.refreshes.start(RefreshJob(user, device, member.link, event.context))
            # Lets the refresh write its abstract: it accompanies this request, with its moment
            # and query as in training, and must not know what the user does next.
            await asyncio.sleep(0)
        self._consume(device, event)

    def _consume(self, device: Device, event: _Event) -> None:
        """The user opens the item's page, which shows the device what it needs to know."""
        page = None if self._pages is None else self._pages.page(event.item)
        device.observe(event.item, event.time, event.hour, page)

    def _events(self, user: int, first: int, stop: int) -> Iterator[_Event]:
        """Events ``first`` to ``stop`` (exclusive) of a user."""
        start = int(self._log.user_start[user])
        return (self._event(row) for row in range(start + first, start + stop))

    def _event(self, row: int) -> _Event:
        log = self._log
        return _Event(
            item=int(log.item[row]),
            time=None if log.time is None else float(log.time[row]),
            hour=float(self._hours[row]),
            query="" if log.query is None else log.query[row],
            session_events=None if self._sessions is None else int(self._sessions[row]),
        )


def _one_by_one(column: NDArray[Any]) -> Iterator[Any]:
    """Python's own numbers, made a piece at a time: all at once they are four times the column."""
    for start in range(0, len(column), PIECE):
        yield from column[start : start + PIECE].tolist()


def _alone(device: Device, response: Response, target: int) -> Rank:
    """Rank of the target had the device no cloud; asked once its answer's time was taken."""
    if response.source == "local":
        return target_rank(response.candidates, response.structural, target)
    ranking = device.without_cloud(response, TOP_K)
    return target_rank(ranking.items, ranking.scores, target)
