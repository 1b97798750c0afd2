"""Age rules and discounts for another ranking than the one a calibrator was judged under."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shared.bundle import AgeRule
from training.calibration.age_rules import UNRULED, choose_discount, choose_rules
from training.calibration.fit import FittedCalibration
from training.calibration.judge import Judge
from training.calibration.pairs import Pairs
from training.pools import Ranked
from training.twin import Twin


@dataclass(frozen=True)
class Rules:
    """How far a snapshot is trusted by age: with corrections, and without (the opponent)."""

    calibrated: tuple[AgeRule, ...]
    discount: tuple[AgeRule, ...]


def rules_for(
    twin: Twin,
    validation: Mapping[int, Pairs],
    ranked: Ranked,
    *,
    fresh_list: bool = False,
    margin: float | None,
) -> Rules:
    """Chosen on validation as ``fit_calibration`` chooses its own.

    Args:
        twin: of the validation requests.
        validation: gap -> pairs.
        fresh_list: the fresh candidates are ranked at every gap.
        margin: of ``choose_rules``; None: nothing is ruled, only the discount is chosen.
    """
    judge = Judge(
        twin.requests,
        twin.e_sem,
        validation,
        twin.fusion_weight,
        exclude_seen=twin.exclude_seen,
        ranked=ranked,
        fresh_list=fresh_list,
    )
    calibrated = {
        gap: twin.calibration.correct(
            twin.inputs(pairs, listed=pairs.fresh if fresh_list else pairs.stale)
        )[0]
        for gap, pairs in judge.pairs.items()
    }
    rules = (UNRULED,) if margin is None else choose_rules(judge, calibrated, margin=margin)
    return Rules(rules or (UNRULED,), choose_discount(judge, judge.pairs) or (UNRULED,))


def own_rules(fitted: FittedCalibration) -> Rules:
    """Those that a calibrator was fitted with."""
    return Rules(fitted.rules or (UNRULED,), fitted.discount or (UNRULED,))
