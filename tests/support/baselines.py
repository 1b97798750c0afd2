"""Baselines fitted on an invented log, and the requests they are asked about."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cloud_service.embedding.hashing import HashingEmbedder
from experiments.studies.rq1.worlds import fitting_of, world_of
from scalrec.settings import Settings, load_settings
from shared.interactions import InteractionLog
from shared.progress import NullProgress
from shared.split import Steps
from training.baselines.base import Fitting, World
from training.run import TrainingRun
from training.semantic.embedding_cache import EmbeddingCache
from training.stages.store import StageStore

TEST_STEPS, GAPS = 3, (0, 5)


def settings_for(folder: Path, policy: str = "auto") -> Settings:
    return load_settings(
        work_dir=folder / "runs",
        cache=folder / "cache",
        log={"repeat_policy": policy},
        profile={"window": 8, "local_candidates": 0},
        cloud={"candidates": 10},
        paper={"steps": TEST_STEPS, "gaps": GAPS},
        training={
            "dim": 16, "layers": 1, "epochs": 2, "restart_epochs": 0, "test_steps": TEST_STEPS,
            "validation_steps": 2, "calibration_steps": 2, "abstracts_per_user": 6,
            "semantic_epochs": 1, "calibration_epochs": 1, "top_l": 5, "threads": 1,
        },
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Trial:
    """A product trained on a log: what baselines are fitted with, and the test requests."""

    fitting: Fitting
    world: World
    steps: Steps

    async def world_after(self, log: InteractionLog) -> World:
        """The same requests, asked by the same networks, in a log that went on otherwise."""
        run = self.fitting.run
        other = TrainingRun(run.settings, log, run.embedder, run.cache, run.store, run.progress)
        return (await world_of(other, self.fitting.trained))[0]


@asynccontextmanager
async def trial(
    folder: Path, log: InteractionLog, epochs: int = 2, policy: str = "auto"
) -> AsyncIterator[Trial]:
    """On ``log``; stages that another trial in ``folder`` has trained are read."""
    with cache_in(folder) as cache:
        yield await trial_with(cache, folder, log, epochs, policy)


async def trial_with(
    cache: EmbeddingCache,
    folder: Path,
    log: InteractionLog,
    epochs: int = 2,
    policy: str = "auto",
) -> Trial:
    """As ``trial``, with a cache that several share."""
    settings = settings_for(folder, policy)
    store = StageStore(settings.work_dir / "stages")
    run = TrainingRun(settings, log, HashingEmbedder(32), cache, store, NullProgress())
    trained = await run.all()
    fitting = await fitting_of(run, trained, most_epochs=epochs)
    world, steps = await world_of(run, trained)
    return Trial(fitting, world, steps)


@contextmanager
def cache_in(folder: Path) -> Iterator[EmbeddingCache]:
    """What trials in ``folder`` share."""
    with EmbeddingCache(settings_for(folder).cache / "embeddings.sqlite") as cache:
        yield cache
