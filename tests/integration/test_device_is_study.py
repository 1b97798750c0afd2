"""What a device does through ONNX is what the experiments score: the same ranks and the same cues.

``training.study`` ranks thousands of requests at once with torch; paper mode asks the device's own
ranking, with the graphs of an exported bundle. Both see the same snapshots here.
"""

from __future__ import annotations

import asyncio
import dataclasses
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from numpy.typing import NDArray

from cloud_service.embedding.hashing import HashingEmbedder
from device_runtime.abstract import TemplateAbstract
from device_runtime.cues import CUES
from loadtest.evaluation_models import EvaluationModels
from loadtest.paper import run_paper
from scalrec.settings import Settings, load_settings
from shared.interactions import InteractionLog
from shared.progress import NullProgress
from tests.support.logs import drifting_log
from training.age_rules import AgeRule
from training.anchors import Anchors, stale_anchors, write_abstracts
from training.export import export_bundle
from training.pairs import pairs_at_gap
from training.pipeline import events_of, sessions_of, train
from training.requests import make_requests
from training.study import _structural_of, _Study
from training.trained import TrainedModel

GAPS = (0, 1, 5, 12)
RULES = (
    AgeRule(0, 1.0, True, 1.0, True),
    AgeRule(4, 0.75, True, 0.5, True),
    AgeRule(9, 1.5, False, 0.25, True),
)
SCORERS = {"structure": "rank_structure", "stale": "rank_uncalibrated"}
VARIANTS = {
    "context": {},
    "paper": {"proposal": "paper", "gate": False, "ignored_cues": ("elapsed", "turn", "moved")},
    "gate alone": {"residual": False},
    "context without gate": {"gate": False},
}


def with_sessions(log: InteractionLog) -> InteractionLog:
    place = np.arange(len(log)) - np.repeat(log.user_start[:-1], log.counts())
    return dataclasses.replace(log, session=place // 7)


LOGS = {
    "breaks": drifting_log(users=20, events=30),
    "sessions": with_sessions(drifting_log(users=20, events=30)),
    "no times": drifting_log(users=20, events=30, has_time=False),
    "no returns": drifting_log(users=20, events=30, returns=False),
}
CASES = [
    *(("context", name) for name in LOGS),
    *((variant, "breaks") for variant in VARIANTS if variant != "context"),
]


@dataclass(frozen=True)
class GivenSnapshots:
    """Snapshots with the embeddings that the study has at its anchors."""

    anchors: Anchors
    embedding: NDArray[np.float32]
    best: NDArray[np.int64]
    models: EvaluationModels

    def e_sem(self, user: int, tau: int) -> NDArray[np.float32]:
        row = int(self.anchors.find(np.array([user]), np.array([tau]))[0])
        assert row >= 0
        found: NDArray[np.float32] = self.embedding[row]
        return found

    def candidates(
        self, e_sem: NDArray[np.float32]
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        scores = self.models.table.products(e_sem)
        best = np.argsort(-scores, kind="stable")[: self.best.shape[1]].astype(np.int32)
        return best, scores[best]


def settings_of(folder: Path, variant: str) -> Settings:
    return load_settings(
        work_dir=folder / "runs",
        cache=folder / "cache",
        profile={"window": 8},
        cloud={"candidates": 15},
        paper={"gaps": GAPS, "steps": 3},
        training={
            "dim": 16, "layers": 1, "epochs": 1, "restart_epochs": 0, "test_steps": 3,
            "validation_steps": 1, "calibration_steps": 2, "abstracts_per_user": 6,
            "semantic_epochs": 1, "calibration_epochs": 1, "top_l": 8, "threads": 1,
        }
        | VARIANTS[variant],
    )  # fmt: skip


def noticeable(trained: TrainedModel) -> TrainedModel:
    """The networks with weights that matter, whatever one epoch has learnt, under real rules."""
    rng = torch.Generator().manual_seed(0)
    fitted = trained.calibration
    for layer in (fitted.calibrator.residual, fitted.calibrator.gate):
        if layer is not None:
            with torch.no_grad():
                layer.weight.normal_(0.0, 0.5, generator=rng)
    projector = replace(trained.projector, fusion_weight=0.8)
    calibration = replace(fitted, gamma_max=5.0, rules=RULES)
    return replace(trained, projector=projector, calibration=calibration)


@pytest.mark.parametrize(("variant", "log_name"), CASES)
def test_ranks_and_cues_are_the_studys(variant: str, log_name: str, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    log, settings = LOGS[log_name], settings_of(tmp_path, variant)
    embedder = HashingEmbedder(32)
    trained = noticeable(asyncio.run(train(settings, log, embedder)))
    steps = trained.split.last_test(3)
    anchors = stale_anchors(steps, GAPS)
    writer = TemplateAbstract(log.catalogue, settings.abstract.form)
    texts = write_abstracts(log, anchors, writer, settings.profile)
    with torch.no_grad():
        text = torch.from_numpy(asyncio.run(embedder.embed(texts)))
        e_sem = trained.projector.projector(text)
    requests = make_requests(
        trained.backbone.model,
        trained.backbone.table,
        events_of(log),
        anchors,
        None,
        sessions_of(log),
    )
    own = pairs_at_gap(anchors, steps, 0).fresh
    twin = _structural_of(trained.backbone, requests, own)
    study = _Study(settings, trained, trained.calibration, requests, twin, e_sem, steps)
    expected = {key: found for *key, found in study.ranks(NullProgress()) for key in [tuple(key)]}

    bundle = export_bundle(trained, tmp_path / "bundle", settings, created="2024", version="1")
    models = EvaluationModels.load(bundle)
    assert models.proposes_from == trained.calibration.calibrator.inputs
    source = GivenSnapshots(anchors, e_sem.numpy(), study.candidates.numpy(), models)
    rows = pl.read_parquet(
        run_paper(tmp_path, log, steps, models, source, gaps=GAPS)  # same order as the steps
    )
    differ = 0
    for report in study.reports:
        gap, pairs = report.gap, report.pairs
        at = rows.filter(setting="S2", gap=gap)
        np.testing.assert_array_equal(at["user"], anchors.user[pairs.fresh])
        np.testing.assert_array_equal(at["step"], anchors.tau[pairs.fresh])
        for name in ("delta", "drift", "omega"):
            wanted = report.cues[:, CUES.index(name)].numpy()
            np.testing.assert_allclose(at[name], wanted, atol=2e-5, err_msg=name)
        np.testing.assert_allclose(at["r"], report.r.numpy(), atol=2e-5)
        moved = report.cues[:, CUES.index("moved")].numpy() > 0
        np.testing.assert_array_equal(at["trust"], [report.rule.at(bool(m))[0] for m in moved])
        corrects = np.array([report.rule.at(bool(m))[1] for m in moved])
        assert (at["de_norm"].to_numpy()[~corrects] == 0).all()
        assert (at["de_norm"].to_numpy()[corrects] > 0).all()
        bound = 5.0 * at["alpha"].to_numpy()
        assert (at["de_norm"].to_numpy() <= bound * (1 + 1e-6) + 1e-9).all()
        for scorer, column in (SCORERS | {"calibrated": "rank_calibrated"}).items():
            ours, theirs = at[column].to_numpy(), expected["S2", gap, scorer]
            np.testing.assert_array_equal(np.isinf(ours), np.isinf(theirs))
            finite = np.isfinite(ours)
            gone = np.abs(ours[finite] - theirs[finite])
            assert (gone <= 1).all(), (scorer, gap)  # scores a rounding apart may change places
            differ += np.count_nonzero(gone)
    ranked = len(steps) * len(GAPS) * 3
    assert differ <= 0.01 * ranked
    calibrated, stale = rows["rank_calibrated"], rows["rank_uncalibrated"]
    assert (calibrated != stale).sum() > 0.05 * len(rows), "the comparison would see a difference"
