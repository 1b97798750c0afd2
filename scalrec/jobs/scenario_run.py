"""One scenario, run and judged: the same script on the virtual clock and on real processes."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path

import numpy as np

from cloud_service.http.problems import RETRY_AFTER_S
from device_runtime.cloud.clock import Clock
from device_runtime.cloud.transport import CloudTransport, HttpTransport
from device_runtime.refresh.names import policy_text, ranking_text
from loadtest.dashboard.feed import Feed
from loadtest.faults.driver import PROXIES, STAND_INS, Actuator, FaultDriver, LinkFaults
from loadtest.faults.fault import Target
from loadtest.faults.parts import TextEmbedder
from loadtest.faults.script import FaultScript
from loadtest.faults.stepped_clock import SteppedClock
from loadtest.history.checker import check
from loadtest.history.history import Expected, read_history, write_lasting_keys
from loadtest.history.log import HistoryLog
from loadtest.proxy.client import FaultProxy
from loadtest.proxy.hops import FaultProxies
from loadtest.records.recorder import Recorder
from loadtest.replay.replay import ReplayResult, replay, run_replay
from loadtest.replay.soundness import replay_failures
from loadtest.replay.staging import Staging
from loadtest.scenarios.model import Scenario
from loadtest.scenarios.page import write_page
from loadtest.scenarios.verdict import Place, ScenarioVerdict, judge, write_verdict
from loadtest.timing.clock import ReplayTime, WallClock
from loadtest.timing.crowd import with_crowd
from loadtest.timing.schedule import Schedule, build_schedule
from scalrec.settings import Settings
from scalrec.stack.cloud_keys import token_source, with_keys
from scalrec.stack.embedder_server import ServedEmbedder
from scalrec.stack.greeting import greet
from scalrec.stack.local_stack import local_stack
from scalrec.stack.readiness import Readiness
from scalrec.stack.scripted_cloud import scripted_cloud, scripted_ways
from scalrec.stack.watch import Children, Watch, nothing_started
from shared.bundle import Bundle
from shared.errors import ConfigError, LaunchError
from shared.interactions import InteractionLog
from shared.progress import Progress
from shared.split import Split

DEVICE_ONLY: tuple[Target, ...] = ("device-link", "device-clock")
# Whose faults explain that a part of the cloud is away.
EXPLAINED: Mapping[str, tuple[Target, ...]] = {
    "cloud": ("cloud", "cloud-link"),
    "store": ("redis", "redis-link"),
    "embedder": ("embedder", "embedder-link"),
}
SETTLED_S = 10.0  # after a fault, and what deadlines and breakers add


@dataclass(frozen=True)
class ScenarioRun:
    """A scenario about to be run.

    Attributes:
        settings: with everything the scenario states.
        run_dir: gets records, history and scenario.json, and history.html if the checker objects.
        feed: shows a run on the wall clock on the live view.
    """

    scenario: Scenario
    script: FaultScript
    settings: Settings
    log: InteractionLog
    split: Split
    bundle: Bundle
    run_dir: Path
    progress: Progress
    feed: Feed | None = None

    @classmethod
    def of(
        cls,
        scenario: Scenario,
        settings: Settings,
        log: InteractionLog,
        split: Split,
        bundle: Bundle,
        run_dir: Path,
        progress: Progress,
        *,
        virtual: bool,
    ) -> ScenarioRun:
        """Raises ConfigError or DataError if the scenario cannot be run with these settings."""
        applied = scenario.applied_to(settings, virtual=virtual)
        # Without a cache on disk: the history does not contain the snapshots of earlier runs.
        device = applied.device.model_copy(update={"cache_dir": None})
        applied = with_keys(applied.model_copy(update={"device": device}))
        return cls(
            scenario=scenario,
            script=scenario.script(),
            settings=applied,
            log=log,
            split=split,
            bundle=bundle,
            run_dir=run_dir,
            progress=progress,
        )

    def on_the_virtual_clock(self, embedder: TextEmbedder) -> ScenarioVerdict:
        """Run in this process, without real time; same seed, same bytes.

        Args:
            embedder: answers every abstract of the replay without I/O.
        """
        settings, scenario = self.settings, self.scenario
        wrap = scripted_ways(self.script, seed=settings.seed, replicas=scenario.replicas)
        with HistoryLog(self.run_dir) as history:
            staging = Staging(
                availability=self.script.availability(scenario.replicas),
                reschedule=self._reschedule,
                wrap=wrap,
                history=history,
                untroubled=self._untroubled,
                set_clock=self._set_clock,
            )
            cloud = scripted_cloud(
                settings, self.bundle, embedder, self.script, staging, history,
                log=self.run_dir / "logs" / "cloud.log",
            )  # fmt: skip
            result = run_replay(
                self.log,
                self.split,
                self.bundle,
                settings,
                cloud,
                self.run_dir,
                progress=self.progress,
                tokens=lambda clock: token_source(settings, clock.unix),
                staging=staging,
            )
        return self._judged(result, "virtual clock")

    async def on_local_processes(self, embedder: ServedEmbedder) -> ScenarioVerdict:
        """Run on the wall clock against Redis, cloud processes and fault proxies of our own."""
        async with local_stack(
            self.settings,
            self.bundle.path,
            embedder,
            replicas=self.scenario.replicas,
            logs=self.run_dir / "logs",
            progress=self.progress,
        ) as stack:
            await greet(stack.settings, stack.direct_url, self.bundle.id)
            return await self._on_the_wall_clock(
                stack.urls,
                stack.actuators,
                stack.settings,
                "local processes",
                watched=(stack.direct_url, lambda: stack.children),
                away=lambda: stack.processes.away,
                lasting_keys=stack.processes.lasting_keys,
            )

    async def at(
        self, url: str, control_url: str | None, token: str | None = None
    ) -> ScenarioVerdict:
        """Run on the wall clock against a cloud, and a fault proxy, that somebody else runs.

        Args:
            url: of the cloud, through its proxy.
            control_url: of the fault proxy's API, or of several ones, with commas between; None
                will do for scenarios without faults.
            token: of those APIs; None where they ask for none.
        """
        if control_url is None:
            await greet(self.settings, url, self.bundle.id)
            return await self._on_the_wall_clock(
                (url,), {}, self.settings, "given addresses", watched=(url, nothing_started)
            )
        controls = [FaultProxy(one.strip(), token) for one in control_url.split(",")]
        async with FaultProxies(controls) as proxy:
            await proxy.reset()
            await greet(self.settings, url, self.bundle.id)
            present = await proxy.proxies()
            names: dict[Target, tuple[str, ...]] = {
                target: found for target, found in PROXIES.items() if set(found) <= set(present)
            }
            links = LinkFaults(proxy, names, replicas=self.scenario.replicas)
            actuators: dict[Target, Actuator] = dict.fromkeys(names, links)
            actuators |= {t: links for t, link in STAND_INS.items() if link in names}
            try:
                return await self._on_the_wall_clock(
                    (url,),
                    actuators,
                    self.settings,
                    "given addresses",
                    watched=(url, nothing_started),
                )
            finally:
                await proxy.reset()

    async def _on_the_wall_clock(
        self,
        urls: tuple[str, ...],
        actuators: Mapping[Target, Actuator],
        settings: Settings,
        place: Place,
        *,
        watched: tuple[str, Children],
        away: Callable[[], set[str]] = set,
        lasting_keys: Callable[[], Awaitable[Iterable[str]]] | None = None,
    ) -> ScenarioVerdict:
        """Run, looked after by a Watch.

        Args:
            watched: address of the cloud, and the children to look at.
            away: parts that faults keep away just now.
            lasting_keys: of the store, that never expire; none may be left at the end.
        """
        for fault in self.script.faults:
            actuator = actuators.get(fault.target)
            known = actuator is not None and actuator.can(fault)
            if not known and fault.target not in DEVICE_ONLY:
                raise ConfigError(
                    f"{self.scenario.name}: {fault.words} cannot be done here: use an embedder "
                    "with a link that can be cut (--embedder vllm), name the fault proxy "
                    "(--fault-proxy), let the processes be started here, or run it with --virtual"
                )

        drivers: list[FaultDriver] = []

        def during(replayed: ReplayTime) -> FaultDriver:
            drivers.append(FaultDriver(self.script, replayed, actuators))
            return drivers[-1]

        ways = cycle(urls)

        def connect() -> CloudTransport:
            return HttpTransport(next(ways))

        replicas = self.scenario.replicas
        feed = self.feed
        url, children = watched
        async with AsyncExitStack() as stack:
            history = stack.enter_context(HistoryLog(self.run_dir))
            recorder = stack.enter_context(Recorder(self.run_dir, feed))
            staging = Staging(
                availability=self.script.availability(replicas),
                reschedule=self._reschedule,
                wrap=scripted_ways(
                    self.script, seed=settings.seed, replicas=replicas, on_sockets=True
                ),
                during=during,
                history=history,
                untroubled=self._untroubled,
                set_clock=self._set_clock,
            )
            readiness = await stack.enter_async_context(Readiness(url, self.bundle.id))
            watch = await stack.enter_async_context(
                Watch(children, readiness, lambda part: self._meant_away(part, staging, away()))
            )
            result = await replay(
                self.log,
                self.split,
                self.bundle,
                settings,
                connect,
                clock=WallClock(),
                recorder=recorder,
                progress=self.progress,
                on_tick=None if feed is None else feed.tick,
                on_start=None if feed is None else feed.start,
                tokens=token_source(settings, time.time),
                staging=staging,
                cloud_there=watch.cloud_there,
            )
        troubles = list(watch.troubles)
        if lasting_keys is not None:
            try:
                write_lasting_keys(self.run_dir, await lasting_keys())
            except LaunchError as error:  # a store that is gone has lost its keys, not the run
                troubles.append(f"whether all that is stored expires is not known: {error}")
        happened = replace(self, script=drivers[-1].happened(self.script))
        return happened._judged(result, place, troubles)

    def _untroubled(self, t: float) -> bool:
        link = self.settings.device.link
        settled = link.deadline_s + link.breaker_open_s + SETTLED_S
        return not self.script.troubled(t, before=link.deadline_s, after=settled)

    def _meant_away(self, part: str, staging: Staging, away: set[str]) -> bool:
        """Whether the script, or what it has done to a process, explains that a part is away."""
        kind = part.split()[0]
        if part in away or (part == kind and any(gone.split()[0] == kind for gone in away)):
            return True
        targets = EXPLAINED.get(kind)
        return targets is not None and self.script.troubled(
            staging.now(), before=1.0, after=SETTLED_S, targets=targets
        )

    def _set_clock(self, right: Clock, now: Callable[[], float]) -> Clock:
        return SteppedClock(right, self.script, now)

    def _reschedule(self, schedule: Schedule) -> Schedule:
        crowd = self.scenario.crowd
        return schedule if crowd is None else with_crowd(schedule, **crowd.model_dump())

    def _judged(
        self, result: ReplayResult, place: Place, troubles: Sequence[str] = ()
    ) -> ScenarioVerdict:
        history, settings = read_history(self.run_dir), self.settings
        expected = self._expected()
        violations = check(history, expected)
        policy = policy_text(settings.device)
        if settings.device.ranking != "semantic":
            ranking = ranking_text(settings.device, self.bundle.manifest.collaboration)
            policy += f"; ranking {ranking}"
        if violations:
            write_page(self.run_dir, self.scenario, self.script, history, violations)
        verdict = judge(
            self.scenario,
            self.script,
            history,
            expected,
            violations,
            place=place,
            policy=policy,
            k=settings.device.k,
            state_kib=result.state_kib,
            failures=[*troubles, *replay_failures(result)],
        )
        write_verdict(self.run_dir, verdict)
        return verdict

    def _expected(self) -> Expected:
        settings, manifest = self.settings, self.bundle.manifest
        schedule = build_schedule(self.log, self.split, settings.replay, seed=settings.seed)
        users, due = np.unique(schedule.user, return_counts=True)
        return Expected(
            due=dict(zip(users.tolist(), due.tolist(), strict=True)),
            bundle_id=self.bundle.id,
            gamma_max=manifest.calibration.gamma_max,
            deadline_s=settings.device.link.deadline_s,
            breaker_open_s=settings.device.link.breaker_open_s,
            retry_after_s=RETRY_AFTER_S,
            quiet=tuple(self.script.quiet_after()),
            ttl_s=settings.cloud.snapshot_ttl_s,
        )
