"""PartTimes: how long each part of a device's request takes, by itself."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from device_runtime.abstract.writer import TemplateAbstract
from device_runtime.models import DeviceModels
from device_runtime.ranking.own_terms import OwnState
from device_runtime.state.cues import CUES
from device_runtime.state.features import time_features
from device_runtime.state.history import History, RequestContext
from shared.snapshot import Snapshot

Floats = NDArray[np.float32]

ENCODER, CALIBRATOR = "encoder", "calibrator"
COUNTS, STUDENT, VECTORS = "own counts", "text student", "item vectors"


class PartTimes:
    """Times parts of a request that a device does as one: a second state of the same events.

    - encoder: one run of its network;
    - own counts, text student: what each adds to the own score, where the bundle has it;
    - calibrator: reliability and proposal, the networks of two;
    - item vectors: scores of the whole table by both channels, or, without a table, the rows of a
      snapshot's candidates unpacked.

    Args:
        writer: of abstracts, with words of its own: what another writer has just read, the text
            student would find remembered.
        snapshot: whose candidates are looked up.
    """

    def __init__(self, models: DeviceModels, writer: TemplateAbstract, snapshot: Snapshot) -> None:
        self._models = models
        terms = {
            COUNTS: _with_terms(models, {"text_student": None}),
            STUDENT: _with_terms(models, {"own_counts": None}),
        }
        states = {name: OwnState(own, writer.digest()) for name, own in terms.items()}
        self._own = {name: state for name, state in states.items() if state.adds}
        self._history = History(models.profile.window, models.profile.retain)
        rng = np.random.default_rng(0)
        shape = (models.profile.window, models.dim)
        self._rows: Floats = rng.standard_normal(shape, dtype=np.float32)
        self._e: Floats = rng.standard_normal(models.dim, dtype=np.float32)
        self._cues: Floats = np.zeros(len(CUES), np.float32)
        self._known, self._candidates = models.item_vectors(), np.sort(snapshot.items)
        self._known.offer(snapshot)
        self._took: dict[str, list[float]] = {}

    def observe(self, item: int, moment: float, hour: float) -> None:
        self._history.append(item, moment, hour)
        for state in self._own.values():
            state.observe(item, hour)

    def time(self, context: RequestContext) -> None:
        """Do every part once; the history fills the window."""
        models = self._models
        times = time_features(self._history.window(), context, has_time=models.manifest.has_time)
        parts: dict[str, Callable[[], object]] = {
            ENCODER: partial(models.encode, self._rows, times),
            **{name: partial(state.terms, context) for name, state in self._own.items()},
            CALIBRATOR: self._calibrate,
            VECTORS: self._look_up,
        }
        for name, part in parts.items():
            self._took.setdefault(name, []).append(microseconds(part))

    def p50_us(self) -> dict[str, float]:
        return {name: float(np.percentile(took, 50)) for name, took in self._took.items()}

    def _calibrate(self) -> None:
        self._models.reliability(self._cues, e_sem=self._e, e_text=self._e)
        self._models.propose(
            e_sem=self._e,
            e_str=self._e,
            e_str_tau=self._e,
            recent=self._e,
            cues=self._cues,
            e_text=self._e,
        )

    def _look_up(self) -> None:
        if self._models.table is None:
            self._known.of(self._candidates)
        else:
            self._models.table.products(self._e, self._e)


def microseconds(work: Callable[[], object]) -> float:
    """That one call took on this machine."""
    began = time.perf_counter_ns()
    work()
    return (time.perf_counter_ns() - began) / 1e3


def _with_terms(models: DeviceModels, left_out: dict[str, None]) -> DeviceModels:
    """The same models, whose bundle says nothing of some terms of the own score."""
    fewer = copy.copy(models)
    fewer.manifest = models.manifest.model_copy(update=left_out)
    return fewer
