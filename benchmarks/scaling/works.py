"""The works whose growth is measured: each is laid out at a size, and can then be called."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch

from benchmarks.scaling.curve import Along
from benchmarks.scaling.invented import invented_events, trained_bundle, written_log
from benchmarks.scaling.measured import Work
from device_runtime.abstract.writer import TemplateAbstract
from device_runtime.device import Device
from device_runtime.models import DeviceModels
from device_runtime.state.cached_snapshot import CachedSnapshot
from device_runtime.state.history import RequestContext
from loadtest.replay.profile_figures import cache_holding, plausible_snapshot
from scalrec.log_checks import log_checks
from shared.bundle import Bundle
from shared.snapshot import Snapshot, decode, encode
from shared.split import split_log
from training.backbone.batches import training_windows, windows_before
from training.backbone.evaluate import target_ranks
from training.backbone.fit import BackboneFit, BackboneOptions, Cycle
from training.backbone.item_table import ItemParameters
from training.calibration.pairs import top_candidates
from training.data.registry import load_log
from training.encoders.sasrec import SASRecConfig
from training.export.onnx_graphs import export_encoder
from training.options import FULL_SOFTMAX_ITEMS, SAMPLED_NEGATIVES
from training.settings import LogSettings

DIM, WINDOW, WINDOWS, CANDIDATES = 64, 50, 32, 100
EVENTS = 20  # of a user, where users are what grows
TARGETS = 64  # requests that are ranked among all items at once
USERS, ITEMS = 200, 2_000  # where they are not what grows
SIZES: dict[Along, tuple[int, ...]] = {
    "items": (1_000, 5_600, 32_000, 178_000, 1_000_000),
    "users": (1_000, 3_200, 10_000, 32_000, 100_000),
    "window": (10, 25, 50, 100, 200),
    "candidates": (50, 100, 200, 400),
}


@dataclass(frozen=True)
class Measurable:
    """One work; ``lay_out`` makes it ready at a size."""

    along: Along
    name: str
    told: str
    lay_out: Callable[[int], Work]


def works(folder: Path) -> list[Measurable]:
    """All of them; what they write goes to ``folder``."""
    devices = _Devices(folder)
    return [
        Measurable("items", "training step", _STEP, lambda n: _step(items=n)),
        Measurable(
            "items",
            "ranking a target among all",
            f"{TARGETS} held-out events, encoded and ranked among all items.",
            _ranking,
        ),
        Measurable(
            "items",
            "exact candidates",
            f"The best {CANDIDATES} items of {TARGETS} semantic embeddings, in training.",
            _candidates,
        ),
        Measurable(
            "users",
            "reading a log",
            f"A csv file of {EVENTS} events a user is read, checked, ordered and indexed.",
            lambda n: _reading(folder, n),
        ),
        Measurable(
            "users",
            "looking at a log",
            "Everything that `scalrec data show` says of a log once it is read.",
            lambda n: _looking(folder, n),
        ),
        Measurable(
            "users",
            "windows of an epoch",
            f"All training windows of {WINDOW} events of one pass.",
            _windows,
        ),
        Measurable("window", "training step", _STEP, lambda n: _step(window=n)),
        Measurable(
            "window",
            "encoding a request",
            "The exported encoder on a full window, one request, as on a device.",
            _Encoder().request,
        ),
        Measurable(
            "candidates",
            "request of a device",
            "`Device.request` on a full window, with calibration and re-retrieval.",
            devices.request,
        ),
        Measurable(
            "candidates", "snapshot codec", "A snapshot is encoded and decoded.", devices.codec
        ),
    ]


_STEP = (
    f"One step of the backbone's optimizer on {WINDOWS} windows; {SAMPLED_NEGATIVES:,} sampled "
    f"negatives from {FULL_SOFTMAX_ITEMS:,} items on, as in training."
)


def _step(*, items: int = ITEMS, window: int = WINDOW) -> Work:
    config = SASRecConfig(dim=DIM, window=window)
    options = BackboneOptions(
        cycles=(Cycle(epochs=1, learning_rate=1e-3),),
        batch_windows=WINDOWS,
        negatives=None if items <= FULL_SOFTMAX_ITEMS else SAMPLED_NEGATIVES,
    )
    events = invented_events(USERS, items, events=2 * window + 2)
    windows = training_windows(events, window, max(1, window // 2), np.random.default_rng(0))
    full = torch.nonzero(windows.length == window)[:WINDOWS, 0]
    batch = windows.rows(full)
    fit = BackboneFit(config.build().train(), ItemParameters(items, DIM), options, seed=0)
    return lambda: fit.learn(batch)


def _ranking(items: int) -> Work:
    events = invented_events(TARGETS, items)
    model, table = SASRecConfig(dim=DIM, window=WINDOW).build(), ItemParameters(items, DIM)
    last = events.user_start[1:] - 1
    return lambda: target_ranks(model, table, events, last)


def _candidates(items: int) -> Work:
    e_sem, vectors = torch.randn(TARGETS, DIM), torch.randn(items, DIM)
    return lambda: top_candidates(e_sem, vectors, CANDIDATES)


def _reading(folder: Path, users: int) -> Work:
    settings = LogSettings(path=written_log(folder / "log.csv", users, ITEMS, EVENTS))
    return lambda: load_log(settings, cache=folder)


def _looking(folder: Path, users: int) -> Work:
    log = load_log(
        LogSettings(path=written_log(folder / "log.csv", users, ITEMS, EVENTS)), cache=folder
    )
    split = split_log(log)
    return lambda: (log.describe(), log_checks(log, split))


def _windows(users: int) -> Work:
    events = invented_events(users, ITEMS, EVENTS)
    return lambda: training_windows(events, WINDOW, WINDOW // 2, np.random.default_rng(0))


class _Encoder:
    """One graph for all windows, exported when it is first needed: its length is dynamic."""

    def __init__(self) -> None:
        self._session: ort.InferenceSession | None = None

    def request(self, window: int) -> Work:
        session = self._made()
        events = invented_events(1, ITEMS, events=window + 1)
        last = np.array([window])
        row = windows_before(events, last, window, last)
        feeds = {
            "item_vectors": torch.randn(ITEMS, DIM)[row.item].numpy(),
            "age_hours": row.age_h.numpy(),
            "event_hour": row.hour.numpy(),
            "request_hour": row.request_hour.numpy(),
        }
        return lambda: session.run(None, feeds)

    def _made(self) -> ort.InferenceSession:
        if self._session is None:
            longest = SASRecConfig(dim=DIM, window=max(SIZES["window"]))
            options = ort.SessionOptions()
            options.intra_op_num_threads = 1
            self._session = ort.InferenceSession(
                export_encoder(longest.build().eval()), options, providers=["CPUExecutionProvider"]
            )
        return self._session


class _Devices:
    """One bundle for all numbers of candidates, trained when it is first needed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: Bundle | None = None

    def request(self, candidates: int) -> Work:
        bundle = self._bundle()
        models, catalogue = DeviceModels.load(bundle), bundle.catalogue()
        writer = TemplateAbstract(catalogue, bundle.manifest.abstract)
        e_str = np.zeros(models.dim, dtype=np.float32)
        cached = CachedSnapshot(_snapshot(bundle, candidates), e_str)
        cache = cache_holding(models, cached)
        device = Device("u", models, writer, cache=cache, digest=writer.digest())
        rng = np.random.default_rng(0)
        drawn = rng.integers(0, models.n_items, models.profile.window).tolist()
        for hour, item in enumerate(drawn):
            device.observe(item, 3600.0 * hour, float(hour % 168))
        moments = itertools.count(len(drawn))

        def ask() -> None:
            hour = next(moments)
            device.request(RequestContext(3600.0 * hour, float(hour % 168)))

        return ask

    def codec(self, candidates: int) -> Work:
        snapshot = _snapshot(self._bundle(), candidates)
        return lambda: decode(encode(snapshot))

    def _bundle(self) -> Bundle:
        if self._made is None:
            self._made = trained_bundle(self._folder, candidates=max(SIZES["candidates"]))
        return self._made


def _snapshot(bundle: Bundle, candidates: int) -> Snapshot:
    whole = plausible_snapshot(bundle, "u")
    return dataclasses.replace(
        whole, items=whole.items[:candidates], scores=whole.scores[:candidates]
    )
