"""From finished cells to the compact record of an experiment on a log."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatch

import numpy as np

from experiments.cell_store import FinishedCell
from experiments.cells import Cell, common, place_of
from experiments.estimation import DRAWS, estimate
from experiments.panel import Panel
from experiments.record import CellRun, Extra, Record
from experiments.selection import Contrast
from experiments.spec import Experiment
from shared.errors import DataError
from shared.interactions import InteractionLog


def aggregate(
    experiment: Experiment,
    log: InteractionLog,
    repeat_policy: str,
    cells: Sequence[tuple[Cell, FinishedCell]],
    *,
    draws: int = DRAWS,
) -> Record:
    """The record of all finished cells, in the experiment's order of profiles and variants.

    Args:
        log: as its users know it; its name in the record is that of the cells.
        cells: with what each is in this experiment: another may have computed it.

    Raises:
        DataError: there is no cell, or one is damaged.
    """
    if not cells:
        raise DataError(f"no cell of {experiment.name} on {log.name} is finished")
    panel, scorers = Panel(log.n_users), _scorers(experiment)
    ordered = sorted(cells, key=lambda pair: _order(experiment, pair[0]))
    for cell, finished in ordered:
        scores = finished.scores()
        if scores["user"].max() >= log.n_users:  # type: ignore[operator]
            raise DataError(f"scores of users that {cell.log} does not have", finished.folder)
        if scorers is not None:
            scores = scores.filter(scores["scorer"].is_in(scorers))
        panel.add(cell.profile, cell.variant, cell.seed, scores)
    panel.pool_gaps()
    found = estimate(experiment, panel, draws=draws)
    notes = list(log.notes)
    if found.unequal:
        notes.append(f"{found.unequal} differences compare scores of different steps")
    return Record(
        experiment=experiment.name,
        log=ordered[0][0].log,
        description=log.describe(),
        terms=log.terms,
        notes=tuple(notes),
        repeat_policy=repeat_policy,
        draws=draws,
        resampled="users and seeds",
        planned=experiment.seeds,
        settings=common([finished.info.settings for _, finished in ordered]),
        variants=dict(experiment.variants),
        runs=tuple(_run(cell, finished) for cell, finished in ordered),
        estimates=found.estimates,
        differences=found.differences,
        ratios=found.ratios,
        frontiers=found.frontiers,
        extras=_extras(experiment, ordered),
    )


def _run(cell: Cell, finished: FinishedCell) -> CellRun:
    names = {"profile": cell.profile, "variant": cell.variant}
    return finished.info.run.model_copy(update=names)


def _order(experiment: Experiment, cell: Cell) -> tuple[int, int, int]:
    return (*place_of(experiment, cell.profile, cell.variant), cell.seed)


def _scorers(experiment: Experiment) -> list[str] | None:
    """Scorers that anything speaks about; None for all."""
    found: set[str] = set()
    for scores in experiment.estimates:
        if scores.scorers is None:
            return None
        found.update(scores.scorers)
    contrasts: list[Contrast] = [*experiment.differences.values()]
    for ratio in experiment.ratios.values():
        contrasts += [ratio.numerator, ratio.denominator]
    for contrast in contrasts:
        found.update((*contrast.a.scorers, *contrast.b.scorers))
    return sorted(found)


def _extras(
    experiment: Experiment, cells: Sequence[tuple[Cell, FinishedCell]]
) -> dict[str, dict[str, Extra]]:
    values: dict[str, dict[str, list[float]]] = {}
    for cell, finished in cells:
        here = values.setdefault(f"{cell.profile}/{cell.variant}", {})
        for name, value in finished.info.extras.items():
            if any(fnmatch(name, pattern) for pattern in experiment.extras):
                here.setdefault(name, []).append(value)
    return {
        place: {name: _extra(found) for name, found in by_name.items()}
        for place, by_name in values.items()
        if by_name
    }


def _extra(values: list[float]) -> Extra:
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Extra(float(np.mean(values)), spread, len(values))
