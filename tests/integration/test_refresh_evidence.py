"""What the gain of a refresh is learned from is what a device sees and answers.

The device runs the exported bundle on snapshots with the very embeddings that training has.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from cloud_service.embedding.hashing import HashingEmbedder
from device_runtime.abstract.writer import TemplateAbstract
from device_runtime.cloud.link import CloudLink
from device_runtime.cloud.transport import TransportResponse
from device_runtime.device import Device
from device_runtime.models import DeviceModels
from device_runtime.refresh.policy import RefreshState
from device_runtime.refresh.quadratic_gain import FEATURES
from device_runtime.settings import LinkSettings
from device_runtime.state.history import RequestContext
from loadtest.evaluation.target_rank import target_rank
from scalrec.settings import Settings, load_settings
from shared.metrics import as_ranks, ndcg
from shared.progress import NullProgress, NullTask
from shared.snapshot import Snapshot, encode
from tests.support.logs import drifting_log
from tests.support.tiers import first_quick
from tests.support.transports import ScriptedTransport, SentRequest
from tests.support.twins import COUNTS
from training.calibration.pairs import Pairs
from training.export.export import export_bundle
from training.fusion.fit import FittedFusion
from training.refresh.evidence import features, gains
from training.refresh.stage import with_refreshes
from training.run import TrainingRun
from training.semantic.anchors import stale_anchors, write_abstracts
from training.semantic.embedding_cache import EmbeddingCache
from training.semantic.requests import make_requests
from training.stages.store import StageStore
from training.train import train
from training.twin import make_twin

LOG = drifting_log(users=20, events=30)
GAPS = (1, 4, 9)
CANDIDATES = 30  # enough to fill an answer without items the user has seen


def settings_of(folder: Path, policy: str, local_candidates: int) -> Settings:
    return load_settings(
        work_dir=folder / "runs",
        cache=folder / "cache",
        log={"repeat_policy": policy},
        profile={"window": 8, "local_candidates": local_candidates},
        cloud={"candidates": CANDIDATES},
        training={
            "dim": 16, "layers": 1, "epochs": 1, "restart_epochs": 0, "test_steps": 3,
            "validation_steps": 1, "calibration_steps": 2, "abstracts_per_user": 6,
            "semantic_epochs": 1, "calibration_epochs": 1, "top_l": 8, "threads": 1,
        },
    )  # fmt: skip


class Spy:
    """Notes what the device would tell its policy."""

    compares_rankings = True
    seen: RefreshState | None = None

    def wants_refresh(self, state: RefreshState) -> bool:
        self.seen = state
        return False


@pytest.mark.parametrize(
    ("policy", "local_candidates"), first_quick([("allow", 10), ("allow", 0), ("exclude", 0)])
)
async def test_features_and_gains_are_the_devices(
    policy: Literal["allow", "exclude"], local_candidates: int, tmp_path: Path
) -> None:
    torch.set_num_threads(1)
    settings = settings_of(tmp_path, policy, local_candidates)
    embedder = HashingEmbedder(32)
    with EmbeddingCache(tmp_path / "embeddings.sqlite") as cache:
        store = StageStore(tmp_path / "stages")
        run = TrainingRun(settings, LOG, embedder, cache, store, NullProgress())
        # So little is learned here that the weights of a score may well be chosen 0.
        weighed = FittedFusion(counts=COUNTS, text_weight=0.4, fusion_weight=0.8)
        trained = await with_refreshes(run, replace(await run.all(), fusion=weighed))
    bundle = await asyncio.to_thread(
        export_bundle, trained, tmp_path / "bundle", settings, created="2024", version="1"
    )
    steps = trained.split.validation()
    anchors = stale_anchors(steps, GAPS)
    writer = TemplateAbstract(LOG.catalogue, settings.abstract.form)
    text = await embedder.embed(write_abstracts(LOG, anchors, writer, settings.profile))
    with torch.no_grad():
        e_sem = trained.projector.projector(torch.from_numpy(text))
    requests = make_requests(
        trained.backbone.model, trained.backbone.table, run.steps.events, anchors
    )
    twin = make_twin(settings, trained, requests, e_sem, run.words_at(trained, anchors))
    fresh = anchors.find(steps.user, steps.step)
    stale = [anchors.find(steps.user, steps.step.astype(int) - gap) for gap in GAPS]
    pairs = Pairs(np.tile(fresh, len(GAPS)), np.concatenate(stale))
    known, gained = features(twin, pairs, NullTask()), gains(twin, pairs, NullTask())

    models = DeviceModels.load(bundle)
    assert models.gain is not None

    async def ask(row: int, tau_row: int) -> tuple[RefreshState, float]:
        """State and NDCG@10 of the device at anchor ``row`` with the snapshot of ``tau_row``."""
        user, step, tau = int(anchors.user[row]), int(anchors.tau[row]), int(anchors.tau[tau_row])
        snapshot = Snapshot(
            user="ann",
            tau=tau,
            created_ms=1,
            bundle_id=bundle.id,
            e_sem=e_sem[tau_row].numpy(),
            items=twin.candidates[tau_row].numpy().astype(np.int32),
            scores=np.linspace(1, 0, CANDIDATES, dtype=np.float32),
        )

        def cloud(sent: SentRequest) -> TransportResponse:
            return TransportResponse(200, {}, encode(snapshot))

        spy = Spy()
        device = Device("ann", models, writer, policy=spy, digest=writer.digest())
        hours = LOG.local_hour_of_week()
        start = int(LOG.user_start[user])
        assert LOG.time is not None
        for at in range(step + 1):
            event = start + at
            context = RequestContext(float(LOG.time[event]), float(hours[event]))
            if at == tau:
                link = CloudLink(ScriptedTransport([cloud]), LinkSettings())
                await device.refresh(link, context)
                assert device.snapshot is not None
            if at < step:
                device.observe(int(LOG.item[event]), context.time, context.hour_of_week)
        response = device.request(context)
        device.wants_refresh()
        assert spy.seen is not None
        rank = target_rank(response.candidates, response.scores, int(LOG.item[start + step]))
        return spy.seen, float(ndcg(as_ranks(*rank), 10))

    differ = 0
    for place in range(0, len(pairs), 3):
        row, tau_row = int(pairs.fresh[place]), int(pairs.stale[place])
        state, held = await ask(row, tau_row)
        _, best = await ask(row, row)
        assert state.cues is not None
        ours = np.array([*state.cues, state.r, state.inconsistency])
        np.testing.assert_allclose(ours[:-1], known[place, :-1], atol=2e-4, err_msg=str(FEATURES))
        differ += not np.isclose(ours[-1], known[place, -1], atol=0.3, equal_nan=True)
        differ += not np.isclose(best - held, gained[place], atol=1e-6)
        assert np.isfinite(models.gain.expected_gain(state))
    # Scores a rounding apart may change places.
    assert differ <= 0.05 * len(pairs)
    assert np.count_nonzero(gained) > 0.1 * len(gained), "the comparison would see a difference"


@pytest.mark.slow
async def test_a_log_too_short_to_learn_gains_from_trains_all_the_same(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    log = drifting_log(users=20, events=14)
    settings = load_settings(
        work_dir=tmp_path / "runs",
        cache=tmp_path / "cache",
        profile={"window": 8, "local_candidates": 0},
        cloud={"candidates": 15},
        training={
            "dim": 16, "layers": 1, "epochs": 1, "restart_epochs": 0, "semantic_epochs": 1,
            "calibration_epochs": 1, "top_l": 8, "threads": 1,
            # Of three training events none can be spared.
            "calibration_steps": 0,
        },
    )  # fmt: skip
    trained = await train(settings, log, HashingEmbedder(32))
    assert trained.refresh is not None
    assert trained.refresh.gain is None
    assert "expected-gain" not in trained.refresh.call_rates
    bundle = await asyncio.to_thread(
        export_bundle, trained, tmp_path / "bundle", settings, created="2024", version="1"
    )
    assert DeviceModels.load(bundle).gain is None
