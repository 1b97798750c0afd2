"""DCCL as it ranks: a frozen model, and a patch that each device finds at each request."""

from __future__ import annotations

import time
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from training.backbone.batches import Events
from training.backbone.fit import TrainedBackbone
from training.backbone.objective import RepeatPolicy
from training.baselines.base import FLOAT_BYTES, MethodCosts, Rows, World, weights_in
from training.baselines.dccl.meta import Descent
from training.baselines.dccl.patch import Basis, adapted
from training.baselines.dccl.transitions import transitions_before
from training.baselines.device_time import REPEATS
from training.baselines.frozen_answers import FrozenAnswers

USERS = 64  # whose transitions are in memory


class FrozenStates:
    """A frozen model's states before the events of each log it is asked about."""

    def __init__(self, backbone: TrainedBackbone) -> None:
        self.backbone = backbone
        self._of: WeakKeyDictionary[Events, FrozenAnswers] = WeakKeyDictionary()

    def among(self, events: Events) -> FrozenAnswers:
        if events not in self._of:
            self._of[events] = FrozenAnswers(self.backbone, events)
        return self._of[events]


@dataclass(frozen=True, eq=False)
class FittedDCCL:
    """A frozen model, the basis of its patches, and how a device finds its own.

    Attributes:
        device_us: microseconds of a request; None where it was not measured.
    """

    states: FrozenStates
    basis: Basis
    descent: Descent
    policy: RepeatPolicy
    device_us: float | None = None

    @property
    def costs(self) -> MethodCosts:
        backbone, basis = self.states.backbone, self.basis
        numbers = weights_in(backbone.model, backbone.table)
        numbers += basis.down.size + basis.up.size + basis.shift.size
        return MethodCosts(
            parameters=numbers,
            device_bytes=FLOAT_BYTES * (numbers + basis.codes),
            device_us=self.device_us,
        )

    @torch.no_grad()
    def scores(self, world: World, fresh: Rows, stale: Rows) -> Tensor:
        """As ``FittedBaseline.scores``."""
        events, anchors = world.requests.events, world.requests.anchors
        rows = events.user_start[anchors.user[fresh]] + anchors.tau[fresh]
        base = self.states.among(events)
        base.require(rows)
        at = torch.from_numpy(rows)
        states = base.e_str[at]
        if self.descent.rate > 0:
            parts = np.array_split(rows, max(1, -(-len(rows) // USERS)))
            z = np.concatenate(
                [self.descent.codes(self.basis, base, part, self.policy) for part in parts]
            )
            moved = self.basis.moved(z, states.double().numpy()[:, None])[:, 0]
            states = torch.from_numpy(moved).float()
        vectors = base.table.vectors.detach()
        return torch.addmm(base.offsets(at, "allow"), states, vectors.T) + world.count_bonus(fresh)


def adaptation_us(fitted: FittedDCCL, world: World, row: int) -> float:
    """Microseconds in which a device finds its code at the request ``row``; median.

    It knows its states and what competes: it has ranked before.
    """
    events, anchors = world.requests.events, world.requests.anchors
    at = events.user_start[anchors.user[[row]]] + anchors.tau[[row]]
    base, descent = fitted.states.among(events), fitted.descent
    seen = transitions_before(
        base, at, fitted.policy, count=descent.transitions, candidates=descent.candidates
    )
    spent = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        adapted(fitted.basis, seen, rate=descent.rate, steps=descent.steps)
        spent.append(time.perf_counter() - started)
    return 1e6 * float(np.median(spent))
