"""Train estimator and calibrator jointly (SCaLRec section 4.5), judged on validation steps."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from shared.errors import DataError
from shared.progress import NullProgress, Progress
from training.calibration import (
    Calibrator,
    Estimator,
    correction,
    joint_loss,
    log_distribution,
    reliability_target,
)
from training.determinism import reproducible
from training.pairs import (
    Pairs,
    candidate_scores,
    draw_one_per_request,
    pair_cues,
    top_candidates,
    united,
)
from training.requests import Requests, fused_ranks, mean_ndcg10


class CalibrationOptions(BaseModel):
    """Constants of the method and of its optimisation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gamma_max: float = Field(default=4.0, ge=0, description="in units of mean |e_sem|")
    temperature: float = Field(default=1.0, gt=0, description="T of eq. 16")
    lambda_rel: float = Field(default=1.0, ge=0)
    lambda_reg: float = Field(default=1e-4, ge=0)
    epochs: int = Field(default=30, ge=1)
    patience: int = Field(default=6, ge=1)
    batch_size: int = Field(default=64, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    dropout: float = Field(default=0.2, ge=0, lt=1)
    candidates: int = Field(default=100, ge=1, description="N of eq. 7")
    top_l: int = Field(default=50, ge=2, description="L of eq. 10")
    window: int = Field(default=50, ge=1, description="of the device profile")
    unite_history: bool = True
    exclude_seen: bool = False


@dataclass(frozen=True)
class GapFigures:
    """Validation NDCG@10 at one gap, ranking what the device would: cached candidates and own."""

    structure: float
    fresh: float  # fresh embedding on the cached candidates
    stale: float  # the cached embedding as it is
    calibrated: float


@dataclass(frozen=True, eq=False)
class FittedCalibration:
    """Both networks in eval mode.

    ``gamma_max`` is absolute, in units of e_sem; it is 0, and ``helped`` False, when no epoch was
    better on validation than leaving the snapshot alone: the device then leaves it alone.
    """

    estimator: Estimator
    calibrator: Calibrator
    gamma_max: float
    helped: bool
    best_epoch: int
    mean_reliability_target: float
    gaps: Mapping[int, GapFigures]


def fit_calibration(
    requests: Requests,
    e_sem: Tensor,
    training: Pairs,
    validation: Mapping[int, Pairs],
    fusion_weight: float,
    options: CalibrationOptions,
    *,
    seed: int = 0,
    threads: int = 2,
    progress: Progress | None = None,
) -> FittedCalibration:
    """Fit q_psi and g_phi on training pairs; keep the epoch with the best validation NDCG@10.

    Args:
        e_sem: [A, d] semantic embedding at every anchor, from the fitted projector.
        training: pairs of training anchors; each epoch draws one gap per request.
        validation: gap -> pairs; the score is the mean over gaps.

    Raises:
        DataError: there are no training pairs, or the loss is not finite.
    """
    if len(training) == 0:
        raise DataError("no user has two training abstracts to make a stale pair of")
    with reproducible(seed, threads):
        fit = _Fit(requests, e_sem, fusion_weight, training, options, seed)
        judge = _Judge(fit, validation)
        identity = judge.mean(judge.figures(corrected=False))
        best, best_epoch, best_state = identity, 0, fit.state()
        with (progress or NullProgress()).task("fitting the calibrator", options.epochs) as task:
            for epoch in range(1, options.epochs + 1):
                loss = fit.epoch()
                score = judge.mean(judge.figures(corrected=True))
                if score > best:
                    best, best_epoch, best_state = score, epoch, fit.state()
                task.advance(note=f"loss {loss:.3f}, validation NDCG@10 {score:.4f}")
                if epoch - best_epoch >= options.patience:
                    break
        fit.load(best_state)
        helped = best_epoch > 0
        return FittedCalibration(
            estimator=fit.estimator,
            calibrator=fit.calibrator,
            gamma_max=fit.radius if helped else 0.0,
            helped=helped,
            best_epoch=best_epoch,
            mean_reliability_target=fit.mean_target,
            gaps=judge.report(corrected=helped),
        )


class _Fit:
    """Networks, optimiser and the training pairs' fixed inputs."""

    def __init__(
        self,
        requests: Requests,
        e_sem: Tensor,
        fusion_weight: float,
        pairs: Pairs,
        options: CalibrationOptions,
        seed: int,
    ) -> None:
        self.requests, self.e_sem, self.fusion_weight = requests, e_sem, fusion_weight
        self.pairs, self.options = pairs, options
        self.rng = np.random.default_rng(seed)
        self.candidates = top_candidates(e_sem, requests.table.vectors, options.candidates)
        self.cues = self.cues_of(pairs)
        self.radius = options.gamma_max * float(e_sem[np.unique(pairs.fresh)].norm(dim=1).mean())
        self.estimator = Estimator(dropout=options.dropout)
        self.calibrator = Calibrator(e_sem.shape[1], dropout=options.dropout)
        self.estimator.fit_normaliser(self.cues)
        stale, fresh = torch.from_numpy(pairs.stale), torch.from_numpy(pairs.fresh)
        self.calibrator.fit_normaliser(e_sem[stale], requests.e_str[fresh])
        parameters = [*self.estimator.parameters(), *self.calibrator.parameters()]
        self.optimizer = torch.optim.Adam(parameters, lr=options.learning_rate)
        self.mean_target = math.nan

    def cues_of(self, pairs: Pairs) -> Tensor:
        options = self.options
        return pair_cues(
            self.requests,
            pairs,
            self.e_sem,
            self.candidates,
            window=options.window,
            top_l=options.top_l,
        )

    def state(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        return copy.deepcopy((self.estimator.state_dict(), self.calibrator.state_dict()))

    def load(self, state: tuple[dict[str, Tensor], dict[str, Tensor]]) -> None:
        self.estimator.load_state_dict(state[0])
        self.calibrator.load_state_dict(state[1])
        self.estimator.eval()
        self.calibrator.eval()

    def correct(self, pairs: Pairs, cues: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Corrected embedding [B, d] (eqs. 11-14), r [B] and the proposal v [B, d]."""
        stale = self.e_sem[torch.from_numpy(pairs.stale)]
        r = self.estimator(cues)
        v = self.calibrator(stale, self.requests.e_str[torch.from_numpy(pairs.fresh)])
        return stale + correction(v, 1.0 - r, self.radius), r, v

    def epoch(self) -> float:
        self.estimator.train()
        self.calibrator.train()
        order = draw_one_per_request(self.pairs, self.rng)
        total, target = 0.0, 0.0
        for at in np.split(
            order, range(self.options.batch_size, len(order), self.options.batch_size)
        ):
            loss, r_target = self.loss(self.pairs[at], self.cues[torch.from_numpy(at)])
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            total, target = total + loss.item() * len(at), target + float(r_target.sum())
        if not math.isfinite(total):
            raise DataError("fitting the calibrator diverged; lower gamma_max or the learning rate")
        self.mean_target = target / len(order)
        return total / len(order)

    def loss(self, pairs: Pairs, cues: Tensor) -> tuple[Tensor, Tensor]:
        """Eqs. 15-21 over the union of stale and fresh candidates."""
        options, requests = self.options, self.requests
        fresh, stale = torch.from_numpy(pairs.fresh), torch.from_numpy(pairs.stale)
        lists = [self.candidates[stale], self.candidates[fresh]]
        if options.unite_history and not options.exclude_seen:
            lists.append(requests.history[fresh])
        items, valid = united(requests, fresh, lists, exclude_seen=options.exclude_seen)
        corrected, r, v = self.correct(pairs, cues)
        log_teacher, log_stale, log_corrected = (
            log_distribution(candidate_scores(e, items, requests), options.temperature, valid)
            for e in (self.e_sem[fresh], self.e_sem[stale], corrected)
        )
        r_target = reliability_target(log_teacher, log_stale, valid)
        loss = joint_loss(
            log_teacher,
            log_corrected,
            valid,
            r,
            r_target,
            v,
            lambda_rel=options.lambda_rel,
            lambda_reg=options.lambda_reg,
        )
        return loss, r_target


class _Judge:
    """Validation NDCG@10 per gap, over the candidates that the device would hold."""

    def __init__(self, fit: _Fit, gaps: Mapping[int, Pairs]) -> None:
        self.fit, self.gaps = fit, gaps
        self.cues = {gap: fit.cues_of(pairs) for gap, pairs in gaps.items()}

    def figures(self, *, corrected: bool) -> dict[int, float]:
        return {gap: self._ndcg(gap, "corrected" if corrected else "stale") for gap in self.gaps}

    def mean(self, figures: Mapping[int, float]) -> float:
        return float(np.mean(list(figures.values()))) if figures else 0.0

    def report(self, *, corrected: bool) -> dict[int, GapFigures]:
        calibrated = self.figures(corrected=corrected)
        return {
            gap: GapFigures(
                structure=self._ndcg(gap, "structure"),
                fresh=self._ndcg(gap, "fresh"),
                stale=self._ndcg(gap, "stale"),
                calibrated=calibrated[gap],
            )
            for gap in self.gaps
        }

    @torch.no_grad()
    def _ndcg(self, gap: int, which: str) -> float:
        fit, pairs = self.fit, self.gaps[gap]
        fresh, stale = torch.from_numpy(pairs.fresh), torch.from_numpy(pairs.stale)
        if which == "corrected":
            fit.estimator.eval()
            fit.calibrator.eval()
            e_sem = fit.correct(pairs, self.cues[gap])[0]
        else:
            e_sem = fit.e_sem[fresh if which == "fresh" else stale]
        ranks = fused_ranks(
            fit.requests,
            pairs.fresh,
            e_sem,
            0.0 if which == "structure" else fit.fusion_weight,
            exclude_seen=fit.options.exclude_seen,
            among=fit.candidates[stale],
            unite_seen=fit.options.unite_history,
        )
        return mean_ndcg10(ranks)
