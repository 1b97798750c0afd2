"""CDA4Rec (Long et al., arXiv 2509.01551): cloud and device agents, and a plan for each request.

Sub-tasks are semantic modelling, candidate retrieval, structured user modelling and ranking. The
device writes an abstract, the cloud embeds it and retrieves a list, the device's own score is its
structured model, and a plan (``plans``) says which of these make the answer. The plan is a part of
the snapshot: at age g it is of t - g, as the embedding and the list are. Only abstract and index
pages of the paper are public, and no code.

Simplifications. A planner that is learned from the calibration block stands for the reasoning of a
language model of eight billion parameters, whose prompt is not public; with ``planner="language"``
a small language model chooses. The abstract is a template's. On-demand calls do not happen at ages
above 0. The device's profile is no feature: a planner is fitted for each profile by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from device_runtime.abstract.sentences import tokens
from launch.model_files import resolve_model
from training.background import in_thread
from training.baselines.base import (
    FLOAT_BYTES,
    FittedBaseline,
    Fitting,
    MethodCosts,
    Reads,
    Rows,
    World,
    weights_in,
)
from training.baselines.cda4rec.language import CausalModel, LetterPlanner
from training.baselines.cda4rec.planner import fit_planner
from training.baselines.cda4rec.plans import PLANS, Plan, plan_gains, plan_scores
from training.baselines.cda4rec.situation import features, situations
from training.baselines.device_time import encoder_us
from training.calibration.pairs import Pairs
from training.stages.calibration import fitting_pairs

Choice = Callable[[World, Rows], NDArray[np.int64]]  # rows [R] at tau -> places in PLANS
PLAN_BYTES = 1
SAMPLE = 256


@dataclass(frozen=True)
class CDA4Rec:
    """Options.

    Attributes:
        planner: learned: a ridge for each plan; language: a language model; a plan: always that.
        model: of the planner "language", as ``launch.model_files.resolve_model`` names it.
        ages: the planner learns what plans are worth with snapshots of these ages. A cloud does not
            know how old its plan will be when it is used.
        corrected: plans that fuse take SCaLRec's embedding, corrected and under its rules by age,
            in the place of the cached one (its RQ4); nothing else changes, the planner included.
    """

    planner: Literal["learned", "language"] | Plan = "learned"
    model: str = "smollm2"
    ages: Literal["fresh", "all"] = "all"
    corrected: bool = False
    reads: Reads = "both"

    async def fit(self, fitting: Fitting) -> FittedBaseline:
        """See ``Baseline.fit``.

        Raises:
            ConfigError: the language model cannot be had.
        """
        if self.planner == "learned":
            return await in_thread(lambda _: self._learned(fitting), fitting.progress)
        if self.planner != "language":
            place = PLANS.index(self.planner)
            return self._with(lambda _, rows: np.full(len(rows), place), costs_of(fitting))
        folder = resolve_model(self.model, cache=fitting.run.settings.cache)
        letters = LetterPlanner(CausalModel(folder, fitting.threads))
        read = letters.tokens(situations(fitting.world, sampled(fitting)))
        return self._with(
            lambda world, rows: letters.choose(situations(world, rows)),
            costs_of(fitting, plan_tokens=read),
        )

    def _with(self, choose: Choice, costs: MethodCosts) -> FittedCDA4Rec:
        return FittedCDA4Rec(choose, costs, self.corrected)

    def _learned(self, fitting: Fitting) -> FittedCDA4Rec:
        world, block = fitting.world, fitting_pairs(fitting.run.steps, fitting.seed)
        held = [pairs for gap, pairs in fitting.validation.items() if self.ages == "all" or not gap]
        validation = Pairs(
            np.concatenate([pairs.fresh for pairs in held]),
            np.concatenate([pairs.stale for pairs in held]),
        )
        if self.ages == "fresh":
            block = block[np.flatnonzero(block.fresh == block.stale)]
        learned, judged = (
            (features(world, pairs.stale), plan_gains(world.twin, pairs))
            for pairs in (block, validation)
        )
        planner = fit_planner(learned, judged)
        return self._with(
            lambda world, rows: planner.choose(features(world, rows)),
            costs_of(fitting, parameters=planner.parameters),
        )


@dataclass(frozen=True, eq=False)
class FittedCDA4Rec:
    """A planner over the product's own parts.

    Attributes:
        choose: the plan of each snapshot.
        corrected: see ``CDA4Rec``.
    """

    choose: Choice
    costs: MethodCosts
    corrected: bool = False

    @torch.no_grad()
    def scores(self, world: World, fresh: Rows, stale: Rows) -> Tensor:
        """As ``FittedBaseline.scores``."""
        twin, old = world.twin, torch.from_numpy(stale)
        fusing = None
        if self.corrected:
            mended, _ = twin.trusted(twin.inputs(Pairs(fresh, stale)))
            fusing = twin.fusion_weight * mended
        cached = twin.fusion_weight * twin.e_sem[old]
        every = plan_scores(twin.pools(fresh), twin.candidates[old], cached, fusing)
        plans = torch.from_numpy(self.choose(world, stale))
        return every[torch.arange(len(plans)), plans]


def sampled(fitting: Fitting) -> Rows:
    """Rows of some validation requests, by which texts are measured."""
    return fitting.validation[0].stale[:SAMPLE]


def costs_of(fitting: Fitting, *, parameters: int = 0, plan_tokens: float = 0.0) -> MethodCosts:
    """Of the product's parts and a planner with so many ``parameters``.

    Args:
        plan_tokens: that a planner reads beside the abstract.
    """
    trained, twin = fitting.trained, fitting.world.twin
    student = trained.student
    structure = weights_in(trained.backbone.model, trained.backbone.table)
    semantic = 0 if trained.projector.vectors is None else trained.projector.vectors.numel()
    words = 0 if student is None else student.weights.codes.size
    cloud = weights_in(trained.projector.projector)
    read = [tokens(fitting.world.abstracts[row]) for row in sampled(fitting).tolist()]
    return MethodCosts(
        parameters=structure + semantic + words + cloud + parameters,
        device_bytes=FLOAT_BYTES * (structure + semantic) + words,  # words are int8
        snapshot_bytes=FLOAT_BYTES * (twin.e_sem.shape[1] + twin.candidates.shape[1]) + PLAN_BYTES,
        cloud_tokens=plan_tokens + (float(np.mean(read)) if read else 0.0),
        device_us=encoder_us(trained.backbone.model) if fitting.most_epochs is None else None,
    )
