"""The answer to an experiment's question: sentences and one small table, both from the records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from experiments.answer import SIGNED, Claim
from experiments.record import Record
from experiments.spec import Experiment
from reports.experiments.outcomes import ClaimOutcome, Spot, head, outcomes
from reports.experiments.tables import METRICS, intervals
from reports.markdown import markdown
from reports.names import log_name
from reports.text import NONE, joined

MOST_ROWS = 10  # of the table that stands before the first picture
_MOST_NAMED = 6  # places of a log in one clause of a sentence; more are counted
_NOT_YET = "Not run yet."
_FIRST = {
    "above": "ranks better than",
    "below": "ranks worse than",
    "neither": "does not rank significantly better or worse than",
}
_THEN = {"below": "worse", "neither": "no significant difference"}


def sentences(experiment: Experiment, records: Sequence[Record]) -> list[str]:
    """One for each claim that the records decide; a claim without figures is not told."""
    bare = len({profile for record in records for profile in record.profiles}) == 1
    told = (_sentence(claim, experiment, records, bare) for claim in experiment.answer)
    return [sentence for sentence in told if sentence] or [_NOT_YET]


def _sentence(claim: Claim, experiment: Experiment, records: Sequence[Record], bare: bool) -> str:
    """Args: bare: whether all is of one profile, which then goes without saying."""
    sides: dict[str, list[ClaimOutcome]] = {}
    for outcome in outcomes(claim, experiment, records):
        sides.setdefault(outcome.side, []).append(outcome)
    if not sides or not claim.about:
        return ""
    alone = len(claim.variants or ()) == 1  # the variant that the words are about
    where = {side: _places(found, bare, alone) for side, found in sides.items()}
    if claim.show == "gate":
        text = _held(claim, where)
    elif claim.show in SIGNED:
        text = _compared(claim, where)
    else:
        text = f"{claim.about}: {where['value']}"
    return f"{text[0].upper()}{text[1:]}."


def _held(claim: Claim, where: Mapping[str, str]) -> str:
    if "above" not in where:
        return f"it does not hold that {claim.about}: not on {where['below']}"
    but = f"; this fails on {where['below']}" if "below" in where else ""
    return f"{claim.about} on {where['above']}{but}"


def _compared(claim: Claim, where: Mapping[str, str]) -> str:
    """The first clause says what is compared, the others only how it came out elsewhere."""
    first, *others = (side for side in _FIRST if side in where)
    clauses = [f"{claim.about} {_FIRST[first]} {claim.than} on {where[first]}"]
    return "; ".join([*clauses, *(f"{_THEN[side]} on {where[side]}" for side in others)])


def _places(here: Sequence[ClaimOutcome], bare: bool, alone: bool) -> str:
    """``ReDial (tiny +15.3 %, small +9.0 %) and MovieLens 100K (tiny +3.1 %)``."""
    by_log: dict[str, list[str]] = {}
    for one in here:
        spot = one.spot
        words = ("" if bare else spot.profile, "" if alone else spot.variant, one.short)
        by_log.setdefault(spot.log, []).append(" ".join(word for word in words if word))
    logs = []
    for log, told in by_log.items():
        details = [words for words in told if words]
        many = f"{len(told)} {'variants' if bare else 'cases'}"
        listed = many if len(told) > _MOST_NAMED else ", ".join(details)
        logs.append(log_name(log) + (f" ({listed})" if listed else ""))
    return joined(logs)


def glance(experiment: Experiment, records: Sequence[Record]) -> str:
    """The figures behind the sentences: a row for each place, a column for each claim.

    At most MOST_ROWS rows; of more, first those with a significant figure. "" without a figure.
    """
    rows: dict[Spot, list[ClaimOutcome | None]] = {}
    for column, claim in enumerate(experiment.answer):
        for one in outcomes(claim, experiment, records):
            rows.setdefault(one.spot, [None] * len(experiment.answer))[column] = one
    if not rows:
        return ""
    order = {record.log: number for number, record in enumerate(records)}
    spots = sorted(rows, key=lambda spot: order[spot.log])
    caption = _caption(experiment, records)
    if len(spots) > MOST_ROWS:
        caption += f" {MOST_ROWS} of {len(spots)} rows, significant ones first; the rest is below."
        spots = sorted(spots, key=lambda spot: not any(map(_significant, rows[spot])))
    varied = any(spot.variant for spot in spots)
    heads = ["log", "profile", *(["variant"] if varied else [])]
    heads += [head(claim, experiment) for claim in experiment.answer]
    body = []
    for spot in spots[:MOST_ROWS]:
        variant = [spot.variant] if varied else []
        body.append([log_name(spot.log), spot.profile, *variant, *map(_cell, rows[spot])])
    return markdown(heads, body, caption)


def _significant(outcome: ClaimOutcome | None) -> bool:
    return outcome is not None and outcome.side in ("above", "below")


def _cell(outcome: ClaimOutcome | None) -> str:
    return NONE if outcome is None else outcome.cell


def _caption(experiment: Experiment, records: Sequence[Record]) -> str:
    claims = [claim for claim in experiment.answer if claim.show != "extra"]
    if not claims:
        return "Mean and standard deviation over the seeds."
    metrics = ", ".join(dict.fromkeys(METRICS[claim.metric] for claim in claims))
    text = f"{metrics}; {intervals(records)}."
    if any(claim.show in SIGNED for claim in claims):
        text += " What is called better or worse is so significantly; n.s.: not significant."
    return text
