"""The main job from end to end: data, training, cloud, fleet, evidence, report."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from cloud_service.embedding.base import Embedder
from loadtest.replay.profile_figures import ProfileFigures, measure_profile
from loadtest.replay.replay import ReplayResult
from loadtest.replay.run_info import StageRecord, describe_run, write_run_info
from loadtest.replay.soundness import replay_failures, replay_notes
from reports.marked import marked
from reports.run_report import report_run
from reports.summary.build import read_summary
from reports.terminal import print_summary
from scalrec.console import ConsoleProgress, StageTimes, print_log, print_verdict
from scalrec.folders import point_latest
from scalrec.jobs.enough import require_enough
from scalrec.jobs.evidence import collect_evidence, embed_evidence
from scalrec.jobs.exporting import exported
from scalrec.jobs.prepared import read_log
from scalrec.jobs.replaying import replay_over_http, replay_virtually
from scalrec.jobs.run_folder import run_folder
from scalrec.settings import Settings
from scalrec.stack.cloud_stack import running_cloud
from scalrec.stack.embedder_server import ServedEmbedder
from scalrec.stack.embedders import embedders
from scalrec.stack.greeting import greet
from scalrec.stack.live_view import Live
from scalrec.stack.readiness import Readiness
from scalrec.stack.watch import Watch
from shared.bundle import Bundle
from shared.interactions import InteractionLog
from shared.progress import Progress
from shared.split import Split
from training.train import train
from training.trained import TrainedModel
from training.tuning.stage import with_tuned_model

SETUP_VARIABLE = "SCALREC_STARTED_AT"  # set by `make demo`: when the whole command began


@dataclass
class Simulation:
    """One run: its settings, its folder, and what it has spent where.

    Attributes:
        notes, failures: what the run says of itself; with a failure its figures are not to be
            trusted.
    """

    settings: Settings
    console: Console
    allow_fallback: bool
    live: Live | None = None
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    times: StageTimes = field(default_factory=StageTimes)
    reused: set[str] = field(default_factory=set)
    device_figures: ProfileFigures | None = None
    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.progress: Progress = ConsoleProgress(self.console)
        if self.live is not None:
            self.progress = self.live.progress(self.progress)
        if began := os.environ.get(SETUP_VARIABLE):
            seconds = max(0.0, time.time() - float(began))
            self.times.began -= seconds
            self.times.add("environments", seconds)

    async def run(self) -> Path:
        """Do everything; returns the run folder, which ``latest`` then points at.

        Raises:
            ScalrecError: whatever part failed, with what to do. Children are stopped either way.
        """
        settings = self.settings
        with self.times.stage("log"):
            log = await read_log(settings, self.progress)
        print_log(self.console, log)
        self.notes += require_enough(log, settings)
        if settings.embedder.lora is not None:
            with self.times.stage("tuning the text model"):
                settings = self.settings = await with_tuned_model(settings, log, self.progress)
        with run_folder(settings.work_dir, settings.log.name, self.started) as run_dir:
            await self._run(settings, log, run_dir)
        return run_dir

    async def _run(self, settings: Settings, log: InteractionLog, run_dir: Path) -> None:
        async with AsyncExitStack() as stack:
            found = await stack.enter_async_context(
                embedders(
                    settings,
                    serves=settings.replay.clock == "wall",
                    logs=run_dir / "logs",
                    progress=self.progress,
                    console=self.console,
                    allow_fallback=self.allow_fallback,
                )
            )
            self.times.add("embedder start", found.training.seconds_to_ready)
            # On all cores, however many fitting, which gains little from a second one, is to have.
            client = await stack.enter_async_context(aclosing(found.training.connect()))
            trained = await self._train(log, client)
            bundle = await self._export(trained)
            # Before anything is timed: a server that starts takes a core.
            with self.times.stage("embedder start"):
                served = await found.serving()
            self.device_figures = await asyncio.to_thread(measure_profile, bundle)
            # Already now, so that records a killed run leaves behind can be reported on.
            self._describe(log, trained.split, bundle, served, run_dir)
            await self._evidence(log, trained.split, bundle, client, run_dir)
            with self.times.stage("cloud start and replay"):
                result = await self._replay(log, trained.split, bundle, served, client, run_dir)
            self.notes += replay_notes(result)
            self.failures += replay_failures(result)
        self._report(log, trained.split, bundle, served, run_dir)

    async def _train(self, log: InteractionLog, client: Embedder) -> TrainedModel:
        settings, progress = self.settings, self.progress

        async def evidence(split: Split) -> None:
            steps, form = split.last_test(settings.paper.steps), settings.abstract.form
            await embed_evidence(settings, log, steps, client, form=form, progress=progress)

        trained = await train(settings, log, client, progress=progress, afterwards=evidence)
        for name, seconds in trained.stage_seconds.items():
            self.times.add(f"train: {name}", seconds)
        self.reused |= {f"train: {name}" for name in trained.reused}
        self.notes += trained.notes
        return trained

    async def _export(self, trained: TrainedModel) -> Bundle:
        with self.times.stage("export"):
            bundle, unchanged = await exported(trained, self.settings, self.progress)
        if unchanged:
            self.reused.add("export")
        return bundle

    async def _evidence(
        self, log: InteractionLog, split: Split, bundle: Bundle, client: Embedder, run_dir: Path
    ) -> None:
        store = await collect_evidence(
            self.settings, log, split, bundle, client, run_dir, progress=self.progress
        )
        self.times.add("controlled staleness", store.seconds["evidence"])
        if store.reused:
            self.reused.add("controlled staleness")

    async def _replay(
        self,
        log: InteractionLog,
        split: Split,
        bundle: Bundle,
        served: ServedEmbedder,
        client: Embedder,
        run_dir: Path,
    ) -> ReplayResult:
        feed = None
        if self.live is not None:
            feed = self.live.feed(log, split, bundle.manifest, run_dir, self.started)
        if self.settings.replay.clock == "virtual":
            return await replay_virtually(
                self.settings,
                log,
                split,
                bundle,
                client,
                run_dir,
                progress=self.progress,
                feed=feed,
            )
        async with running_cloud(
            self.settings, bundle.path, served, logs=run_dir / "logs", progress=self.progress
        ) as cloud:
            await greet(cloud.settings, cloud.url, bundle.id)
            embedder = {} if served.process is None else {"embedder": served.process}
            async with (
                Readiness(cloud.url, bundle.id) as readiness,
                Watch(lambda: cloud.children | embedder, readiness) as watch,
            ):
                result = await replay_over_http(
                    cloud.settings,
                    log,
                    split,
                    bundle,
                    cloud.url,
                    run_dir,
                    progress=self.progress,
                    feed=feed,
                    cloud_there=watch.cloud_there,
                )
            self.failures += watch.troubles
            return result

    def _describe(
        self,
        log: InteractionLog,
        split: Split,
        bundle: Bundle,
        served: ServedEmbedder,
        run_dir: Path,
    ) -> None:
        stages = [
            StageRecord(name=n, seconds=s, reused=n in self.reused)
            for n, s in self.times.seconds.items()
        ]
        info = describe_run(
            log,
            bundle.manifest,
            self.settings,
            split=split,
            served_by=served.settings.backend,
            requested_backend=self.settings.embedder.backend,
            started=self.started.isoformat(timespec="seconds"),
            stages=stages,
            fallback_reason=served.fallback_reason,
            device_figures=self.device_figures,
        )
        told = {"run_notes": tuple(self.notes), "run_failures": tuple(self.failures)}
        write_run_info(run_dir, info.model_copy(update=told))

    def _report(
        self,
        log: InteractionLog,
        split: Split,
        bundle: Bundle,
        served: ServedEmbedder,
        run_dir: Path,
    ) -> None:
        self._describe(log, split, bundle, served, run_dir)
        with self.times.stage("summary and report"):
            path = report_run(run_dir)
            summary = read_summary(run_dir)
        if self.live is not None:
            self.live.end()
        latest = point_latest(self.settings.work_dir, run_dir)
        print_summary(summary, self.console)
        print_verdict(self.console, self.notes, self.failures)
        self.times.print(self.console)
        self.console.print(
            marked(
                "\n[bold green]Report[/]  {}\n[dim]        {}/summary.json holds every figure[/]",
                path.absolute(),
                latest,
            ),
            soft_wrap=True,
            highlight=False,
        )
