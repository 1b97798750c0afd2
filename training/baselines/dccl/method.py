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
from dataclasses import dataclass, replace

from shared.progress import Progress
from training.backbone.fit import BackboneFit, Cycle, TrainedBackbone
from training.background import in_thread
from training.baselines.base import FittedBaseline, Fitting, Reads
from training.baselines.dccl.fitted import FittedDCCL, FrozenStates, adaptation_us
from training.baselines.dccl.meta import Descent, MetaTraining, PatchBasis, tasks_of
from training.baselines.dccl.momo import momo, personal_states
from training.baselines.device_time import encoder_us
from training.baselines.frozen_answers import FrozenAnswers, numbered
from training.learning import Judged, fit_until, reproducible, weights_of


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
        descent = Descent(
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
                descent,
                policy,
                learning_rate=self.learning_rate,
                seed=fitting.seed,
            )
            # Its states are of the frozen model alone, whatever the basis has come to.
            asked = FrozenStates(backbone)

            def fitted_by(patch: PatchBasis) -> FittedDCCL:
                return FittedDCCL(states=asked, basis=patch.basis(), descent=descent, policy=policy)

            fit_until(
                fitting.epochs(self.epochs),
                weights_of(patch=patch),
                training.learn_pass,
                lambda: Judged(fitting.ndcg10(fitted_by(patch).scores)),
                label="training DCCL's basis",
                progress=progress,
                patience=self.patience,
            )
            found = self._paced(fitting, fitted_by(patch))
            if self.distil:
                better = self._distilled(fitting, found, progress)
                found = replace(found, states=FrozenStates(better), descent=descent)
                found = self._paced(fitting, found)
        if fitting.most_epochs is not None:
            return found
        spent = encoder_us(found.states.backbone.model)
        spent += adaptation_us(found, fitting.world, int(fitting.validation[0].fresh[0]))
        return replace(found, device_us=spent)

    def _paced(self, fitting: Fitting, fitted: FittedDCCL) -> FittedDCCL:
        """At the rate that validation finds best; of equal ones the lowest."""
        rated = [
            replace(fitted, descent=replace(fitted.descent, rate=factor * fitted.descent.rate))
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
            plain = replace(personal.descent, rate=0.0)
            shared = replace(personal, states=FrozenStates(pupil), descent=plain)
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
