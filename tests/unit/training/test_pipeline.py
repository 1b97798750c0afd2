from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cloud_service.embedding.hashing import HashingEmbedder
from device_runtime.settings import BUDGETED
from scalrec.settings import Settings, load_settings
from shared.errors import DataError, EmbedderUnavailable
from shared.progress import NullProgress, NullTask, Task
from tests.support.logs import drifting_log
from tests.support.tiers import first_quick
from training.train import train
from training.trained import TrainedModel

STAGES = [
    "items", "backbone", "abstracts", "student", "projector", "words", "fusion", "calibration",
    "refresh",
]  # fmt: skip
LOG = drifting_log()


def settings_for(folder: Path, **training: object) -> Settings:
    small = {
        "dim": 16, "layers": 1, "epochs": 1, "restart_epochs": 1, "test_steps": 2,
        "validation_steps": 1, "calibration_steps": 2, "abstracts_per_user": 6,
        "semantic_epochs": 2, "calibration_epochs": 2, "top_l": 5, "threads": 1,
    }  # fmt: skip
    return load_settings(
        work_dir=folder / "runs",
        cache=folder / "cache",
        profile={"window": 8, "local_candidates": 0},
        embedder={"backend": "hashing", "model": "hashing-32", "batch_size": 16},
        cloud={"candidates": 10},
        training=small | training,
    )


def weights(trained: TrainedModel) -> dict[str, torch.Tensor]:
    modules = {
        "encoder": trained.backbone.model,
        "table": trained.backbone.table,
        "projector": trained.projector.projector,
        "estimator": trained.calibration.estimator,
        "calibrator": trained.calibration.calibrator,
    }
    found = {f"{n}.{k}": v for n, m in modules.items() for k, v in m.state_dict().items()}
    if trained.projector.vectors is not None:
        found["semantic.vectors"] = trained.projector.vectors
    if trained.student is not None:
        words = trained.student.weights
        found |= {
            f"student.{name}": torch.from_numpy(getattr(words, name).astype(np.float32))
            for name in ("codes", "scale", "bias")
        }
        found["student.out_scale"] = torch.tensor(words.out_scale)
    return found


async def test_second_run_reuses_every_stage_and_gives_the_same_model(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    first = await train(settings, LOG, HashingEmbedder(32))
    second = await train(settings, LOG, HashingEmbedder(32))
    assert first.reused == ()
    assert set(second.reused) == set(STAGES) - {"words"}, "they are read where something is built"
    assert list(first.stage_seconds) == STAGES
    assert first.figures == second.figures
    assert first.refresh == second.refresh
    assert first.refresh is not None
    scored = set(BUDGETED) - {"random"}
    assert first.refresh.call_rates.keys() == scored
    a, b = weights(first), weights(second)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)
    for module in (second.backbone.model, second.projector.projector):
        assert not module.training
    assert second.calibration.gaps == first.calibration.gaps
    assert first.popularity.sum() == (LOG.counts() - 3).sum()  # two test steps, one validation


async def test_a_backbone_of_ids_alone_reads_no_text(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, item_start="random")
    first = await train(settings, LOG, HashingEmbedder(32))
    other_text = await train(settings, LOG, HashingEmbedder(24))
    assert "backbone" in other_text.reused
    assert "items" not in other_text.reused
    other_log = await train(settings, drifting_log(seed=1), HashingEmbedder(32))
    assert "backbone" not in other_log.reused
    with_text = await train(settings_for(tmp_path), LOG, HashingEmbedder(32))
    assert "backbone" not in with_text.reused
    ours, theirs = (trained.backbone.table.state_dict() for trained in (first, with_text))
    assert not torch.equal(ours["vectors"], theirs["vectors"])


@pytest.mark.slow
async def test_same_seed_gives_the_same_weights_from_scratch(tmp_path: Path) -> None:
    one = weights(await train(settings_for(tmp_path / "a"), LOG, HashingEmbedder(32)))
    two = weights(await train(settings_for(tmp_path / "b"), LOG, HashingEmbedder(32)))
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize(
    ("changed", "kept"),
    first_quick(
        [
            ({"layers": 2}, ["items", "abstracts"]),
            ({"gamma_max": 1.0}, STAGES[:7]),
            ({"own_counts": False}, STAGES[:6]),
            ({"semantic_epochs": 1}, [*STAGES[:4], "words"]),
            ({"abstracts_per_user": 5}, STAGES[:2]),
            ({"test_steps": 3}, ["items"]),
        ]
    ),
)
async def test_a_changed_setting_redoes_only_what_depends_on_it(
    tmp_path: Path, changed: dict[str, object], kept: list[str]
) -> None:
    await train(settings_for(tmp_path), LOG, HashingEmbedder(32))
    again = await train(settings_for(tmp_path, **changed), LOG, HashingEmbedder(32))
    assert set(again.reused) == set(kept)


@pytest.mark.slow
async def test_another_log_or_force_redoes_everything(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    await train(settings, LOG, HashingEmbedder(32))
    other = await train(settings, drifting_log(seed=1), HashingEmbedder(32))
    assert other.reused == ("items",)  # the same texts
    forced = await train(settings, LOG, HashingEmbedder(32), force=True)
    assert forced.reused == ()


async def test_test_events_do_not_influence_the_model(tmp_path: Path) -> None:
    changed = drifting_log()
    ends = changed.user_start[1:]
    for back in (1, 2):
        changed.item[ends - back] = 0
    one = await train(settings_for(tmp_path / "a"), LOG, HashingEmbedder(32))
    two = await train(settings_for(tmp_path / "b"), changed, HashingEmbedder(32))
    a, b = weights(one), weights(two)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert one.figures == two.figures


@pytest.mark.parametrize("has_time", first_quick([True, False]))
@pytest.mark.parametrize("returns", [True, False])
async def test_every_kind_of_log_trains(tmp_path: Path, has_time: bool, returns: bool) -> None:
    log = drifting_log(has_time=has_time, returns=returns)
    trained = await train(settings_for(tmp_path), log, HashingEmbedder(32))
    assert trained.repeat_policy == ("allow" if returns else "exclude")
    assert all(np.isfinite(value) for value in trained.figures.values())
    assert 0 < trained.figures["validation_full_fused"] <= 1


async def test_a_log_too_small_to_train_on_says_so(tmp_path: Path) -> None:
    tiny = drifting_log(users=3, events=2)
    with pytest.raises(DataError, match="can be tested"):
        await train(settings_for(tmp_path), tiny, HashingEmbedder(32))


class Failing(HashingEmbedder):
    """Answers a few batches, then goes away."""

    def __init__(self, answers: int) -> None:
        super().__init__(32)
        self.answers = answers

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.answers -= 1
        if self.answers < 0:
            raise EmbedderUnavailable("connection refused")
        return await super().embed(texts)


async def test_a_run_resumes_where_the_embedder_went_away(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    with pytest.raises(EmbedderUnavailable, match="connection refused"):
        await train(settings, LOG, Failing(answers=4))
    resumed = await train(settings, LOG, HashingEmbedder(32))
    assert set(resumed.reused) == {"items", "backbone"}


async def test_a_damaged_embedding_cache_is_reported_and_rebuilt(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    settings.cache.mkdir()
    (settings.cache / "embeddings.sqlite").write_bytes(b"garbage" * 1000)
    trained = await train(settings, LOG, HashingEmbedder(32))
    of_split, of_cache = trained.notes
    assert "the split is per user" in of_split
    assert "embeddings.sqlite.damaged-1" in of_cache


class Watched(NullProgress):
    """Notes labels, and lets a test act when a named task begins to advance."""

    def __init__(self, at: str = "") -> None:
        self.labels: list[str] = []
        self.at, self.reached = at, threading.Event()

    @contextmanager
    def task(self, label: str, total: int | None = None) -> Iterator[Task]:
        self.labels.append(label)
        watched = self

        class Noting(NullTask):
            def advance(self, amount: int = 1, note: str = "") -> None:
                if label == watched.at:
                    watched.reached.set()

        yield Noting()


async def test_progress_names_every_long_step(tmp_path: Path) -> None:
    progress = Watched()
    await train(settings_for(tmp_path), LOG, HashingEmbedder(32), progress=progress)
    assert progress.labels == [
        "embedding items",
        "training the backbone",
        "embedding abstracts",
        "encoding histories",
        "fitting the text student",
        "fitting the projector",
        "fitting the calibrator",
        "embedding consecutive abstracts",
        "learning when to refresh",
    ]


@pytest.mark.parametrize("where", first_quick(["training the backbone", "fitting the projector"]))
async def test_cancelling_stops_the_work_and_leaves_no_half_stage(
    tmp_path: Path, where: str
) -> None:
    long = {"epochs": 50} if where == "training the backbone" else {"semantic_epochs": 500}
    settings = settings_for(tmp_path, **long)
    progress = Watched(where)
    run = asyncio.create_task(train(settings, LOG, HashingEmbedder(32), progress=progress))
    await asyncio.to_thread(progress.reached.wait, 60)
    threads = threading.active_count()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert progress.reached.is_set()
    assert threading.active_count() <= threads
    left = {path.name.split("-")[0] for path in (settings.work_dir / "stages").iterdir()}
    finished = STAGES[:1] if where == "training the backbone" else STAGES[:4]
    assert left == set(finished)
