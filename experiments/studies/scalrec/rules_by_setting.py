"""Age rules and discounts for another ranking than the one a calibrator was judged under."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from shared.bundle import AgeRule
from training.calibration.age_rules import (
    UNRULED,
    age_groups,
    choose_discount,
    choose_rules,
    discount,
)
from training.calibration.judge import Judge
from training.calibration.pairs import Pairs
from training.fusion.fit import WEIGHTS
from training.pools import Setting
from training.semantic.own_terms import OwnTerms
from training.twin import Twin


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
