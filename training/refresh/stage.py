"""The stage that learns when to refresh; it comes last and no other stage reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

import training.refresh
from device_runtime.abstract.writer import TemplateAbstract
from device_runtime.refresh.policy import RefreshState
from device_runtime.refresh.quadratic_gain import FEATURES, QuadraticGain
from device_runtime.state.cues import SHOWN, inconsistency
from shared.progress import Progress, Task
from shared.refresh_file import GainCoefficients, RefreshKnowledge
from shared.split import MIN_HISTORY, Split
from shared.strict import Strict
from training.background import in_thread
from training.calibration.fit import FittedCalibration
from training.calibration.pairs import Pairs, block_pairs, pairs_at_gap, training_pairs
from training.learning import reproducible
from training.pools import Pools
from training.refresh.closed_loop import accumulated, indexed, measure_call_rates
from training.refresh.evidence import features, gains
from training.refresh.gain_fit import FittedGain, fit_gain
from training.run import TrainingRun
from training.semantic.anchors import MAX_GAP, Anchors, write_abstracts_yielding
from training.semantic.requests import Requests, make_requests
from training.stages.forms import model_form
from training.stages.stage import Stage
from training.trained import TrainedModel
from training.twin import Twin, make_twin

Floats = NDArray[np.float64]
VALIDATION_AGES = (1, 2, 5, 10, 20)
MAX_PAIRS = 30_000  # that the gain is fitted on; more would only take longer
WALKERS, WALK = 100, 32  # users who refresh by thresholds, and training steps of each
# Policies whose score is made from another's, request after request.
_BUILT_UP = {
    "drift": {"accumulated-drift": accumulated, "indexed-drift": indexed},
    "expected-gain": {"accumulated-gain": accumulated},
}


class LearnedRefreshes(Strict):
    """What goes into the bundle, and figures for its manifest."""

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
    return await run.result(refresh_stage(run, trained))


def refresh_stage(run: TrainingRun, trained: TrainedModel) -> Stage[LearnedRefreshes]:
    """``learn_refreshes`` as a stage of the run that ``trained`` is from."""
    settings, anchors = run.settings, walk_anchors(run.split)

    async def build(
        progress: Progress, _: FittedCalibration, text: NDArray[np.float32]
    ) -> LearnedRefreshes:
        walks = _Walks(anchors, await embed_walks(run, anchors))
        trained_on = await run.on_known_items(trained)
        return await in_thread(
            lambda stoppable: _learn(run, trained_on, text, walks, stoppable), progress
        )

    return Stage(
        name="refresh",
        options={
            "profile": settings.profile,
            "candidates": settings.cloud.candidates,
            "top_l": settings.training.top_l,
            "exclude_seen": run.policy == "exclude",
            "seed": settings.seed,
            "threads": settings.training.threads,
        },
        inputs={"steps": run.steps, "walks": anchors},
        upstream=(run.calibrator, run.abstracts),
        code=(training.refresh, Twin, Pools, inconsistency, QuadraticGain, RefreshState),
        build=build,
        form=SAVED,
    )


async def embed_walks(run: TrainingRun, anchors: Anchors) -> NDArray[np.float32]:
    """[W, m] embedding of the abstract at each of ``anchors``, those of ``walk_anchors``."""
    if len(anchors) == 0:
        return np.empty((0, 0), dtype=np.float32)
    writer = TemplateAbstract(run.log.catalogue, run.settings.abstract.form)
    texts = await write_abstracts_yielding(run.log, anchors, writer, run.settings.profile)
    return await run.embed(texts, "embedding consecutive abstracts")


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
        twin = _twin(run, trained, requests, text)
        pairs, held = fitting_pairs(run, requests), validation_pairs(run)
        fitted = None  # a log of few events may have no request with an older snapshot
        if len(pairs):
            fitted = fit_gain(
                features(twin, pairs, task),
                gains(twin, pairs, task),
                (features(twin, held, task), gains(twin, held, task)),
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


def _twin(
    run: TrainingRun, trained: TrainedModel, requests: Requests, text: NDArray[np.float32]
) -> Twin:
    with torch.no_grad():
        e_sem = trained.projector.projector(torch.from_numpy(text))
    return make_twin(
        run.settings, trained, requests, e_sem, run.words_at(trained, requests.anchors)
    )


def fitting_pairs(run: TrainingRun, requests: Requests) -> Pairs:
    """Requests of the calibration block with older snapshots; of training if there is no block."""
    steps, rng = run.steps, np.random.default_rng(run.settings.seed)
    block = steps.block()
    if block is None:
        pairs = training_pairs(steps.anchors, steps.rows(steps.trained_on))
    else:
        pairs = block_pairs(steps.anchors, block, rng, partners=MAX_GAP)
    return _older(pairs, rng, requests.fresh_targets if run.policy == "exclude" else None)


def validation_pairs(run: TrainingRun) -> Pairs:
    """Validation requests with snapshots of every age that training keeps for them."""
    steps = run.steps
    if len(steps.validation) == 0:
        return Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64))
    parts = [pairs_at_gap(steps.anchors, steps.validation, gap) for gap in VALIDATION_AGES]
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
        run.steps.events,
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
    twin = _twin(run, trained, requests, walks.text)
    found = features(twin, pairs, task)
    scores = {
        "drift": found[:, FEATURES.index("drift")],
        "reliability": 1.0 - found[:, FEATURES.index("r")],
        "inconsistency": found[:, FEATURES.index("inconsistency")],
        "inconsistency-top10": twin.inconsistency(pairs, top=SHOWN),
    }
    if gain is not None:
        scores["expected-gain"] = QuadraticGain(gain).of(found)
    for policy, values in scores.items():
        square = np.full((len(users), WALK, WALK), np.nan)
        square[walker[fresh], step[fresh], step[stale]] = values
        yield policy, square
        for name, built_up in _BUILT_UP.get(policy, {}).items():
            yield name, built_up(square)


SAVED = model_form(LearnedRefreshes, "refresh.json", "what training knows of refreshes")
