"""Train estimator and calibrator jointly (SCaLRec section 4.5), judged on validation steps."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from torch import Tensor

from device_runtime.state.cues import CUES
from shared.bundle import AgeRule
from shared.errors import DataError
from shared.progress import Progress
from training.calibration.age_rules import UNRULED, choose_discount, choose_rules
from training.calibration.inputs import Inputs, make_inputs
from training.calibration.judge import GapFigures, Judge
from training.calibration.networks import (
    CONTEXT_INPUTS,
    PAPER_INPUTS,
    WORDS_INPUT,
    Calibrator,
    Estimator,
    correction,
    joint_loss,
    log_distribution,
    reliability_target,
    spread_target,
)
from training.calibration.pairs import (
    Pairs,
    candidate_scores,
    draw_one_per_request,
    top_candidates,
    united,
)
from training.calibration.tried import BestTrained, TriedNetworks
from training.calibration_method import CalibrationMethod
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
CUE_PLACES = {name: place for place, name in enumerate(CUES)}


class CalibrationOptions(CalibrationMethod):
    """The method and its optimisation, for one device profile."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(ge=1)
    patience: int = Field(default=6, ge=1)
    batch_size: int = Field(default=64, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=1e-2, ge=0)
    dropout: float = Field(ge=0, lt=1)
    candidates: int = Field(ge=1, description="N of eq. 7")
    window: int = Field(ge=1, description="of the device profile")
    unite_history: bool
    exclude_seen: bool

    @property
    def ranks_either_list(self) -> bool:
        """Whether distributions are over the candidates of S1 or S2, as the paper draws them."""
        return self.proposal == "paper" and not self.label_weight


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
    training: Pairs,
    validation: Mapping[int, Pairs],
    fusion_weight: float,
    options: CalibrationOptions,
    *,
    ranked: Ranked | None = None,
    labelled: NDArray[np.int64] | None = None,
    seed: int = 0,
    threads: int = 2,
    progress: Progress | None = None,
) -> FittedCalibration:
    """Fit q_psi and g_phi on training pairs; keep the epoch with the best validation NDCG@10.

    Args:
        e_sem: [A, d] semantic embedding at every anchor, from the fitted projector.
        training: pairs of requests and snapshots; each epoch draws one gap per request.
        validation: gap -> pairs; the score is the mean over gaps above 0.
        ranked: what is ranked on validation; None: the whole catalogue.
        labelled: rows of ``requests`` whose targets the backbone has not met: the teacher is mixed
            with the target itself there, and is alone elsewhere. None: all.

    Raises:
        DataError: there are no training pairs, or the loss is not finite.
    """
    if len(training) == 0:
        raise DataError("no user has two training abstracts to make a stale pair of")
    with reproducible(seed, threads):
        fit = CalibrationFit(requests, e_sem, fusion_weight, training, options, seed, labelled)
        judge = Judge(
            requests,
            e_sem,
            validation,
            fusion_weight,
            exclude_seen=options.exclude_seen,
            ranked=ranked,
        )
        held = {gap: fit.inputs(judge.pairs[gap]) for gap in judge.pairs}

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
    """Networks, optimiser and the training pairs' fixed inputs."""

    def __init__(
        self,
        requests: Requests,
        e_sem: Tensor,
        fusion_weight: float,
        pairs: Pairs,
        options: CalibrationOptions,
        seed: int,
        labelled: NDArray[np.int64] | None,
    ) -> None:
        self.requests, self.e_sem, self.fusion_weight = requests, e_sem, fusion_weight
        self.pairs, self.options = self._usable(pairs, options), options
        share = (
            np.ones(len(self.pairs)) if labelled is None else np.isin(self.pairs.fresh, labelled)
        )
        self.label_weight = options.label_weight * torch.from_numpy(share).float()  # [P]
        self.rng = np.random.default_rng(seed)
        self.candidates = top_candidates(e_sem, requests.semantics, options.candidates)
        names: tuple[str, ...] = PAPER_INPUTS
        says = requests.own is not None and requests.own.text is not None
        if options.proposal == "context":
            names = (*CONTEXT_INPUTS, *((WORDS_INPUT,) if says else ()))
        self.calibrator = Calibrator(
            e_sem.shape[1],
            names,
            gate=options.gate,
            residual=options.residual,
            dropout=options.dropout,
        )
        # Omega is of the ranked list: that of the snapshot, and in the paper's S1 the fresh one.
        fresh_list = self.rng.random(len(self.pairs)) < 0.5
        self.listed = np.where(fresh_list, self.pairs.fresh, self.pairs.stale)
        known = self.inputs(self.pairs, self.listed)
        self.known = known
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

    def _usable(self, pairs: Pairs, options: CalibrationOptions) -> Pairs:
        """Without requests whose target may not be recommended: their label says nothing."""
        if not options.exclude_seen:
            return pairs
        kept = pairs[np.flatnonzero(self.requests.fresh_targets(pairs.fresh))]
        return kept if len(kept) else pairs

    def inputs(self, pairs: Pairs, listed: NDArray[np.int64] | None = None) -> Inputs:
        options = self.options
        return make_inputs(
            self.requests,
            pairs,
            self.e_sem,
            self.candidates,
            self.calibrator.inputs,
            window=options.window,
            top_l=options.top_l,
            listed=listed,
        )

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
        order = draw_one_per_request(self.pairs, self.rng)
        size, target = self.options.batch_size, 0.0

        def step(_: int, at: NDArray[np.int64]) -> tuple[float, int]:
            nonlocal target
            index = torch.from_numpy(at)
            loss, r_target = self._loss(at, self.known.rows(index), self.label_weight[index])
            target += float(r_target.sum())
            return descend(self.optimizer, loss, knob="gamma_max or the learning rate"), len(at)

        loss = mean_loss(np.split(order, range(size, len(order), size)), step, say)
        self.mean_target = target / len(order)
        return loss

    def _loss(self, at: NDArray[np.int64], inputs: Inputs, label: Tensor) -> tuple[Tensor, Tensor]:
        """Eqs. 15-21 at places ``at`` [B] of the pairs.

        The target's cross-entropy takes the share ``label`` [B] of the teacher's.
        """
        options, pairs = self.options, self.pairs[at]
        items, valid, structural = self.ranked(at)
        corrected, r, v = self._correct(inputs)
        fresh = self.e_sem[torch.from_numpy(pairs.fresh)]
        log_teacher, log_stale, log_corrected = (
            self._log_p(e, items, valid, structural) for e in (fresh, inputs.stale, corrected)
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
        if options.label_weight:
            semantic = candidate_scores(corrected, items, self.requests)
            log_p = log_distribution(structural + self.fusion_weight * semantic, 1.0, valid)
            target = self.requests.target[torch.from_numpy(pairs.fresh)][:, None]
            hits = log_p.masked_fill(~((items == target) & valid), 0.0).sum(-1)
            loss = loss - (label * hits).mean()
        return loss, r_target

    def ranked(self, at: NDArray[np.int64]) -> tuple[Tensor, Tensor, Tensor]:
        """Items [B, C] at places ``at`` [B] of the pairs, which of them count, their own scores.

        Of both snapshots, and own items and the label; in the paper's method those of either the
        fresh snapshot (S1) or the old one (S2), and nothing else.
        """
        options, requests, pairs = self.options, self.requests, self.pairs[at]
        fresh, stale = torch.from_numpy(pairs.fresh), torch.from_numpy(pairs.stale)
        if options.ranks_either_list:
            lists = [self.candidates[torch.from_numpy(self.listed[at])]]
        else:
            lists = [self.candidates[stale], self.candidates[fresh]]
            if options.unite_history and not options.exclude_seen:
                lists.append(requests.history[fresh])
            if options.label_weight:
                lists.append(requests.target[fresh][:, None])
        items, valid = united(requests, fresh, lists, exclude_seen=options.exclude_seen)
        return items, valid, requests.structural_of(fresh, items)

    def _log_p(self, e_sem: Tensor, items: Tensor, valid: Tensor, structural: Tensor) -> Tensor:
        """Eqs. 15-16: the fused scores as a distribution [B, C]."""
        semantic = candidate_scores(e_sem, items, self.requests)
        scores = structural + self.fusion_weight * semantic
        return log_distribution(scores, self.options.temperature, valid)

    @torch.no_grad()
    def _reference(self) -> Tensor:
        """Sorted r* of the stale training pairs."""
        at = np.flatnonzero(self.pairs.fresh != self.pairs.stale)
        found = []
        for part in np.split(at, range(1024, len(at), 1024)):
            pairs = self.pairs[part]
            items, valid, structural = self.ranked(part)
            fresh, stale = (
                self._log_p(self.e_sem[torch.from_numpy(r)], items, valid, structural)
                for r in (pairs.fresh, pairs.stale)
            )
            found.append(reliability_target(fresh, stale, valid))
        return torch.cat(found).sort().values if found else torch.ones(1)
