"""Train estimator and calibrator jointly (SCaLRec section 4.5), judged on validation steps."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from device_runtime.state.cues import CUES
from shared.bundle import AgeRule
from shared.errors import DataError
from shared.progress import Progress
from training.calibration.age_rules import UNRULED, choose_discount, choose_rules
from training.calibration.inputs import Inputs, joined, make_inputs
from training.calibration.judge import GapFigures, Judge
from training.calibration.lessons import Lessons, Material
from training.calibration.networks import (
    CONTEXT_INPUTS,
    PAPER_INPUTS,
    WORDS_INPUT,
    Calibrator,
    Estimator,
    correction,
    joint_loss,
    reliability_target,
    spread_target,
)
from training.calibration.options import CalibrationOptions
from training.calibration.pairs import Pairs, draw_one_per_request, top_candidates
from training.calibration.tried import BestTrained, TriedNetworks
from training.learning import (
    Judged,
    Say,
    Weights,
    best_of,
    descend,
    fit_until,
    load,
    mean_loss,
    reproducible,
    weights_of,
)
from training.pools import Ranked
from training.semantic.requests import Requests

NO_BOUND = 1e6  # of corrections, in units of e_sem
_Batch = tuple[int, NDArray[np.int64]]  # the number of a lesson, and places of its pairs
CUE_PLACES = {name: place for place, name in enumerate(CUES)}


@dataclass(frozen=True, eq=False)
class FittedCalibration:
    """Both networks in eval mode.

    ``gamma_max`` is absolute, in units of e_sem; it is 0, and ``helped`` False, when no epoch was
    better on validation than leaving the snapshot alone: the device then leaves it alone, and
    ``tried`` is the best of those epochs.
    """

    estimator: Estimator
    calibrator: Calibrator
    gamma_max: float
    helped: bool
    best_epoch: int
    mean_reliability_target: float
    rules: tuple[AgeRule, ...]
    discount: tuple[AgeRule, ...]  # of the uncalibrated fusion, an opponent of the calibrated one
    gaps: Mapping[int, GapFigures]
    tried: TriedNetworks | None = None

    def unruled(self, inputs: Inputs) -> Tensor:
        """[P, d] corrected by the best trained epoch, whether or not it helped, at any age."""
        return (self.tried or self).correct(inputs)[0]

    @torch.no_grad()
    def correct(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Corrected embedding [P, d] (eqs. 11-14) and r [P]; the age rules are not applied."""
        r = inputs.reliability(self.estimator)
        return inputs.stale + correction(self.calibrator(*inputs.parts), 1.0 - r, self.gamma_max), r


def fit_calibration(
    requests: Requests,
    e_sem: Tensor,
    training: Sequence[Material],
    validation: Mapping[int, Pairs],
    fusion_weight: float,
    options: CalibrationOptions,
    *,
    ranked: Ranked | None = None,
    seed: int = 0,
    threads: int = 2,
    progress: Progress | None = None,
) -> FittedCalibration:
    """Fit q_psi and g_phi on training pairs; keep the epoch with the best validation NDCG@10.

    Args:
        e_sem: [A, d] semantic embedding at every anchor, from the fitted projector.
        training: pairs of requests and snapshots, of these models or of others that have not met
            the users; each epoch draws one gap per request.
        validation: gap -> pairs of ``requests``; the score is the mean over gaps above 0.
        ranked: what is ranked on validation; None: the whole catalogue.

    Raises:
        DataError: there are no training pairs, or the loss is not finite.
    """
    training = [material for material in training if len(material.pairs)]
    if not training:
        raise DataError("no user has two training abstracts to make a stale pair of")
    with reproducible(seed, threads):
        fit = CalibrationFit(training, fusion_weight, options, seed)
        judge = Judge(
            requests,
            e_sem,
            validation,
            fusion_weight,
            exclude_seen=options.exclude_seen,
            ranked=ranked,
        )
        served = top_candidates(e_sem, requests.semantics, options.candidates)
        held = {
            gap: make_inputs(
                requests,
                pairs,
                e_sem,
                served,
                fit.calibrator.inputs,
                window=options.window,
                top_l=options.top_l,
            )
            for gap, pairs in judge.pairs.items()
        }

        def corrected() -> dict[int, Tensor]:
            return {gap: fit.corrected(held[gap]) for gap in held}

        trained = BestTrained(fit.weights())
        history = fit_until(
            # Without a semantic channel there is nothing to correct.
            options.epochs if fusion_weight else 0,
            fit.weights(),
            fit.learn,
            trained.watching(lambda: Judged(judge.mean(judge.ndcg(corrected())))),
            label="fitting the calibrator",
            progress=progress,
            patience=options.patience,
            start=lambda: Judged(judge.mean(judge.stale())),
        )
        fit.estimator.eval()
        fit.calibrator.eval()
        best_epoch = best_of(history).epoch
        helped = best_epoch > 0
        after = corrected() if helped else {gap: i.stale for gap, i in held.items()}
        rules: tuple[AgeRule, ...] = (UNRULED,)
        if options.age_rules:
            rules = choose_rules(judge, after, margin=options.rule_margin)
        return FittedCalibration(
            estimator=fit.estimator,
            calibrator=fit.calibrator,
            gamma_max=fit.radius if helped else 0.0,
            helped=helped,
            best_epoch=best_epoch,
            mean_reliability_target=fit.mean_target,
            rules=rules,
            discount=choose_discount(judge, list(held)),
            gaps=judge.report(after, rules),
            tried=None if helped or trained.best is None else fit.tried(trained.best),
        )


class CalibrationFit:
    """Networks, optimiser and what they learn from.

    Attributes:
        lessons: of one set of frozen models each; all of ``known`` in their order.
    """

    def __init__(
        self,
        materials: Sequence[Material],
        fusion_weight: float,
        options: CalibrationOptions,
        seed: int,
    ) -> None:
        self.options = options
        self.rng = np.random.default_rng(seed)
        first = materials[0]
        says = first.requests.own is not None and first.requests.own.text is not None
        names: tuple[str, ...] = PAPER_INPUTS
        if options.proposal == "context":
            names = (*CONTEXT_INPUTS, *((WORDS_INPUT,) if says else ()))
        self.calibrator = Calibrator(
            first.e_sem.shape[1],
            names,
            gate=options.gate,
            residual=options.residual,
            dropout=options.dropout,
        )
        self.lessons = tuple(Lessons(m, fusion_weight, options, self.rng) for m in materials)
        self.known = tuple(one.inputs(one.pairs, names, one.listed) for one in self.lessons)
        known = joined(self.known)
        unbounded = options.estimator == "none"
        length = float(known.stale.norm(dim=1).mean())
        self.radius = NO_BOUND if unbounded else options.gamma_max * length
        fixed = {"learned": None, "fixed": 0.5, "none": 1e-6}[options.estimator]
        self.estimator = Estimator(
            dropout=options.dropout, fixed=fixed, words=options.words_cue and says
        )
        ignored = [CUE_PLACES[name] for name in options.ignored_cues]
        known.normalise(self.estimator, ignored)
        self.calibrator.fit_normaliser(known.parts)
        for place in ignored if "cues" in names else ():
            at = sum(part.shape[1] for part in known.parts[: names.index("cues")])
            self.calibrator.scale[at + place] = 0.0
        parameters = [*self.estimator.parameters(), *self.calibrator.parameters()]
        self.optimizer = torch.optim.AdamW(
            [p for p in parameters if p.requires_grad],
            lr=options.learning_rate,
            weight_decay=options.weight_decay,
        )
        self.reference = self._reference() if options.severity == "quantile" else None
        self.mean_target = math.nan

    def weights(self) -> Weights:
        """Those that are learned, live."""
        return weights_of(estimator=self.estimator, calibrator=self.calibrator)

    def tried(self, weights: Weights) -> TriedNetworks:
        """Networks of their own with ``weights``."""
        estimator, calibrator = copy.deepcopy(self.estimator), copy.deepcopy(self.calibrator)
        load(weights_of(estimator=estimator, calibrator=calibrator), weights)
        return TriedNetworks(estimator.eval(), calibrator.eval(), self.radius)

    def _correct(self, inputs: Inputs) -> tuple[Tensor, Tensor, Tensor]:
        """Corrected embedding [B, d] (eqs. 11-14), r [B] and the proposal v [B, d]."""
        r, v = inputs.reliability(self.estimator), self.calibrator(*inputs.parts)
        return inputs.stale + correction(v, 1.0 - r, self.radius), r, v

    @torch.no_grad()
    def corrected(self, inputs: Inputs) -> Tensor:
        """Corrected embedding [P, d], networks in eval mode."""
        self.estimator.eval()
        self.calibrator.eval()
        return self._correct(inputs)[0]

    def learn(self, _: int, say: Say) -> float:
        """One pass over the requests, a random gap each; the mean loss."""
        self.estimator.train()
        self.calibrator.train()
        batches = self._batches()
        target = 0.0

        def step(_: int, batch: _Batch) -> tuple[float, int]:
            nonlocal target
            loss, r_target = self._loss(*batch)
            target += float(r_target.sum())
            length = len(batch[1])
            return descend(self.optimizer, loss, knob="gamma_max or the learning rate"), length

        loss = mean_loss(batches, step, say)
        self.mean_target = target / sum(len(at) for _, at in batches)
        return loss

    def _batches(self) -> list[_Batch]:
        """Places of the pairs of one lesson each; those of several lessons take turns at random."""
        size, found = self.options.batch_size, []
        for number, one in enumerate(self.lessons):
            order = draw_one_per_request(one.pairs, self.rng)
            found += [(number, at) for at in np.split(order, range(size, len(order), size))]
        if len(self.lessons) == 1:
            return found
        return [found[place] for place in self.rng.permutation(len(found))]

    def _loss(self, number: int, at: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Eqs. 15-21 at places ``at`` [B] of the pairs of a lesson."""
        options, one, index = self.options, self.lessons[number], torch.from_numpy(at)
        inputs, label = self.known[number].rows(index), one.label_weight[index]
        items, valid, structural = one.ranked(at)
        corrected, r, v = self._correct(inputs)
        fresh = one.e_sem[torch.from_numpy(one.pairs.fresh[at])]
        log_teacher, log_stale, log_corrected = (
            one.log_p(e, items, valid, structural) for e in (fresh, inputs.stale, corrected)
        )
        r_target = reliability_target(log_teacher, log_stale, valid)
        if self.reference is not None:
            r_target = spread_target(r_target, self.reference)
        loss = joint_loss(
            log_teacher,
            log_corrected,
            valid,
            r,
            r_target,
            v,
            lambda_rel=options.lambda_rel,
            lambda_reg=options.lambda_reg,
            teacher_weight=1.0 - label,
        )
        if options.label_weight:  # the target's cross-entropy takes this share of the teacher's
            loss = loss - (label * one.hits(at, corrected, items, valid, structural)).mean()
        return loss, r_target

    def _reference(self) -> Tensor:
        """Sorted r* of the stale training pairs."""
        found = torch.cat([one.reference() for one in self.lessons]).sort().values
        return found if len(found) else torch.ones(1)
