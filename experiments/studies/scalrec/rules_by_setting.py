"""Age rules and discounts for another ranking than the one a calibrator was judged under."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from shared.bundle import AgeRule
from training.calibration.age_rules import (
    UNRULED,
    age_groups,
    choose_discount,
    choose_rules,
    discount,
)
from training.calibration.judge import Judge
from training.calibration.pairs import Pairs, pairs_at_gap
from training.fusion.fit import WEIGHTS
from training.pools import Setting
from training.run import TrainingRun
from training.semantic.own_terms import OwnTerms
from training.steps import VALIDATION_GAPS
from training.trained import TrainedModel
from training.twin import Twin, make_twin


@dataclass(frozen=True)
class Rules:
    """How far a snapshot is trusted by age: with corrections, and without (the opponents).

    Attributes:
        wordless: the discount of a device without a text student. Its weights are of <e_sem, v'_i>
            itself, not factors on a fusion weight.
    """

    calibrated: tuple[AgeRule, ...]
    discount: tuple[AgeRule, ...]
    wordless: tuple[AgeRule, ...]


class ChosenOn(NamedTuple):
    """What rules are chosen on.

    Attributes:
        twin: of the requests that training held out.
        pairs: gap -> pairs of validation requests.
        margin: of ``choose_rules``; None: nothing is ruled.
    """

    twin: Twin
    pairs: dict[int, Pairs]
    margin: float | None


def validation_of(
    run: TrainingRun,
    trained: TrainedModel,
    text: NDArray[np.float32],
    said: NDArray[np.float32] | None,
) -> ChosenOn:
    """Of a run's own anchors.

    Args:
        trained: over the items that training knew.
        text: [A, e] embedded abstracts of all anchors.
        said: [A, d] of the text student; None without one.
    """
    with torch.no_grad():
        e_sem = trained.projector.projector(torch.from_numpy(text))
    requests = run.requests(trained.backbone, run.progress)
    words = None if said is None else torch.from_numpy(said)
    steps, options = run.steps, run.settings.training
    return ChosenOn(
        twin=make_twin(run.settings, trained, requests, e_sem, words),
        pairs={gap: pairs_at_gap(steps.anchors, steps.validation, gap) for gap in VALIDATION_GAPS},
        margin=options.rule_margin if options.age_rules else None,
    )


def rules_for(
    twin: Twin,
    validation: Mapping[int, Pairs],
    setting: Setting,
    *,
    fresh_list: bool = False,
    margin: float | None,
) -> Rules:
    """Chosen on validation as ``fit_calibration`` chooses its own.

    Args:
        twin: of the validation requests.
        validation: gap -> pairs.
        setting: what is ranked.
        fresh_list: the fresh candidates are ranked at every gap.
        margin: of ``choose_rules``; None: nothing is ruled, only the discount is chosen.
    """

    judge = judge_for(twin, validation, setting, fresh_list=fresh_list)
    calibrated = {
        gap: twin.calibration.correct(
            twin.inputs(pairs, listed=pairs.fresh if fresh_list else pairs.stale)
        )[0]
        for gap, pairs in judge.pairs.items()
    }
    rules = (UNRULED,) if margin is None else choose_rules(judge, calibrated, margin=margin)
    own = twin.requests.own or OwnTerms()
    silent = twin.requests.equipped(twin.requests.semantics, replace(own, text=None))
    return Rules(
        calibrated=rules or (UNRULED,),
        discount=choose_discount(judge, judge.pairs) or (UNRULED,),
        wordless=_weights(
            judge_for(
                replace(twin, requests=silent, fusion_weight=1.0),
                validation,
                setting,
                fresh_list=fresh_list,
            )
        )
        or (UNRULED,),
    )


def judge_for(
    twin: Twin, validation: Mapping[int, Pairs], setting: Setting, *, fresh_list: bool = False
) -> Judge:
    """What embeddings are worth on validation in a setting; arguments as for ``rules_for``."""
    return Judge(
        twin.requests,
        twin.e_sem,
        validation,
        twin.fusion_weight,
        exclude_seen=twin.exclude_seen,
        ranked=twin.ranked(setting),
        fresh_list=fresh_list,
    )


def _weights(judge: Judge) -> tuple[AgeRule, ...]:
    """The best weight of <e_sem(tau), v'_i> for a fresh snapshot, and for each group of ages."""
    fresh = [(0, (0,))] if 0 in judge.pairs else []
    rules = []
    for start, gaps in (*fresh, *age_groups(judge.pairs)):
        means = {
            weight: sum(judge.score(gap, judge.stale_embedding(gap), weight) for gap in gaps)
            for weight in (0.0, *WEIGHTS)
        }
        rules.append(discount(start, max(means, key=lambda weight: means[weight])))
    return tuple(rules)
