"""A study's requests, answered by the twin many at once, against devices that answer one by one."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from benchmarks.timing import BenchmarkLine
from device_runtime.abstract.writer import TemplateAbstract
from device_runtime.device import Device
from device_runtime.models import DeviceModels
from device_runtime.state.cached_snapshot import CachedSnapshot
from device_runtime.state.history import RequestContext
from loadtest.replay.item_pages import ItemPages
from loadtest.replay.profile_figures import cache_holding, plausible_snapshot
from shared.bundle import Bundle
from shared.interactions import InteractionLog
from shared.metrics import Ranks
from shared.split import Steps
from training.backbone.batches import events_of, sessions_of
from training.calibration.pairs import Pairs, pairs_at_gap
from training.semantic.anchors import stale_anchors
from training.semantic.requests import Requests, make_requests
from training.settings import Recipe
from training.student.bags import student_bags
from training.trained import TrainedModel
from training.twin import Twin, make_twin

STEPS = 3  # last test steps of each user that the study ranks
DEVICES = 60  # that answer at the end of their users' histories
ROUNDS = 3


def compare_twin(settings: Recipe, trained: TrainedModel, bundle: Bundle) -> list[BenchmarkLine]:
    """Answers per second of processor time, each a calibrated ranking by a snapshot of some age.

    A study encodes every request and reads its abstract once, and then ranks it by snapshots of
    several ages, under several rules and for several opponents. So it is told twice: with all that
    is done once, by the paper's ages alone; and the ranking by itself, which is what grows with the
    questions of a study. A device does all of it at each request, as it has to.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        study, devices = StudyAnswers(settings, trained), ready_devices(trained.log, bundle)
        twin = study.encoded()
        study.answer(twin), answer_each(devices)
        rates = np.array(
            [
                [
                    _rate(lambda: study.answer(study.encoded())),
                    _rate(lambda: study.answer(twin)),
                    _rate(lambda: answer_each(devices)),
                ]
                for _ in range(ROUNDS)
            ]
        )
    finally:
        torch.set_num_threads(threads)
    whole, ranking, alone = np.median(rates, axis=0).tolist()
    ages = len(settings.paper.gaps)
    return [
        BenchmarkLine(
            name=f"{name} / devices one by one",
            ours=ours,
            theirs=alone,
            unit="requests/s",
            ratio=float(np.median(rates[:, place] / rates[:, 2])),
            meaning="higher",
        )
        for place, (name, ours) in enumerate(
            [
                (f"a study's requests, encoded and answered at {ages} ages by the twin", whole),
                ("a study's requests, once encoded, answered by the twin", ranking),
            ]
        )
    ]


class StudyAnswers:
    """What a study does for its answers, its snapshots' embeddings being at hand (random here)."""

    def __init__(self, settings: Recipe, trained: TrainedModel) -> None:
        self.settings, self.trained = settings, trained
        self.steps: Steps = trained.split.last_test(min(STEPS, settings.paper.steps))
        self.anchors = stale_anchors(self.steps, settings.paper.gaps)
        dim = trained.backbone.model.config.dim
        rng = torch.Generator().manual_seed(0)
        self.e_sem = torch.randn(len(self.anchors), dim, generator=rng)

    def encoded(self) -> Twin:
        """Structure and words of every request, and the candidates of every snapshot."""
        log, backbone = self.trained.log, self.trained.backbone
        requests = make_requests(
            backbone.model, backbone.table, events_of(log), self.anchors, None, sessions_of(log)
        )
        return make_twin(self.settings, self.trained, requests, self.e_sem, self._words(requests))

    def answer(self, twin: Twin) -> int:
        """Rank every step by a snapshot of every age; returns the number of answers."""
        found: list[Ranks] = []
        for gap in self.settings.paper.gaps:
            pairs: Pairs = pairs_at_gap(self.anchors, self.steps, gap)
            fused, _ = twin.trusted(twin.inputs(pairs))
            found += twin.ranks(pairs, fused)
        return sum(map(len, found))

    def _words(self, requests: Requests) -> Tensor | None:
        student = self.trained.student
        if student is None:
            return None
        bags = student_bags(
            self.trained.log,
            requests.anchors,
            self.settings.abstract.form,
            self.settings.profile,
            rows=len(student.weights.codes),
        )
        return torch.from_numpy(student.embed(bags))


Ready = tuple[Device, RequestContext]


def ready_devices(log: InteractionLog, bundle: Bundle) -> list[Ready]:
    """Devices that hold a snapshot and know all but their users' last event, and that moment."""
    models = DeviceModels.load(bundle)
    writer = TemplateAbstract(log.catalogue, bundle.manifest.abstract)
    pages = None if models.table is not None else ItemPages(bundle)
    hours = log.local_hour_of_week()
    e_str = np.random.default_rng(1).standard_normal(models.dim, dtype=np.float32)
    found: list[Ready] = []
    for user in np.argsort(-log.counts(), kind="stable")[:DEVICES].tolist():
        snapshot = plausible_snapshot(bundle, str(user))
        cache = cache_holding(models, CachedSnapshot(snapshot, e_str))
        device = Device(str(user), models, writer, cache=cache, digest=writer.digest())
        for event in _events(log, hours, user):
            if event[0] + 1 == log.user_start[user + 1]:
                found.append((device, RequestContext(*event[2:])))
                break
            page = None if pages is None else pages.page(event[1])
            device.observe(*event[1:], page)
    return found


def _events(
    log: InteractionLog, hours: np.ndarray, user: int
) -> Iterator[tuple[int, int, float, float]]:
    """Row, item, time and hour of each event."""
    for row in range(*log.user_start[user : user + 2].tolist()):
        moment = 0.0 if log.time is None else float(log.time[row])
        yield row, int(log.item[row]), moment, float(hours[row])


def answer_each(devices: list[Ready]) -> int:
    """One request of each device; returns their number."""
    for device, context in itertools.chain(devices, devices):
        device.request(context)
    return 2 * len(devices)


def _rate(answer: Callable[[], int]) -> float:
    started = time.process_time()
    return answer() / (time.process_time() - started)
