"""The process of one cell: ``python -m experiments.worker FOLDER`` (see ``experiments.jobs``)."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from cloud_service.embedding.base import Embedder
from cloud_service.embedding.factory import create_embedder
from experiments import jobs
from experiments.cell_store import CellInfo, CellStore, finite
from experiments.cells import relevant
from experiments.lazy_embedder import lazy_embedder
from experiments.provenance import machine
from experiments.record import CellRun
from experiments.settings import CellSettings
from experiments.study import checked, find_study
from shared.errors import DataError, EmbedderUnavailable, ScalrecError
from shared.progress import Task

REPORT_EVERY_S = 0.5
EXIT_FAILED = 2


class FileProgress:
    """The Progress seam written to a file for the runner; the innermost task is what is shown."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: list[_FileTask] = []
        self._last = 0.0

    @contextmanager
    def task(self, label: str, total: int | None = None) -> Iterator[Task]:
        task = _FileTask(self, label, total)
        self._open.append(task)
        self.report(now=True)
        try:
            yield task
        finally:
            self._open.remove(task)
            self.report(now=True)

    def report(self, *, now: bool = False) -> None:
        if not self._open or (not now and time.monotonic() - self._last < REPORT_EVERY_S):
            return
        self._last = time.monotonic()
        task = self._open[-1]
        stage = jobs.StageProgress(label=task.label, done=task.done, total=task.total)
        jobs.send(self._folder, jobs.PROGRESS, stage)


class _FileTask:
    def __init__(self, owner: FileProgress, label: str, total: int | None) -> None:
        self._owner, self.label, self.total, self.done = owner, label, total, 0

    def advance(self, amount: int = 1, note: str = "") -> None:
        self.done += amount
        self._owner.report()


async def compute(folder: Path) -> None:
    """Compute the job's cell and store it.

    Raises:
        DataError: no job, the log is not what the runner read, or the study's result is unusable.
        ScalrecError: from the study.
    """
    job = jobs.receive(folder, jobs.JOB, jobs.Job)
    if job is None:
        raise DataError("no job", folder / jobs.JOB)
    planned = job.planned()
    settings = planned.settings
    study, progress = find_study(job.study), FileProgress(folder)
    started, clock = datetime.now(UTC), time.monotonic()
    # Imported here: they load torch, which must find its thread settings in the environment.
    from training.background import in_thread
    from training.data.registry import load_log
    from training.semantic.inside import embedding_inside
    from training.tuning.stage import with_tuned_model

    log = await in_thread(
        lambda stoppable: load_log(settings.log, cache=settings.cache, progress=stoppable), progress
    )
    settings = await with_tuned_model(settings, log, progress)
    async with aclosing(_embedder(embedding_inside(settings), folder)) as embedder:
        result = checked(await study(settings, log, embedder, progress=progress))
    run = CellRun(
        profile=job.profile,
        variant=job.variant,
        seed=job.seed,
        started=started.isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - clock, 1),
        revision=job.revision,
        code=job.code,
        machine=machine(),
        threads=job.threads,
    )
    info = CellInfo(
        log=job.log,
        experiment=job.experiment,
        key=job.key,
        run=run,
        settings=relevant(planned.settings, job.sections),
        extras=finite(result.extras),
    )
    CellStore(job.store).write(planned, info, result)


def _embedder(settings: CellSettings, folder: Path) -> Embedder:
    wanted, threads = settings.embedder, settings.training.threads

    async def start(model_dir: Path) -> Embedder:
        if wanted.backend == "transformers":
            return create_embedder(wanted, model_dir=model_dir, threads=threads)
        jobs.send(folder, jobs.WANTED, jobs.Wanted(model=wanted.model))
        served = await jobs.await_message(folder, jobs.SERVED, jobs.EmbedderAnswer)
        if served.url is None:
            raise EmbedderUnavailable(served.error)
        return create_embedder(wanted, model_dir=model_dir, url=served.url)

    return lazy_embedder(settings, start)


def main(arguments: list[str]) -> int:
    try:
        asyncio.run(compute(Path(arguments[0])))
    except ScalrecError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201
        return EXIT_FAILED
    return 0


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # see scalrec/__main__.py
    sys.exit(main(sys.argv[1:]))
