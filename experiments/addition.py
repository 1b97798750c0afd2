"""Adding to a record: what a run computed, beside what the record says of other cells.

So an experiment of many hours can be done a profile or a variant at a time, on whatever machine is
free; each run's revision and machine stay in the record.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from experiments.cells import common, place_of
from experiments.record import CellRun, Record
from experiments.spec import Experiment
from shared.errors import DataError

# What every figure of a record has in common, so that they can stand in one table.
_SAME = ("experiment", "log", "description", "repeat_policy", "draws", "resampled")
# What is told by profile and variant.
_TABLES = ("estimates", "differences", "ratios", "frontiers", "extras")


def added(experiment: Experiment, record: Record, before: Record) -> Record:
    """``record``, and all that ``before`` says of a profile and variant it has no cell of.

    A difference between two variants stays if both are among the kept; those between a kept and a
    new one are not there, as they need the scores of both.

    Raises:
        DataError: they are not of the same experiment, data and way of judging.
    """
    others = (name for name in _SAME if getattr(record, name) != getattr(before, name))
    if other := next(others, None) or _other_setting(experiment, record, before):
        raise DataError(
            f"the record of {experiment.name} on {record.log} was made with another {other}: "
            "nothing can be added to it; run with the same, or without --add to make it anew"
        )
    new = {(run.profile, run.variant) for run in record.runs}
    kept = [
        run
        for run in before.runs
        if (run.profile, run.variant) not in new and run.variant in experiment.variants
    ]
    if not kept:
        return record
    old = {(run.profile, run.variant) for run in kept}

    def together(table: str) -> dict[str, Any]:
        theirs = {key: told for key, told in getattr(before, table).items() if _cell(key) in old}
        both = {**theirs, **getattr(record, table)}
        return dict(sorted(both.items(), key=lambda item: place_of(experiment, *_cell(item[0]))))

    def order(run: CellRun) -> tuple[int, int, int]:
        return (*place_of(experiment, run.profile, run.variant), run.seed)

    return record.model_copy(
        update={
            "settings": common([record.settings, before.settings]),
            "runs": tuple(sorted([*kept, *record.runs], key=order)),
            **{table: together(table) for table in _TABLES},
        }
    )


def _other_setting(experiment: Experiment, record: Record, before: Record) -> str | None:
    """A setting that is no profile's or variant's business and differs; one that either lacks is no
    matter."""
    varied = {name for overrides in experiment.variants.values() for name, _ in _flat(overrides)}
    theirs = dict(_flat(before.settings))
    for name, value in _flat(record.settings):
        free = name in varied or name.startswith("profile.")
        if not free and name in theirs and theirs[name] != value:
            return name
    return None


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _cell(key: str) -> tuple[str, str]:
    """Profile and variant, with which every key of a record begins."""
    profile, variant, *_ = key.split("/")
    return profile, variant
