"""One small model as the study ranks with it and as a device does, on the same snapshots."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from cloud_service.embedding.hashing import HashingEmbedder
from device_runtime.abstract.writer import TemplateAbstract
from device_runtime.device import Device
from device_runtime.models import DeviceModels
from device_runtime.ranking.encoded import Encoded
from device_runtime.state.cached_snapshot import CachedSnapshot
from experiments.studies.scalrec.dense_ranks import DenseRanks
from experiments.studies.scalrec.rules_by_setting import Rules
from experiments.studies.scalrec.study import structural_of
from loadtest.evaluation.evaluation_models import EvaluationModels
from loadtest.evaluation.log_requests import LogRequests
from loadtest.evaluation.target_rank import target_rank
from loadtest.replay.item_pages import ItemPages
from loadtest.replay.profile_figures import cache_holding
from scalrec.settings import Settings
from shared.bundle import AgeRule, Bundle
from shared.own_score import OwnCounts
from shared.packed import pack
from shared.progress import NullProgress
from shared.snapshot import Snapshot
from shared.text_student import StudentWeights
from training.backbone.batches import events_of, sessions_of
from training.calibration.fit import FittedCalibration
from training.calibration.networks import Calibrator, Estimator
from training.calibration.pairs import Pairs, pairs_at_gap
from training.export.onnx_graphs import export_graph
from training.fusion.fit import FittedFusion
from training.semantic.anchors import stale_anchors, write_abstracts
from training.semantic.requests import make_requests
from training.student.bags import student_bags
from training.student.fit import FittedStudent
from training.trained import TrainedModel
from training.twin import make_twin

Floats = NDArray[np.float64]
Policy = Literal["allow", "exclude"]
GAMMA_MAX = 5.0
RULES = (
    AgeRule(from_delta=0, weight=1.0, correct=True, moved_weight=1.0, moved_correct=True),
    AgeRule(from_delta=4, weight=0.75, correct=True, moved_weight=0.5, moved_correct=True),
    AgeRule(from_delta=9, weight=1.5, correct=False, moved_weight=0.25, moved_correct=True),
)


DISCOUNT = (AgeRule(from_delta=0, weight=0.5, correct=False, moved_correct=False),)
COUNTS = OwnCounts(weight=0.6, scale=2.0, half_life=4.0)


@dataclass(frozen=True)
class Parts:
    """What a bundle holds beyond the paper's.

    Attributes:
        vectors: item vectors of the semantic channel's own.
        counts: of all own events.
        words: a text student; ``read``: which the calibrator reads too; ``judged``: by which the
            estimator judges the snapshot.
    """

    vectors: bool = False
    counts: bool = False
    words: bool = False
    read: bool = True
    judged: bool = False


def noticeable(trained: TrainedModel) -> TrainedModel:
    """The networks with weights that matter, whatever one epoch has learnt, under real rules.

    Item vectors become such as int8 holds exactly: devices that keep them packed then have the
    same ones as torch. The semantic channel has its own, and the student of words says something.
    """
    rng = torch.Generator().manual_seed(0)
    table = trained.backbone.table.requires_grad_(False)
    moved = torch.randn(table.vectors.shape, generator=rng) * table.vectors.std()
    semantic = (table.vectors + moved).numpy()
    rows, bias = pack(table.vectors.numpy(), table.bias.numpy(), semantic).unpack()
    vectors, semantic = np.split(rows, 2, axis=1)
    with torch.no_grad():
        table.vectors.copy_(torch.from_numpy(vectors.copy()))
        table.bias.copy_(torch.from_numpy(bias))
    projector = replace(trained.projector, vectors=torch.from_numpy(semantic.copy()))
    student = trained.student
    assert student is not None
    student = replace(student, weights=_wordy(student))
    fitted = trained.calibration
    calibration = replace(fitted, calibrator=decided(fitted.calibrator))
    calibration = replace(calibration, gamma_max=GAMMA_MAX, rules=RULES)
    return replace(trained, projector=projector, student=student, calibration=calibration)


def _wordy(student: FittedStudent) -> StudentWeights:
    """Every word says something, e_text being about as long as a bag of weights allows."""
    rows, dim = student.weights.codes.shape
    rng = np.random.default_rng(0)
    return StudentWeights(
        codes=rng.integers(-127, 128, (rows, dim)).astype(np.int8),
        scale=rng.uniform(0.2, 1.0, rows).astype(np.float16),
        bias=rng.normal(0.0, 0.1, dim).astype(np.float32),
        out_scale=0.01,
    )


def decided(calibrator: Calibrator) -> Calibrator:
    """With proposals that are far from nothing."""
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for layer in (calibrator.residual, calibrator.gate):
            if layer is not None:
                layer.weight.normal_(0.0, 0.5, generator=rng)
    return calibrator


def with_parts(trained: TrainedModel, parts: Parts, calibration: FittedCalibration) -> TrainedModel:
    """The model with some of its parts alone; the weights of a score are given, not chosen."""
    return replace(
        trained,
        projector=trained.projector if parts.vectors else replace(trained.projector, vectors=None),
        student=trained.student if parts.words else None,
        fusion=FittedFusion(
            counts=COUNTS if parts.counts else None,
            text_weight=0.4 if parts.words else 0.0,
            fusion_weight=0.8,
        ),
        calibration=calibration,
    )


def judging_by_words(fitted: FittedCalibration) -> FittedCalibration:
    """The calibration with an estimator that reads words beside the cues, and heeds them most."""
    torch.manual_seed(0)
    old, new = fitted.estimator, Estimator(words=True).eval().requires_grad_(False)
    new.mean[:-1], new.scale[:-1] = old.mean, old.scale
    new.scale[-1] = 5.0
    return replace(fitted, estimator=new)


def reading(fitted: FittedCalibration, inputs: tuple[str, ...], *, dim: int) -> FittedCalibration:
    """The calibration with a calibrator that reads these inputs, of ``dim`` numbers each."""
    old = fitted.calibrator
    if old.inputs == inputs:
        return fitted
    torch.manual_seed(0)
    gate, residual = old.gate is not None, old.residual is not None
    new = Calibrator(dim, inputs, gate=gate, residual=residual).eval().requires_grad_(False)
    return replace(fitted, calibrator=decided(new), tried=None)


def studied(settings: Settings, trained: TrainedModel) -> DenseRanks:
    """The study of the last ``paper.steps`` test steps."""
    log, steps = trained.log, trained.split.last_test(settings.paper.steps)
    anchors, profile = stale_anchors(steps, settings.paper.gaps), settings.profile
    writer = TemplateAbstract(log.catalogue, settings.abstract.form)
    texts = write_abstracts(log, anchors, writer, profile)
    with torch.no_grad():
        text = torch.from_numpy(asyncio.run(HashingEmbedder(32).embed(texts)))
        e_sem = trained.projector.projector(text)
    backbone, student = trained.backbone, trained.student
    requests = make_requests(
        backbone.model, backbone.table, events_of(log), anchors, None, sessions_of(log)
    )
    words = None
    if student is not None:
        rows = len(student.weights.codes)
        bags = student_bags(log, anchors, settings.abstract.form, profile, rows=rows)
        words = torch.from_numpy(student.embed(bags))
    twin = make_twin(settings, trained, requests, e_sem, words)
    second = structural_of(backbone, requests, pairs_at_gap(anchors, steps, 0).fresh)
    same = Rules(calibrated=RULES, discount=DISCOUNT, wordless=DISCOUNT)
    rules = dict.fromkeys(("S1", "S2", "full", "device"), same)
    return DenseRanks(settings, trained, trained.calibration, twin, requests, second, rules, steps)


def study_ranks(
    study: DenseRanks, settings: Collection[str] | None = None
) -> dict[tuple[str, int, str], Floats]:
    """Expected ranks [R] by setting, gap and scorer."""
    found = study.ranks(NullProgress(), settings)
    return {(setting, gap, scorer): r["expected"] for setting, gap, scorer, r in found}


@dataclass(frozen=True)
class GivenSnapshots:
    """Snapshots with the embeddings that the study has at its anchors."""

    study: DenseRanks
    models: EvaluationModels

    def e_sem(self, user: int, tau: int) -> NDArray[np.float32]:
        anchors = self.study.twin.requests.anchors
        row = int(anchors.find(np.array([user]), np.array([tau]))[0])
        assert row >= 0
        found: NDArray[np.float32] = self.study.twin.e_sem[row].numpy()
        return found

    def candidates(
        self, e_sem: NDArray[np.float32]
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        scores = self.models.table.products(semantic=e_sem)
        count = self.study.twin.candidates.shape[1]
        best = np.argsort(-scores, kind="stable")[:count].astype(np.int32)
        return best, scores[best]


@dataclass(frozen=True, slots=True)
class Answered:
    """What a device said at one request: ranks of the target, and what calibration saw.

    ``student`` is by the device's own score, as studies call it.
    """

    calibrated: float
    stale: float
    student: float
    omega: float
    r: float
    ranked: int


class ExportedOnce:
    """``export_graph`` that exports each network once: bundles share what they have in common."""

    def __init__(self) -> None:
        self._done: dict[int, tuple[nn.Module, bytes]] = {}

    def __call__(self, module: nn.Module, *args: Any) -> bytes:
        if id(module) not in self._done:  # kept with the module, so that its id stays its own
            self._done[id(module)] = module, export_graph(module, *args)
        return self._done[id(module)][1]


class ShippedDevices:
    """Devices of an exported bundle at the requests of a study, each replayed from its events."""

    def __init__(self, study: DenseRanks, bundle: Bundle) -> None:
        self._study, self._bundle, self._log = study, bundle, study.trained.log
        self._models = DeviceModels.load(bundle)
        self._requests = LogRequests(self._log, EvaluationModels.load(bundle))
        self._pages = ItemPages(bundle) if self._models.table is None else None
        self._encoded: dict[tuple[int, int], Encoded | None] = {}

    def limited(self, **limits: object) -> ShippedDevices:
        """The same devices under a profile that differs in what is ranked."""
        others = copy.copy(self)
        others._models = copy.copy(self._models)
        others._models.profile = self._models.profile.model_copy(update=limits)
        return others

    def answers(
        self, pairs: Pairs, *, k: int, listed: NDArray[np.int64] | None = None
    ) -> list[Answered]:
        """One answer per pair, of ``k`` items.

        Args:
            listed: [P] rows whose candidates the snapshot holds; its own when None.
        """
        listed = pairs.stale if listed is None else listed
        triples = zip(pairs.fresh.tolist(), pairs.stale.tolist(), listed.tolist(), strict=True)
        return [self._answer(now, self._cached(then, of), k) for now, then, of in triples]

    def alone(self, rows: NDArray[np.int64], *, k: int) -> list[Answered]:
        """One answer per request, of ``k`` items, by devices that never had a snapshot."""
        return [self._answer(row, None, k) for row in rows.tolist()]

    def _answer(self, row: int, cached: CachedSnapshot | None, k: int) -> Answered:
        anchors, requests = self._study.twin.requests.anchors, self._requests
        user, step = int(anchors.user[row]), int(anchors.tau[row])
        cache = None if cached is None else cache_holding(self._models, cached)
        writer = TemplateAbstract(self._log.catalogue, self._models.manifest.abstract)
        device = Device("u", self._models, writer, cache=cache, digest=writer.digest())
        for place in range(step):
            item, event = requests.target(user, place), requests.context(user, place)
            page = None if self._pages is None else self._pages.page(item)
            device.observe(item, event.time, event.hour_of_week, page)
        context, target = requests.context(user, step), requests.target(user, step)
        said = device.request(context, k=k)
        device.calibrate = False
        plain = device.request(context, k=k)
        return Answered(
            calibrated=target_rank(said.candidates, said.scores, target).expected,
            stale=target_rank(plain.candidates, plain.scores, target).expected,
            student=target_rank(said.candidates, said.structural, target).expected,
            omega=said.diagnostics.omega,
            r=said.diagnostics.r,
            ranked=len(said.candidates),
        )

    def _cached(self, row: int, listed: int) -> CachedSnapshot:
        twin = self._study.twin
        user, tau = int(twin.requests.anchors.user[row]), int(twin.requests.anchors.tau[row])
        if (user, tau) not in self._encoded:
            self._encoded |= {(user, t): now for t, now in self._requests.encode(user, [tau])}
        then = self._encoded[user, tau]
        assert then is not None
        items = twin.candidates[listed].numpy().astype(np.int32)
        scores = (twin.requests.semantics[items] @ twin.e_sem[row]).numpy()
        packed = None if self._pages is None else self._pages.packed.take(items)
        snapshot = Snapshot(
            user="u",
            tau=tau,
            created_ms=1,
            bundle_id=self._bundle.id,
            e_sem=twin.e_sem[row].numpy(),
            items=items,
            scores=scores,
            vectors=packed,
        )
        return CachedSnapshot(snapshot, then.e_str)
