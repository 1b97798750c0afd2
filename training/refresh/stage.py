"""The stage that learns when to refresh; it comes last and no other stage reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from device_runtime.abstract import TemplateAbstract
from device_runtime.quadratic_gain import FEATURES, QuadraticGain
from shared.progress import Progress, Task
from shared.refresh_file import GainCoefficients, RefreshKnowledge
from shared.split import MIN_HISTORY, Split
from training.anchors import MAX_GAP, Anchors, write_abstracts
from training.background import in_thread
from training.determinism import reproducible
from training.model_form import model_form
from training.pairs import Pairs, block_pairs, pairs_at_gap, top_candidates, training_pairs
from training.refresh.closed_loop import measure_call_rates
from training.refresh.evidence import Ranker, RefreshEvidence
from training.refresh.gain_fit import FittedGain, fit_gain
from training.refresh.sequences import accumulated, indexed
from training.requests import Requests, make_requests
from training.sources import SourceTree
from training.stages import stage_key

if TYPE_CHECKING:
    from training.pipeline import TrainingRun
    from training.trained import TrainedModel

Floats = NDArray[np.float64]
STAGE = "refresh"
VALIDATION_AGES = (1, 2, 5, 10, 20)
MAX_PAIRS = 30_000  # that the gain is fitted on; more would only take longer
WALKERS, WALK = 100, 32  # users who refresh by thresholds, and training steps of each
# Policies whose score is made from another's, request after request.
_BUILT_UP = {
    "drift": {"accumulated-drift": accumulated, "indexed-drift": indexed},
    "expected-gain": {"accumulated-gain": accumulated},
}
_PACKAGES = ("training", "device_runtime", "shared")
_NO_PART = frozenset({"shared.errors", "shared.progress", "shared.bundle", "training.background"})


class LearnedRefreshes(BaseModel):
    """What goes into the bundle, and figures for its manifest."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    knowledge: RefreshKnowledge
    figures: dict[str, float]


@dataclass(frozen=True, eq=False)
class _Walks:
    """Consecutive training steps of some users.

    Attributes:
        anchors: all of them, a user's one after another.
        text: [A, m] embedding of the abstract at each.
    """

    anchors: Anchors
    text: NDArray[np.float32]


async def with_refreshes(run: TrainingRun, trained: TrainedModel) -> TrainedModel:
    """The model with what ``learn_refreshes`` finds about it."""
    learned = await learn_refreshes(run, trained)
    figures = {**trained.figures, **learned.figures}
    return replace(trained, refresh=learned.knowledge, figures=figures)


async def learn_refreshes(run: TrainingRun, trained: TrainedModel) -> LearnedRefreshes:
    """The gain model and the call rates of every scored policy, or what an earlier run found.

    Fitted on the calibration block (on training steps without one); the penalty of the gain model
    is chosen on validation steps. No test step takes part.

    Raises:
        DataError: there is nothing to fit on.
        EmbedderError: the embedder does not answer.
    """
    settings = run.settings
    tree = SourceTree(Path(__file__).parents[2], _PACKAGES, _NO_PART)
    key = stage_key(
        code=tree.hash([__name__]),
        upstream=[run.keys["calibration"]],
        profile=settings.profile.model_dump(),
        candidates=settings.cloud.candidates,
        seed=settings.seed,
    )

    async def build() -> LearnedRefreshes:
        text, walks = await run.text(), await _walk(run)
        return await in_thread(
            lambda progress: _learn(run, trained, text, walks, progress), run.progress
        )

    return await run.store.run(STAGE, key, build, SAVED)


async def _walk(run: TrainingRun) -> _Walks:
    anchors = walk_anchors(run.split)
    if len(anchors) == 0:
        return _Walks(anchors, np.empty((0, 0), dtype=np.float32))
    writer = TemplateAbstract(run.log.catalogue, run.settings.abstract.form)
    texts = write_abstracts(run.log, anchors, writer, run.settings.profile)
    return _Walks(anchors, await run.embed(texts, "embedding consecutive abstracts"))


def walk_anchors(split: Split) -> Anchors:
    """The last WALK training steps of up to WALKERS users; the same for every seed."""
    steps = np.minimum(split.validation_start - MIN_HISTORY, WALK)
    able = np.flatnonzero(steps >= 2)
    chosen = np.random.default_rng(0).permutation(able)
    # Long walks say more; among equals, chance decides.
    chosen = np.sort(chosen[np.argsort(-steps[chosen], kind="stable")][:WALKERS])
    user = np.repeat(chosen, steps[chosen])
    back = np.concatenate([np.arange(n, 0, -1) for n in steps[chosen]] or [np.zeros(0, np.int64)])
    return Anchors(user.astype(np.int64), (split.validation_start[user] - back).astype(np.int64))


def _learn(
    run: TrainingRun,
    trained: TrainedModel,
    text: NDArray[np.float32],
    walks: _Walks,
    progress: Progress,
) -> LearnedRefreshes:
    with (
        reproducible(run.settings.seed, run.settings.training.threads),
        progress.task("learning when to refresh") as task,
    ):
        requests = run.requests(trained.backbone, progress)
        evidence = _evidence(run, trained, requests, text)
        pairs, held = fitting_pairs(run, requests), validation_pairs(run)
        fitted = None  # a log of few events may have no request with an older snapshot
        if len(pairs):
            fitted = fit_gain(
                evidence.features(pairs, task),
                evidence.gains(pairs, task),
                (evidence.features(held, task), evidence.gains(held, task)),
            )
        gain = None if fitted is None else fitted.coefficients
        rates = {}
        for policy, scores in _walked_scores(run, trained, walks, requests.session, gain, task):
            measured = measure_call_rates(scores)
            if measured is not None:
                rates[policy] = measured
    return LearnedRefreshes(
        knowledge=RefreshKnowledge(gain=gain, call_rates=rates),
        figures={} if fitted is None else _figures(fitted),
    )


def _figures(fitted: FittedGain) -> dict[str, float]:
    figures = {
        "gain_penalty": fitted.penalty,
        "gain_validation_error": fitted.error,
        "gain_validation_plain_error": fitted.plain_error,
        "gain_validation_top_tenth": fitted.top_tenth,
        "gain_validation_mean": fitted.mean,
    }
    return {name: value for name, value in figures.items() if np.isfinite(value)}


def _evidence(
    run: TrainingRun, trained: TrainedModel, requests: Requests, text: NDArray[np.float32]
) -> RefreshEvidence:
    settings, projector = run.settings, trained.projector
    with torch.no_grad():
        e_sem = projector.projector(torch.from_numpy(text))
    profile = settings.profile
    ranker = Ranker(
        fusion_weight=projector.fusion_weight,
        window=profile.window,
        top_l=settings.training.top_l,
        unite_history=profile.unite_history,
        whole_history=profile.retain != "window",
        whole_table=profile.table != "none" and profile.local_candidates > 0,
        exclude_seen=run.policy == "exclude",
    )
    candidates = top_candidates(e_sem, requests.table.vectors, settings.cloud.candidates)
    return RefreshEvidence(requests, e_sem, candidates, trained.calibration, ranker)


def fitting_pairs(run: TrainingRun, requests: Requests) -> Pairs:
    """Requests of the calibration block with older snapshots; of training if there is no block."""
    block, rng = run.block(), np.random.default_rng(run.settings.seed)
    if block is None:
        pairs = training_pairs(run.anchors, run.rows(run.trained_on))
    else:
        pairs = block_pairs(run.anchors, block, rng, partners=MAX_GAP)
    return _older(pairs, rng, requests.fresh_targets if run.policy == "exclude" else None)


def validation_pairs(run: TrainingRun) -> Pairs:
    """Validation requests with snapshots of every age that training keeps for them."""
    if len(run.validation) == 0:
        return Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64))
    parts = [pairs_at_gap(run.anchors, run.validation, gap) for gap in VALIDATION_AGES]
    pairs = Pairs(
        np.concatenate([part.fresh for part in parts]),
        np.concatenate([part.stale for part in parts]),
    )
    return _older(pairs, np.random.default_rng(run.settings.seed), None)


def _older(
    pairs: Pairs,
    rng: np.random.Generator,
    counts: Callable[[NDArray[np.int64]], NDArray[np.bool_]] | None,
) -> Pairs:
    """At most MAX_PAIRS of them with a snapshot that is not fresh and a target that counts."""
    use = pairs.fresh != pairs.stale
    if counts is not None:
        use &= counts(pairs.fresh)
    at = np.flatnonzero(use)
    return pairs[np.sort(rng.permutation(at)[:MAX_PAIRS])]


def _walked_scores(
    run: TrainingRun,
    trained: TrainedModel,
    walks: _Walks,
    sessions: NDArray[np.int64],
    gain: GainCoefficients | None,
    task: Task,
) -> Iterator[tuple[str, Floats]]:
    """(policy, [U, S, S] scores of every step with every earlier snapshot)."""
    anchors = walks.anchors
    if len(anchors) == 0:
        return
    requests = make_requests(
        trained.backbone.model,
        trained.backbone.table,
        run.events,
        anchors,
        session=sessions,
    )
    users, walker = np.unique(anchors.user, return_inverse=True)
    rows = np.arange(len(anchors))
    step = rows - np.searchsorted(walker, walker)
    # Every earlier step of the same walk.
    fresh = np.repeat(rows, step)
    stale = np.concatenate([np.arange(row - n, row) for row, n in zip(rows, step, strict=True)])
    pairs = Pairs(fresh, stale.astype(np.int64))
    features = _evidence(run, trained, requests, walks.text).features(pairs, task)
    scores = {
        "drift": features[:, FEATURES.index("drift")],
        "reliability": 1.0 - features[:, FEATURES.index("r")],
        "inconsistency": features[:, FEATURES.index("inconsistency")],
    }
    if gain is not None:
        scores["expected-gain"] = QuadraticGain(gain).of(features)
    for policy, values in scores.items():
        square = np.full((len(users), WALK, WALK), np.nan)
        square[walker[fresh], step[fresh], step[stale]] = values
        yield policy, square
        for name, built_up in _BUILT_UP.get(policy, {}).items():
            yield name, built_up(square)


SAVED = model_form(LearnedRefreshes, "refresh.json", "what training knows of refreshes")
