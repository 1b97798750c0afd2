"""Cells in processes of their own, several at a time; the end of one loses only that one."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from experiments import jobs
from experiments.cell_store import CellStore
from experiments.cells import Cell, PlannedCell
from experiments.servers import SharedServers
from launch.process import ChildProcess
from shared.errors import ScalrecError

POLL_S = 0.3
GRACE_S = 5.0


class Overview(Protocol):
    """Who is told how far a run is."""

    def started(self, cell: Cell) -> None: ...

    def stage(self, cell: Cell, stage: jobs.StageProgress) -> None: ...

    def finished(self, cell: Cell, seconds: float) -> None: ...

    def failed(self, cell: Cell, reason: str) -> None: ...


@dataclass(frozen=True)
class Runner:
    """Runs cells that are not finished yet.

    Attributes:
        store: where finished cells go.
        experiment: its name, noted in each cell.
        study: which computes a cell, see ``experiments.study``.
        processes: cells computed at the same time.
        threads: of each cell's process.
        revision, code: noted in each cell.
        scratch: folder for messages and logs of the processes.
    """

    store: CellStore
    experiment: str
    study: str
    servers: SharedServers
    overview: Overview
    processes: int
    threads: int
    revision: str | None
    code: str
    scratch: Path
    _failed: dict[Cell, str] = field(default_factory=dict)

    async def run(self, cells: Sequence[PlannedCell]) -> dict[Cell, str]:
        """Compute all cells; returns those that failed, and why.

        Cells of one lane run one after the other, in order. Cancelled, it stops every process.
        """
        lanes: dict[tuple[str, str, int], list[PlannedCell]] = {}
        for planned in cells:
            lanes.setdefault(planned.cell.lane, []).append(planned)
        waiting = iter(list(lanes.values()))

        async def work() -> None:
            for lane in waiting:  # shared by all workers: each takes the next one
                for planned in lane:
                    await self._run_cell(planned)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self.processes):
                    group.create_task(work())
        finally:
            await self.servers.aclose()
        return dict(self._failed)

    async def _run_cell(self, planned: PlannedCell) -> None:
        cell = planned.cell
        self.scratch.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f"{cell.variant}-{cell.seed}-", dir=self.scratch))
        jobs.send(folder, jobs.JOB, self._job(planned))
        process = ChildProcess(
            f"the process of {cell}",
            [sys.executable, "-m", "experiments.worker", str(folder)],
            log=folder / "log.txt",
            env=os.environ
            | jobs.secrets_environment(planned.settings)
            | {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": str(self.threads)},
            grace_s=GRACE_S,
        )
        self.overview.started(cell)
        started = time.monotonic()
        try:
            process.start()
            await self._attend(planned, folder, process)
        except ScalrecError as error:
            self._fail(cell, str(error))
            return
        finally:
            self.servers.release(cell)
            await process.stop()
        if process.returncode == 0 and self.store.find(planned) is not None:
            shutil.rmtree(folder, ignore_errors=True)
            self.overview.finished(cell, time.monotonic() - started)
        else:
            self._fail(cell, f"exit code {process.returncode}\n{process.log_tail()}")

    async def _attend(self, planned: PlannedCell, folder: Path, process: ChildProcess) -> None:
        """Pass on what the process reports and give it a server if it asks, until it ends."""
        served = False
        while process.running:
            stage = jobs.receive(folder, jobs.PROGRESS, jobs.StageProgress)
            if stage is not None:
                self.overview.stage(planned.cell, stage)
            wanted = None if served else jobs.receive(folder, jobs.WANTED, jobs.Wanted)
            if wanted is not None:
                served = True
                self.overview.stage(
                    planned.cell, jobs.StageProgress(label="starting the text model")
                )
                jobs.send(folder, jobs.SERVED, await self._serve(planned, wanted))
            await asyncio.sleep(POLL_S)

    async def _serve(self, planned: PlannedCell, wanted: jobs.Wanted) -> jobs.EmbedderAnswer:
        embedder = planned.settings.embedder.model_copy(
            update={"model": wanted.model, "lora": None}
        )
        settings = planned.settings.model_copy(update={"embedder": embedder})
        try:
            return jobs.EmbedderAnswer(url=await self.servers.url(settings, planned.cell))
        except ScalrecError as error:
            return jobs.EmbedderAnswer(error=str(error))

    def _job(self, planned: PlannedCell) -> jobs.Job:
        cell = planned.cell
        return jobs.Job(
            experiment=self.experiment,
            log=cell.log,
            profile=cell.profile,
            variant=cell.variant,
            seed=cell.seed,
            key=planned.key,
            settings=jobs.without_secrets(planned.settings),
            sections=planned.sections,
            threads=self.threads,
            study=self.study,
            store=self.store.root.absolute(),
            revision=self.revision,
            code=self.code,
        )

    def _fail(self, cell: Cell, reason: str) -> None:
        self._failed[cell] = reason
        self.overview.failed(cell, reason)
