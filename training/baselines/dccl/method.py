"""DCCL (Yao et al., KDD 2021, arXiv 2104.06624): devices and cloud learn from each other.

The device holds a structure model of the product, frozen, and bends its state by a patch with a
code of its own (MetaPatch: ``patch``), which it finds by a few steps on its latest transitions. The
cloud has learned the basis of all patches (``meta``), and then learns from the many personal models
(MoMoDistill): with p_u the answer of user u's patched model to a training event of u,

    L = -log p(next item) + share * KL(p_u || p).

What may be stale is the shared model, not the data: the device reads its history up to t.

Simplifications: one patch, at the output; one round of distillation; all users are simulated in one
process. Beside the scores stand the counts of own events that every device has.
"""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from shared.progress import Progress
from training.backbone.batches import Events, Windows
from training.backbone.distil import answers, divergence
from training.backbone.fit import BackboneFit, Cycle, TrainedBackbone
from training.backbone.item_table import ItemParameters
from training.backbone.objective import Objective, RepeatPolicy
from training.background import in_thread
from training.baselines.base import (
    Costs,
    FittedBaseline,
    Fitting,
    Reads,
    Rows,
    World,
    weights_in,
)
from training.baselines.dccl.meta import Descent, MetaTraining, PatchBasis, tasks_of
from training.baselines.dccl.patch import Basis, adapted
from training.baselines.dccl.transitions import transitions_before
from training.baselines.frozen_answers import FrozenAnswers, numbered, rows_and_items
from training.encoders.base import Encoder
from training.learning import Judged, fit_until, reproducible, weights_of

FLOAT_BYTES = 4
USERS = 64  # whose transitions are in memory
REPEATS = 50


@dataclass(frozen=True)
class DCCL:
    """Options.

    Attributes:
        codes: K. rank: of a patch.
        rate, steps: of a device's gradient descent on its code; validation may choose another of
            ``factors`` times the rate; 0: no patch.
        transitions: latest ones it adapts to. candidates: that compete beside own items.
        epochs, learning_rate, patience: of the basis.
        distil: whether the shared model learns from the personal ones; ``share``: how much beside
            the labels.
    """

    codes: int = 8
    rank: int = 4
    rate: float = 1.0
    steps: int = 3
    factors: tuple[float, ...] = (0.0, 0.3, 1.0, 3.0)
    transitions: int = 20
    candidates: int = 100
    epochs: int = 20
    learning_rate: float = 3e-3
    patience: int = 5
    distil: bool = True
    share: float = 0.5
    distil_epochs: int = 5
    distil_rate: float = 3e-4
    reads: Reads = "device"

    async def fit(self, fitting: Fitting) -> FittedBaseline:
        """See ``Baseline.fit``."""
        return await in_thread(lambda shown: self._train(fitting, shown), fitting.progress)

    def _train(self, fitting: Fitting, progress: Progress) -> FittedDCCL:
        backbone, policy = fitting.trained.backbone, fitting.run.policy
        steps = Descent(
            rate=self.rate,
            steps=self.steps,
            transitions=self.transitions,
            candidates=self.candidates,
        )
        with reproducible(fitting.seed, fitting.threads):
            known = fitting.events.keep_first(fitting.run.split.validation_start)
            base = FrozenAnswers(backbone, known).everywhere()
            patch = PatchBasis(backbone.model.config.dim, self.codes, self.rank)
            training = MetaTraining(
                patch,
                base,
                tasks_of(base, fitting.run.split),
                steps,
                policy,
                learning_rate=self.learning_rate,
                seed=fitting.seed,
            )
            # Its states are of the frozen model alone, whatever the basis has come to.
            asked = FrozenStates(backbone)
            fit_until(
                fitting.epochs(self.epochs),
                weights_of(patch=patch),
                training.learn_pass,
                lambda: Judged(
                    fitting.ndcg10(FittedDCCL(asked, patch.basis(), steps, policy).scores)
                ),
                label="training DCCL's basis",
                progress=progress,
                patience=self.patience,
            )
            found = self._paced(fitting, FittedDCCL(asked, patch.basis(), steps, policy))
            if not self.distil:
                return found
            better = self._distilled(fitting, found, progress)
            return self._paced(fitting, replace(found, states=FrozenStates(better), steps=steps))

    def _paced(self, fitting: Fitting, fitted: FittedDCCL) -> FittedDCCL:
        """At the rate that validation finds best; of equal ones the lowest."""
        rated = [
            replace(fitted, steps=replace(fitted.steps, rate=factor * fitted.steps.rate))
            for factor in sorted(self.factors)
        ]
        return max(rated, key=lambda one: fitting.ndcg10(one.scores))

    def _distilled(
        self, fitting: Fitting, personal: FittedDCCL, progress: Progress
    ) -> TrainedBackbone:
        backbone, learned = personal.states.backbone, fitting.learned
        base = FrozenAnswers(backbone, learned).everywhere()
        pupil = replace(
            backbone,
            model=copy.deepcopy(backbone.model).requires_grad_(True),
            table=copy.deepcopy(backbone.table).requires_grad_(True),
        )
        objective = momo(base, personal_states(personal, base), personal.policy, self.share)
        cycle = Cycle(epochs=fitting.epochs(self.distil_epochs), learning_rate=self.distil_rate)
        fit = BackboneFit(pupil.model, pupil.table, backbone.options, fitting.seed, objective)

        def judge() -> Judged:
            pupil.model.eval()
            plain = replace(personal.steps, rate=0.0)
            shared = replace(personal, states=FrozenStates(pupil), steps=plain)
            return Judged(fitting.ndcg10(shared.scores))

        fit_until(
            cycle.epochs,
            weights_of(model=pupil.model, table=pupil.table),
            lambda epoch, say: fit.learn_pass(numbered(learned), cycle, epoch - 1, say),
            judge,
            label="distilling DCCL's personal models",
            progress=progress,
            start=judge,
        )
        pupil.model.eval().requires_grad_(False)
        pupil.table.requires_grad_(False)
        return pupil


@torch.no_grad()
def personal_states(personal: FittedDCCL, base: FrozenAnswers) -> Tensor:
    """[n, d] patched states before every event of ``base``, each user's code of the last ones."""
    start, size = base.events.user_start, np.diff(base.events.user_start)
    able = np.flatnonzero(size > 2)
    found = base.e_str.clone()
    for users in np.array_split(able, max(1, -(-len(able) // USERS))):
        last = start[users + 1] - 1
        z = personal.steps.codes(personal.basis, base, last, personal.policy)
        for code, first, stop in zip(z, start[users], start[users + 1], strict=True):
            states = base.e_str[first:stop].double().numpy()[None]
            moved = personal.basis.moved(code[None], states)[0]
            found[first:stop] = torch.from_numpy(moved).float()
    return found


def momo(base: FrozenAnswers, states: Tensor, policy: RepeatPolicy, share: float) -> Objective:
    """Cross-entropy beside the distance from the personal models, of windows of event rows.

    Args:
        states: [n, d] of the personal models before the events of ``base``.
    """

    def losses(model: Encoder, table: ItemParameters, windows: Windows) -> Tensor:
        named, following = rows_and_items(base.events, windows)
        log_p, target = answers(model, table, named, policy)
        # Those that ``answers`` keeps, in its order.
        kept = named.wanted & ~repeated(named) if policy == "exclude" else named.wanted
        rows = following[kept]
        with torch.no_grad():
            vectors = base.table.vectors.detach()
            said = torch.addmm(base.offsets(rows, policy), states[rows], vectors.T)
            log_q = said.masked_fill(log_p.isneginf(), -torch.inf).log_softmax(1)
        label = -log_p.gather(1, target[:, None])[:, 0]
        return label + share * divergence(log_q, log_p)

    return losses


def repeated(windows: Windows) -> Tensor:
    """[R, W] whether the next item is one of the row's own past."""
    width = windows.item.shape[1]
    past = torch.ones(width, width, dtype=torch.bool).tril()
    return ((windows.item[:, None, :] == windows.next_item[:, :, None]) & past).any(-1)


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
    """A frozen model, the basis of its patches, and how a device finds its own."""

    states: FrozenStates
    basis: Basis
    steps: Descent
    policy: RepeatPolicy

    @property
    def costs(self) -> Costs:
        backbone, basis = self.states.backbone, self.basis
        numbers = weights_in(backbone.model, backbone.table)
        numbers += basis.down.size + basis.up.size + basis.shift.size
        return Costs(parameters=numbers, device_bytes=FLOAT_BYTES * (numbers + basis.codes))

    @torch.no_grad()
    def scores(self, world: World, fresh: Rows, stale: Rows) -> Tensor:
        """As ``FittedBaseline.scores``."""
        events, anchors = world.requests.events, world.requests.anchors
        rows = events.user_start[anchors.user[fresh]] + anchors.tau[fresh]
        base = self.states.among(events)
        base.require(rows)
        at = torch.from_numpy(rows)
        states = base.e_str[at]
        if self.steps.rate > 0:
            parts = np.array_split(rows, max(1, -(-len(rows) // USERS)))
            z = np.concatenate(
                [self.steps.codes(self.basis, base, part, self.policy) for part in parts]
            )
            moved = self.basis.moved(z, states.double().numpy()[:, None])[:, 0]
            states = torch.from_numpy(moved).float()
        vectors = base.table.vectors.detach()
        return torch.addmm(base.offsets(at, "allow"), states, vectors.T) + world.count_bonus(fresh)

    def adaptation_us(self, base: FrozenAnswers, row: int) -> float:
        """Microseconds in which a device finds its code before the event ``row``; median."""
        steps = self.steps
        seen = transitions_before(
            base,
            np.array([row]),
            self.policy,
            count=steps.transitions,
            candidates=steps.candidates,
        )
        spent = []
        for _ in range(REPEATS):
            started = time.perf_counter()
            adapted(self.basis, seen, rate=steps.rate, steps=steps.steps)
            spent.append(time.perf_counter() - started)
        return 1e6 * float(np.median(spent))
