"""What goes into a bundle with a generator: how its devices collaborate, chosen on validation.

The study of LSC4Rec tells what collaboration is worth; this stage makes the same choices for one
bundle: alpha of eq. 10 and the rate of adaptive re-training, on late lists as long as the cloud's.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from device_runtime.ranking.adaptation import adapted
from device_runtime.ranking.list_fusion import fused
from shared.bundle import CollaborationSpec
from shared.progress import Progress
from shared.strict import Strict
from training.backbone.fit import TrainedBackbone
from training.backbone.scorer_fit import score_candidates
from training.collaboration.adaptive import ADAPTIVE_STEPS, ADAPTIVE_TRANSITIONS, adaptive_scores
from training.collaboration.asked import Lists, requests_of_validation
from training.collaboration.ranks import list_ranks
from training.collaboration.reranking import INDEPENDENT, Place, Reranker
from training.collaboration.srm import EncoderSrm
from training.generative.trained import TrainedGenerator
from training.learning import reproducible
from training.run import TrainingRun
from training.settings import Lsc4recSettings
from training.stages.forms import model_form
from training.stages.stage import Stage, threaded
from training.trained import TrainedModel

SHORTEST = 2  # a list of one item has no order
Z = 1.96  # of a 95 % interval


class ChosenCollaboration(Strict):
    """What goes into the bundle, and figures for its manifest."""

    spec: CollaborationSpec
    figures: dict[str, float]


async def with_collaboration(run: TrainingRun, trained: TrainedModel) -> TrainedModel:
    """The model with what validation says of its generator and encoder; as it is without one.

    Raises:
        DataError: a finished stage cannot be read.
    """
    if trained.generator is None:
        return trained
    found = await run.result(collaboration_stage(run))
    figures = {**trained.figures, **found.figures}
    return replace(trained, collaboration=found.spec, figures=figures)


def collaboration_stage(run: TrainingRun) -> Stage[ChosenCollaboration]:
    """What devices are to do with the run's encoder and generator."""
    chosen = run.settings.lsc4rec

    def fit(
        progress: Progress, backbone: TrainedBackbone, generator: TrainedGenerator
    ) -> ChosenCollaboration:
        return _choose(run, backbone, generator, progress)

    return Stage(
        name="collaboration",
        options={
            "plan": chosen.model_dump(include={"validation_users", "adaptive_rates"}),
            "lateness": chosen.lateness,
            "adaptation": [ADAPTIVE_STEPS, ADAPTIVE_TRANSITIONS],
            "candidates": run.settings.cloud.candidates,
            "exclude_seen": run.policy == "exclude",
            "seed": run.settings.seed,
            "threads": run.settings.training.threads,
        },
        inputs={"events": run.steps.events, "split": run.split},
        upstream=(run.structure, run.generator),
        code=(
            *(collaboration_stage, fused, Reranker, requests_of_validation, Lists, EncoderSrm),
            *(list_ranks, adaptive_scores, adapted, score_candidates),
        ),
        build=threaded(fit),
        form=SAVED,
    )


def _choose(
    run: TrainingRun, backbone: TrainedBackbone, generator: TrainedGenerator, progress: Progress
) -> ChosenCollaboration:
    chosen, exclude = run.settings.lsc4rec, run.policy == "exclude"
    asked = requests_of_validation(run.steps.events, run.split, chosen)
    histories = asked.known_at(chosen.lateness)
    barred = max((len(np.unique(known)) for known in histories), default=0) if exclude else 0
    n = min(run.settings.cloud.candidates, len(run.log.catalogue) - barred)
    if len(asked) == 0 or n < SHORTEST:
        return ChosenCollaboration(spec=_spec(chosen), figures={})
    with reproducible(run.settings.seed, run.settings.training.threads):
        lists = Lists(
            *generator.candidate_lists(histories, n, exclude_seen=exclude, progress=progress)
        )
        srm = EncoderSrm(backbone.model, backbone.table)
        held = Reranker(
            srms={INDEPENDENT: srm},
            asked=asked,
            lists={chosen.lateness: lists},
            chosen=chosen,
            exclude_seen=exclude,
        )
        with progress.task("choosing how devices collaborate") as task:
            found = choose_spec(held, (n, chosen.lateness), chosen)
            task.advance()
    return found


def choose_spec(held: Reranker, place: Place, chosen: Lsc4recSettings) -> ChosenCollaboration:
    """alpha with the highest NDCG@10, and a rate only if its gain over none is significant.

    Re-training costs a device time at every request, so the 95 % interval of its gain over the
    model as trained, paired by request, must lie above zero; among such rates the best one.
    """
    initial, plain = held.initial(place), held.plain(INDEPENDENT, place)
    share, figure = held.best_alpha(plain, place)
    spec, best = _spec(chosen, initial_share=share), figure
    without = held.ndcg10_each(fused(initial, plain, share), place)
    for rate in chosen.adaptive_rates:
        adapted = held.adapted(INDEPENDENT, place, rate)
        share, figure = held.best_alpha(adapted, place)
        gain = held.ndcg10_each(fused(initial, adapted, share), place) - without
        error = float(gain.std(ddof=1)) / np.sqrt(len(gain)) if len(gain) > 1 else np.inf
        if figure > best and float(gain.mean()) > Z * error:
            spec, best = _spec(chosen, initial_share=share, adaptation_rate=rate), figure
    figures = {
        "collaboration_validation_cloud": held.ndcg10(initial, place),
        "collaboration_validation_device": held.ndcg10(plain, place),
        "collaboration_validation_ndcg10": best,
    }
    return ChosenCollaboration(spec=spec, figures=figures)


def _spec(chosen: Lsc4recSettings, **values: float) -> CollaborationSpec:
    return CollaborationSpec(
        adaptation_steps=ADAPTIVE_STEPS,
        adaptation_transitions=ADAPTIVE_TRANSITIONS,
        **values,
    )


SAVED = model_form(ChosenCollaboration, "collaboration.json", "how devices collaborate")
