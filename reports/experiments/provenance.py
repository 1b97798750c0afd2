"""Where the figures of a page come from: data, seeds, machines, records."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.record import Record
from experiments.spec import Experiment
from reports.experiments.tables import split_at_once
from reports.names import log_name
from reports.text import joined, split_told


def run_facts(record: Record) -> str:
    """Seeds, computing, machine, time, revision and the record's file."""
    seconds = sum(run.seconds for run in record.runs)
    revisions = ", ".join(dict.fromkeys(run.revision or "no revision" for run in record.runs))
    machines = "; ".join(dict.fromkeys(run.machine for run in record.runs))
    codes = len({run.code for run in record.runs})
    seeds = ", ".join(
        f"`{profile}` {record.seeds(profile)} of {record.planned}" for profile in record.profiles
    )
    drawn = (
        "users and seeds" if record.resampled != "users" else "users, seeds averaged per user first"
    )
    days = sorted({run.started[:10] for run in record.runs})
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    lines = [
        f"- Record: [{record.log}.json]({record.log}.json), computed {when}",
        f"- Seeds: {seeds}",
        f"- Intervals: {record.draws:,} resamples of {drawn}",
        f"- Cells: {len(record.runs)}, {seconds / 3600:.1f} hours of computing"
        + (f", by {codes} states of the code" if codes > 1 else ""),
        f"- Machine: {machines}",
        f"- Revision: {revisions}",
    ]
    return "\n".join(lines) + "\n"


def data_facts(experiment: Experiment, record: Record) -> str:
    """The log, what was done to it, its terms, and what is asked but not answered."""
    repeats = (
        "repeats are excluded (seen items are never ranked)"
        if record.repeat_policy == "exclude"
        else "repeats are allowed"
    )
    said = record.description
    lines = [
        f"{said.get('users', '?')} users, {said.get('items', '?')} items, "
        f"{said.get('interactions', '?')} interactions; {repeats}.",
        f"Split {split_told(None, 'global')}." if split_at_once(record) else "",
        *(f"Note: {note}." for note in record.notes),
        _lacking(experiment, record),
        f"Terms of the data: {' '.join(record.terms.split())}" if record.terms else "",
    ]
    return "\n\n".join(line for line in lines if line) + "\n"


def before_own_score(experiment: Experiment, records: Sequence[Record]) -> str:
    """Which records are of devices without a score of their own, in a line; "" if none is."""
    older = [record for record in records if _is_older(experiment, record)]
    if not older:
        return ""
    which = "" if len(older) == len(records) else f" ({joined([log_name(r.log) for r in older])})"
    return (
        f"*Recorded before devices had counts and words of their own{which}, and before the "
        "semantic channel had its own item vectors: structure is the encoder alone there, and the "
        "cloud's embedding is scored with the encoder's vectors.*\n"
    )


def _is_older(experiment: Experiment, record: Record) -> bool:
    training = record.settings.get("training", {})
    return bool(training) and "text_student" not in training and experiment.study != "lsc4rec"


def _lacking(experiment: Experiment, record: Record) -> str:
    """What the experiment asks and the record does not answer; "" if it answers all."""
    held = {key.split("/")[2] for key in (*record.differences, *record.ratios)}
    pairs = {name for matrix in experiment.matrices.values() for name, _ in matrix.differences()}
    asked = (*experiment.differences, *experiment.ratios)
    lacking = [name for name in asked if name not in held and name not in pairs]
    if not lacking:
        return ""
    return (
        f"Not answered here: {', '.join(lacking)}. The record is older than the question, or its "
        "cells do not score what is compared; nothing on this page is about them."
    )
