"""What a device ranks collaboratively is what the LSC4Rec study scores, request by request.

The study fuses a generator's lists with the encoder's scores in torch; the device gets these lists
as snapshots and encodes through the ONNX file of an exported bundle.
"""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cloud_service.embedding.hashing import HashingEmbedder
from device_runtime.abstract.writer import TemplateAbstract
from device_runtime.cloud.snapshot_cache import MemorySnapshotCache
from device_runtime.device import Device
from device_runtime.models import DeviceModels
from device_runtime.ranking.list_fusion import fused
from device_runtime.ranking.response import Response
from device_runtime.state.cached_snapshot import CachedSnapshot
from device_runtime.state.cues import inconsistency
from device_runtime.state.history import RequestContext
from experiments.studies.lsc4rec.device_model import independent_srm
from experiments.studies.lsc4rec.lists import Listed, candidate_lists
from experiments.studies.lsc4rec.requesting import inconsistencies
from loadtest.evaluation.target_rank import target_rank
from scalrec.settings import Settings, load_settings
from shared.bundle import CollaborationSpec
from shared.interactions import InteractionLog
from shared.progress import NullProgress
from shared.snapshot import Snapshot
from tests.support.logs import drifting_log
from tests.support.tiers import first_quick
from tests.support.twins import COUNTS
from training.collaboration.adaptive import ADAPTIVE_STEPS, ADAPTIVE_TRANSITIONS
from training.collaboration.reranking import Reranker
from training.export.export import export_bundle
from training.fusion.fit import FittedFusion
from training.run import TrainingRun
from training.semantic.embedding_cache import EmbeddingCache
from training.stages.store import StageStore
from training.train import train

LENGTH, LATE = 12, 2
SHARES = (0.0, 0.2, 0.65, 1.0)


def settings_of(folder: Path, window: int) -> Settings:
    return load_settings(
        work_dir=folder / "runs",
        cache=folder / "cache",
        # The list alone, as in the study.
        profile={"window": window, "unite_history": False, "local_candidates": 0},
        cloud={"candidates": LENGTH},
        generative={"epochs": 2, "codes": 4, "history": 6},
        lsc4rec={"lists": (6, LENGTH)},
        paper={"steps": 3},
        training={
            "dim": 16, "layers": 1, "epochs": 2, "restart_epochs": 0, "test_steps": 3,
            "validation_steps": 1, "calibration_steps": 1, "abstracts_per_user": 4,
            "semantic_epochs": 1, "calibration_epochs": 1, "top_l": 5, "threads": 1,
        },
    )  # fmt: skip


async def study_of(settings: Settings, log: InteractionLog) -> tuple[Reranker, Listed]:
    """The study's re-ranker on its test requests."""
    with EmbeddingCache(settings.cache / "embeddings.sqlite") as cache:
        store = StageStore(settings.work_dir / "stages")
        run = TrainingRun(settings, log, HashingEmbedder(32), cache, store, NullProgress())
        device = await independent_srm(run)
        _, listed, _ = await candidate_lists(run)
        srms = {"independent": device.srm}
        exclude = run.policy == "exclude"
        chosen = settings.lsc4rec
        return Reranker(
            srms=srms, asked=listed.test, lists=listed.of_test, chosen=chosen, exclude_seen=exclude
        ), listed


def asked_device(
    log: InteractionLog,
    models: DeviceModels,
    user: int,
    step: int,
    held: Snapshot,
    spec: CollaborationSpec,
) -> Response:
    """What a device that met the user's first ``step`` events, asked before each of the latest,
    answers at the next one's moment."""
    cache = MemorySnapshotCache()
    cache._entries[str(user), models.bundle_id] = CachedSnapshot(held, None)
    writer = TemplateAbstract(log.catalogue)
    device = Device(
        str(user), models, writer, cache=cache, collaboration=spec, digest=writer.digest()
    )
    hours, start = log.local_hour_of_week(), int(log.user_start[user])
    times = [None] * len(log) if log.time is None else log.time.astype(float).tolist()

    def ask(row: int) -> Response:
        # k = 0: too few candidates are not filled up from elsewhere.
        return device.request(RequestContext(times[row], float(hours[row])), k=0)

    for row in range(start, start + step):
        if spec.adaptation_rate and row >= start + step - spec.adaptation_transitions:
            ask(row)
        device.observe(int(log.item[row]), times[row], float(hours[row]))
    return ask(start + step)


@pytest.mark.parametrize(
    ("returns", "rate"),
    first_quick([(True, 0.3), (False, 0.0)]),
    ids=["repeats allowed, adapting", "repeats excluded, as trained"],
)
def test_scores_ranks_and_inconsistency_are_the_studys(
    returns: bool, rate: float, tmp_path: Path
) -> None:
    torch.set_num_threads(1)
    log = drifting_log(users=16, events=16, items=40, returns=returns)
    settings = settings_of(tmp_path, window=8)
    study, listed = asyncio.run(study_of(settings, log))
    assert study.exclude_seen is not returns
    # What a device adds to structure elsewhere is in the bundle, and takes no part here.
    weighed = FittedFusion(counts=COUNTS, text_weight=0.4, fusion_weight=0.8)
    trained = replace(asyncio.run(train(settings, log, HashingEmbedder(32))), fusion=weighed)
    bundle = export_bundle(trained, tmp_path / "bundle", settings, created="2024", version="1")
    models, asked = DeviceModels.load(bundle), listed.test
    e_sem = np.ones(models.dim, np.float32)  # takes no part
    ranked = differ = swapped = 0
    for place, share in itertools.product(((LENGTH, LATE), (6, LATE), (LENGTH, 0)), SHARES):
        n, gap = place
        lists, plain = listed.of_test[gap].first(n), study.plain("independent", place)
        rerank = study.adapted("independent", place, rate) if rate else plain
        assert rate == 0.0 or np.abs(rerank - plain).max() > 0.01
        allowed = study.allowed[gap][:, :n]
        spec = CollaborationSpec(
            initial_share=share,
            adaptation_rate=rate,
            adaptation_steps=ADAPTIVE_STEPS,
            adaptation_transitions=ADAPTIVE_TRANSITIONS,
        )
        scores = fused(study.initial(place), rerank, share, allowed)
        ranks = study.ranks(scores, place)["expected"]
        moved = inconsistencies(lists, plain, allowed)
        for row in range(len(asked)):
            user, step, items = int(asked.user[row]), int(asked.step[row]), lists.items[row]
            tau = max(1, step - gap)
            held = Snapshot(
                user=str(user),
                tau=tau,
                created_ms=0,
                bundle_id=bundle.id,
                e_sem=e_sem,
                items=items,
                scores=lists.scores[row],
            )
            response = asked_device(log, models, user, step, held, spec)
            order = np.argsort(items)
            at = order[allowed[row][order]]  # of the study's list, in the device's order
            np.testing.assert_array_equal(response.candidates, items[at])
            np.testing.assert_allclose(response.scores, scores[row, at], atol=2e-4)
            c = inconsistency(items, response.candidates, response.structural)
            swapped += abs(c - moved[row]) > 1e-9
            rank = target_rank(response.candidates, response.scores, int(asked.target[row]))
            rank = rank.expected
            if np.isinf(ranks[row]):
                assert np.isinf(rank)
                continue
            ranked += 1
            differ += rank != ranks[row]
            assert abs(rank - ranks[row]) <= 1  # scores a rounding apart may change places
    assert ranked > 50
    assert differ <= 0.02 * ranked
    assert swapped <= 0.02 * len(SHARES) * 3 * len(asked)
