"""The device's request path against the same path in eager torch, and against ONNX alone."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.timing import BenchmarkLine, interleaved
from device_runtime.abstract.writer import TemplateAbstract
from device_runtime.device import Device
from device_runtime.models import DeviceModels
from device_runtime.ranking.candidates import build_pool
from device_runtime.ranking.encoded import encode
from device_runtime.ranking.fusion import fuse
from device_runtime.ranking.own_terms import OwnState
from device_runtime.ranking.scoring import score
from device_runtime.ranking.semantic import rank_with_snapshot
from device_runtime.state.cached_snapshot import CachedSnapshot
from device_runtime.state.cues import CUES
from device_runtime.state.features import SECONDS_PER_HOUR, TimeFeatures
from device_runtime.state.history import History, RequestContext
from device_runtime.state.lapse import SessionCount, lapse_since
from loadtest.replay.item_pages import ItemPages
from loadtest.replay.profile_figures import cache_holding, plausible_snapshot
from shared.bundle import Bundle
from shared.interactions import InteractionLog
from training.trained import TrainedModel

Floats = NDArray[np.float32]
CORRECTION_ALLOWANCE_US = 100.0
CORRECTED_DELTA = 5  # events since the snapshot


class TorchModels(DeviceModels):
    """DeviceModels whose three networks are the trained torch modules, run eagerly."""

    def __init__(self, bundle: Bundle, trained: TrainedModel) -> None:
        super().__init__(bundle)
        self._torch_encoder = trained.backbone.model
        self._torch_estimator = trained.calibration.estimator
        self._torch_calibrator = trained.calibration.calibrator

    @torch.inference_mode()
    def encode(self, vectors: Floats, times: TimeFeatures) -> tuple[Floats, Floats]:
        e_str, copy_logit = self._torch_encoder(
            torch.from_numpy(vectors)[None],
            torch.from_numpy(times.age_hours)[None],
            torch.from_numpy(times.event_hour)[None],
            torch.tensor([times.request_hour]),
        )
        return e_str[0].numpy(), copy_logit[0].numpy()

    @torch.inference_mode()
    def reliability(
        self, cues: Floats, *, e_sem: Floats | None = None, e_text: Floats | None = None
    ) -> float:
        known = {"cues": cues, "e_sem": e_sem, "e_text": e_text}
        parts = (torch.tensor(known[name])[None] for name in self._torch_estimator.inputs)
        return float(self._torch_estimator(*parts)[0])

    @torch.inference_mode()
    def propose(
        self,
        *,
        e_sem: Floats,
        e_str: Floats,
        e_str_tau: Floats | None,
        recent: Floats | None,
        cues: Floats,
        e_text: Floats | None = None,
    ) -> Floats:
        tau = e_str if e_str_tau is None else e_str_tau
        known = {
            "e_sem": e_sem,
            "e_str": e_str,
            "e_str_tau": tau,
            "recent": recent,
            "e_text": e_text,
            "cues": cues,
        }
        parts = (torch.tensor(known[name])[None] for name in self.proposes_from)
        values: Floats = self._torch_calibrator(*parts)[0].numpy()
        return values


class OnnxOnly:
    """The network calls of one request, with inputs made beforehand: the limit of the path."""

    def __init__(self, models: DeviceModels, length: int) -> None:
        rng = np.random.default_rng(0)
        self._models = models
        self._vectors = rng.standard_normal((length, models.dim), dtype=np.float32)
        hours = rng.uniform(0, 168, length).astype(np.float32)
        ages = np.sort(rng.uniform(0, 1000, length).astype(np.float32))[::-1].copy()
        self._times = TimeFeatures(ages, hours, 12.0)
        self._cues = np.ones(len(CUES), dtype=np.float32)
        self._e_sem = rng.standard_normal(models.dim, dtype=np.float32)

    def __call__(self) -> None:
        e_str, _ = self._models.encode(self._vectors, self._times)
        self._models.reliability(self._cues, e_sem=self._e_sem, e_text=self._e_sem)
        self._models.propose(
            e_sem=self._e_sem,
            e_str=e_str,
            e_str_tau=e_str,
            recent=self._e_sem,
            cues=self._cues,
            e_text=self._e_sem,
        )


class RankingPath:
    """A device that encodes its full window and ranks a snapshot's candidates.

    Args:
        correct: with cues, estimator, calibrator and age rules; else it takes the stale snapshot
            at face value and knows nothing about it.
    """

    def __init__(self, models: DeviceModels, bundle: Bundle, *, correct: bool) -> None:
        rng = np.random.default_rng(0)
        self._models, self._vectors, self._correct = models, models.item_vectors(), correct
        self._history, self._sessions = History(models.profile.window), SessionCount()
        writer = TemplateAbstract(bundle.catalogue(), bundle.manifest.abstract)
        self._own = OwnState(models, writer.digest())
        pages = None if models.table is not None else ItemPages(bundle)
        for place, item in enumerate(rng.integers(0, models.n_items, models.profile.window)):
            self._history.append(int(item), 3600.0 * place, float(place % 168))
            self._sessions.observe(3600.0 * place)
            self._own.observe(int(item), float(place % 168))
            self._vectors.meet(int(item), None if pages is None else pages.page(int(item)))
        e_str = rng.standard_normal(models.dim, dtype=np.float32)
        cached = CachedSnapshot(plausible_snapshot(bundle, "bench"), e_str)
        self._vectors.offer(cached.snapshot)
        self._seen = self._history.distinct
        self._pool = build_pool(models, self._vectors, cached, self._seen)
        now = models.profile.window
        self._context = RequestContext(3600.0 * now, float(now % 168))
        self._delta = min(CORRECTED_DELTA, now)

    def __call__(self) -> None:
        models, pool = self._models, self._pool
        own = self._own.terms(self._context)
        encoded = encode(models, self._vectors, self._history, self._context, own)
        if encoded is None:
            raise RuntimeError("the benchmark's history cannot be encoded")
        if not self._correct:
            structural = score(self._vectors, pool.items, encoded).structural
            fuse(structural, pool.semantic, models.manifest.fusion_weight)
            return
        lapse = lapse_since(
            self._delta,
            self._history,
            self._sessions,
            self._context,
            has_time=models.manifest.has_time,
        )
        rank_with_snapshot(
            models,
            self._vectors,
            pool,
            encoded,
            self._seen,
            lapse=lapse,
            k=10,
            calibrate=True,
        )


def compare_device(
    log: InteractionLog, bundle: Bundle, trained: TrainedModel
) -> list[BenchmarkLine]:
    """Time the path of a device with a full window and a cached snapshot, on one thread."""
    torch.set_num_threads(1)
    onnx: DeviceModels = DeviceModels.load(bundle)
    eager: DeviceModels = TorchModels(bundle, trained)
    user = int(np.argmax(log.counts()))
    limit = OnnxOnly(onnx, onnx.profile.window)
    lines = [compare_correction(onnx, bundle)]
    pairs = [("device request", onnx, eager)]
    if onnx.profile.local_candidates:
        lean = "device request without re-retrieval"
        pairs.append((lean, without_retrieval(onnx), without_retrieval(eager)))
    for name, shipped, in_torch in pairs:
        ours = _Requests(log, shipped, bundle, user)
        theirs = _Requests(log, in_torch, bundle, user)
        against_torch, against_limit = interleaved(ours, theirs), interleaved(ours, limit)
        lines += [
            BenchmarkLine.timed(f"{name}, ONNX / eager torch", against_torch, "lower"),
            BenchmarkLine.timed(
                f"{name} / its ONNX calls alone", against_limit, "lower, 1 is the limit"
            ),
        ]
    return lines


def without_retrieval(models: DeviceModels) -> DeviceModels:
    """The same models on a device that re-retrieves nothing from its table."""
    lean = copy.copy(models)
    lean.profile = models.profile.model_copy(update={"local_candidates": 0})
    return lean


def compare_correction(models: DeviceModels, bundle: Bundle) -> BenchmarkLine:
    """What correcting adds to encoding and scoring, against what it may."""
    corrected, plain, _ = interleaved(
        RankingPath(models, bundle, correct=True), RankingPath(models, bundle, correct=False)
    )
    added = corrected - plain
    return BenchmarkLine(
        name="cues, estimator, calibrator and age rules / their allowance",
        ours=added,
        theirs=CORRECTION_ALLOWANCE_US,
        unit="µs",
        ratio=added / CORRECTION_ALLOWANCE_US,
        meaning="lower, 1 is the limit",
    )


class _Requests:
    """One device that answers and then observes, as in a replay."""

    def __init__(
        self, log: InteractionLog, models: DeviceModels, bundle: Bundle, user: int
    ) -> None:
        rows = log.events_of(user)
        hours = log.local_hour_of_week()[rows]
        times = np.zeros(len(hours)) if log.time is None else log.time[rows]
        items = log.item[rows].tolist()
        pages = None if models.table is not None else ItemPages(bundle)
        shown = [None if pages is None else pages.page(item) for item in items]
        events = list(zip(items, times.tolist(), hours.tolist(), shown, strict=True))
        e_str = np.random.default_rng(1).standard_normal(models.dim, dtype=np.float32)
        writer = TemplateAbstract(log.catalogue, bundle.manifest.abstract)
        self._device = Device(
            "bench",
            models,
            writer,
            digest=writer.digest(),
            cache=cache_holding(models, CachedSnapshot(plausible_snapshot(bundle, "bench"), e_str)),
        )
        for event in events:
            self._device.observe(*event)
        self._events = itertools.cycle(events)
        # Again and again, but never back in time: an event must not come before those known.
        span = float(times.max() - times.min()) + SECONDS_PER_HOUR
        self._later = (span * (n // len(events)) for n in itertools.count(len(events)))

    def __call__(self) -> None:
        item, time, hour, page = next(self._events)
        time += next(self._later)
        self._device.request(RequestContext(time, hour))
        self._device.observe(item, time, hour, page)
