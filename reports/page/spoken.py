"""What a run came to, in one sentence that a person would say aloud: no interval, no score."""

from __future__ import annotations

from reports.names import ALONE, log_name
from reports.page.channels import is_nothing
from reports.page.verdict import headline_rows
from reports.summary.model import PaperSection, Staleness, Summary, SystemSection
from reports.text import percent
from shared.statistics import Estimate

_ALL_OF_IT = 0.95  # of a loss won back
_OLD = {"S1": "an embedding from the cloud", "S2": "a snapshot from the cloud"}


def spoken(summary: Summary) -> str | None:
    """What age cost, what calibration made of that, what the cloud was worth; None: not measured.

    Only what is significant is called better or worse; the figures are rounded.
    """
    clauses = []
    if summary.paper is not None and (rows := headline_rows(summary)):
        # The setting that lost most; where none lost, the first.
        row = max(rows.values(), key=_lost)
        clauses.append(_of_age(row, summary.paper))
    if summary.system is not None:
        clauses += _of_cloud(summary.system)
    if not clauses:
        return None
    return f"On {log_name(summary.run.log.get('log', 'this log'))}, {'; '.join(clauses)}."


def _lost(row: Staleness) -> float:
    return (row.loss.value or 0.0) if row.loss.sign > 0 else 0.0


def _of_age(row: Staleness, paper: PaperSection) -> str:
    old = f"{_OLD.get(row.setting, 'a snapshot')} that is {row.gap} events old"
    if row.loss.sign == 0:
        return f"{old} ranks no measurably worse than a fresh one"
    fresh = next(
        (
            score.metrics["ndcg@10"].value
            for score in paper.scores
            if (score.setting, score.gap, score.part) == (row.setting, 0, "all")
            and score.scorer == "uncalibrated"
        ),
        None,
    )
    if row.loss.sign < 0:
        return f"{old} ranks{_about(row.loss, fresh)} better than a fresh one"
    return f"{old} ranks{_about(row.loss, fresh)} worse than a fresh one, {_made_good(row)}"


def _made_good(row: Staleness) -> str:
    share = row.recovered.value
    if row.bought_back.sign < 0:
        return "and calibration makes it worse"
    if row.bought_back.sign == 0:
        return "and calibration makes no measurable difference to that"
    if share is None:
        return "and calibration wins some of it back"
    if share >= _ALL_OF_IT:
        return "and calibration wins all of it back"
    return f"and calibration wins about {percent(share)} of it back"


def _of_cloud(system: SystemSection) -> list[str]:
    """Nothing in older records, which do not know a device without any cloud."""
    over = next(
        (
            row.metrics["ndcg@10"]
            for row in system.differences
            if (row.by, row.minuend, row.subtrahend) == ("all", "answered", "alone")
        ),
        None,
    )
    if over is None:
        return []
    whose = f"than those of a {ALONE}"
    if is_nothing(over):
        return [f"over the whole replay the answers are exactly those of a {ALONE}"]
    if over.sign == 0:
        return [f"over the whole replay the answers are not measurably better or worse {whose}"]
    alone = next(
        (
            score.metrics["ndcg@10"].value
            for score in system.scores
            if (score.by, score.scorer) == ("all", "alone")
        ),
        None,
    )
    word = "better" if over.sign > 0 else "worse"
    return [f"over the whole replay the answers are{_about(over, alone)} {word} {whose}"]


def _about(change: Estimate, of: float | None) -> str:
    """`` about 8 %``; "" where it cannot be said."""
    if change.value is None or not of:
        return ""
    share = abs(change.value) / of
    return " less than 1 %" if share < 0.005 else f" about {percent(share)}"
