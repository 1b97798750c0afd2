"""Ranks of one method in a cell as a stage: what an interrupted cell has done stays done.

A cell fits some twenty methods. Each is keyed by its own code, so that mending one computes that
one anew.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from shared.metrics import RANK, Ranks, as_ranks, ranks_of
from shared.progress import Progress
from shared.section import deciding_sections
from shared.split import Steps
from training.baselines.base import Baseline, FittedBaseline, Fitting, ListsItself, World, batches
from training.calibration.pairs import Pairs, pairs_at_gap
from training.run import TrainingRun
from training.settings import Recipe
from training.stages.code import reached_by
from training.stages.content import content, fingerprint
from training.stages.forms import Saved, load_arrays, save_arrays
from training.stages.stage import Stage

# Of the settings, what a method or the requests it is scored at may depend on.
_SECTIONS = ("profile", "abstract", "training", "generative", "lsc4rec", "cost", "log")


@dataclass(frozen=True, eq=False, kw_only=True)
class MethodRanks:
    """A method's ranks [P] by gap, and what it costs.

    Attributes:
        full: in the whole catalogue. listed: in the cloud's list of the snapshot's moment.
        costs: scalars of ``MethodCosts``, and the seconds of its fit.
    """

    full: Mapping[int, Ranks]
    listed: Mapping[int, Ranks]
    costs: Mapping[str, float]


def method_stage(
    run: TrainingRun, fitting: Fitting, world: World, steps: Steps, name: str, method: Baseline
) -> Stage[MethodRanks]:
    """``method``, trained in ``fitting`` and ranked at ``steps`` at every age.

    Args:
        run: whose product ``fitting`` and ``world`` are of.
        world: of the requests that are scored.
        name: as in the registry.
    """
    settings = run.settings

    async def build(progress: Progress, *_: object) -> MethodRanks:
        started = time.perf_counter()
        fitted = await method.fit(fitting)
        seconds = time.perf_counter() - started
        return ranked(world, steps, settings, fitted, name, seconds, progress)

    return Stage(
        name=f"method-{name}",
        options={
            "method": content(method),
            "epochs": fitting.most_epochs,
            "gaps": list(settings.paper.gaps),
            "candidates": settings.cloud.candidates,
            "seed": settings.seed,
        }
        | deciding_sections(settings, _SECTIONS),
        inputs={"log": fingerprint(run.log), "steps": steps},
        upstream=(run.abstracts, run.calibrator),
        code=reached_by(
            __name__,
            "experiments.studies.rq1.worlds",
            type(method),
            # Many train a structure of their own, with settings that the product's does not have.
            "training.backbone",
            "training.encoders",
        ),
        build=build,
        form=_FORM,
    )


def ranked(
    world: World,
    steps: Steps,
    settings: Recipe,
    fitted: FittedBaseline,
    name: str,
    seconds: float,
    progress: Progress,
) -> MethodRanks:
    """Ranks of a fitted method at every request and age. seconds: that its fit took."""
    full, listed = {}, {}
    with progress.task(f"scoring {name}", len(settings.paper.gaps)) as task:
        for gap in settings.paper.gaps:
            pairs = pairs_at_gap(world.requests.anchors, steps, gap)
            full[gap], listed[gap] = method_ranks(world, pairs, fitted, settings.cloud.candidates)
            task.advance()
    costs = fitted.costs
    told = {
        "seconds": seconds,
        "parameters": float(costs.parameters),
        "device_bytes": float(costs.device_bytes),
        "snapshot_bytes": float(costs.snapshot_bytes),
        "cloud_tokens": costs.cloud_tokens,
    }
    if costs.device_us is not None:
        told["device_us"] = costs.device_us
    return MethodRanks(full=full, listed=listed, costs=told)


@torch.no_grad()
def method_ranks(
    world: World, pairs: Pairs, fitted: FittedBaseline, candidates: int
) -> tuple[Ranks, Ranks]:
    """[P] ranks of each target in the whole catalogue, and in the cloud's list at tau."""
    full, listed = np.empty(len(pairs), RANK), np.empty(len(pairs), RANK)
    target = world.requests.target.numpy()
    for at, fresh, stale in batches(pairs):
        scores = fitted.scores(world, fresh, stale)
        if isinstance(fitted, ListsItself):
            items = fitted.listed(world, stale, candidates)
        else:
            items = world.twin.candidates[torch.from_numpy(stale)]
        inside = torch.zeros(scores.shape, dtype=torch.bool).scatter_(1, items, True)
        barred = world.barred(fresh)
        free: NDArray[np.bool_] | None = None
        if barred is not None:
            free, inside = (~barred).numpy(), inside & ~barred
        values = scores.numpy()
        full[at] = ranks_of(values, target[fresh], free)
        listed[at] = ranks_of(values, target[fresh], inside.numpy())
    return full, listed


def _save(found: MethodRanks, folder: Path) -> None:
    arrays = {}
    for setting, by_gap in (("full", found.full), ("listed", found.listed)):
        for gap, ranks in by_gap.items():
            arrays[f"{setting}.{gap}.expected"] = ranks["expected"]
            arrays[f"{setting}.{gap}.tied"] = ranks["tied"]
    save_arrays(folder, arrays, dict(found.costs))


def _load(folder: Path) -> MethodRanks:
    arrays, costs = load_arrays(folder)
    # safetensors gives no order back.
    kept = sorted((setting, int(gap)) for setting, gap, _ in (key.split(".") for key in arrays))
    found: dict[str, dict[int, Ranks]] = {"full": {}, "listed": {}}
    for setting, gap in kept:
        of = f"{setting}.{gap}"
        found[setting][gap] = as_ranks(arrays[f"{of}.expected"], arrays[f"{of}.tied"])
    return MethodRanks(**found, costs=costs)


_FORM: Saved[MethodRanks] = Saved(save=_save, load=_load)
