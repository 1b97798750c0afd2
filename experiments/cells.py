"""Cells: one log, profile, variant and seed, with the settings and the key that follow."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cloud_service.embedding.base import model_content, model_name
from experiments.settings import CellSettings
from experiments.spec import Experiment, Overrides, merge
from experiments.study import STUDY
from shared.errors import ConfigError
from shared.profile import PRESETS
from shared.section import deciding_sections

_SECTIONS = ("log", "profile", "abstract", "embedder", "training", "paper")
KEY_LENGTH = 16

# CellSettings from nested overrides and a seed, under the user's own file, environment and options.
Resolve = Callable[[Overrides, int], CellSettings]


@dataclass(frozen=True)
class Cell:
    """The unit of work; cells that only differ in the variant share trained stages."""

    log: str
    profile: str
    variant: str
    seed: int

    def __str__(self) -> str:
        return f"{self.log} {self.profile} {self.variant} seed {self.seed}"

    @property
    def lane(self) -> tuple[str, str, int]:
        """Cells of one lane run one after the other, so that none trains what another is at."""
        return (self.log, self.profile, self.seed)


@dataclass(frozen=True)
class PlannedCell:
    """A cell, ready to run.

    Attributes:
        key: hash over the settings that matter, the seed and the log's content.
        sections: of the settings that matter to this study alone.
    """

    cell: Cell
    settings: CellSettings
    key: str
    sections: tuple[str, ...] = ()


def expand(
    experiment: Experiment,
    log: str,
    *,
    profiles: Sequence[str] | None = None,
    seeds: int | None = None,
    variants: Sequence[str] | None = None,
) -> Iterator[Cell]:
    """Cells in the order of running: every variant of a lane, one seed of all, then the next."""
    for seed in range(experiment.seeds if seeds is None else seeds):
        for profile in experiment.profiles if profiles is None else profiles:
            for variant in experiment.variants if variants is None else variants:
                yield Cell(log, profile, variant, seed)


def overrides_of(experiment: Experiment, cell: Cell, *, quick: bool = False) -> Overrides:
    """Nested settings of a cell: base, then the log's, the profile, the variant, and quick."""
    layers = [
        experiment.base,
        experiment.logs.get(cell.log, {}),
        {"profile": PRESETS[cell.profile].model_dump()},
        experiment.variants[cell.variant],
        experiment.quick if quick else {},
    ]
    merged: Overrides = {}
    for layer in layers:
        merged = merge(merged, layer)
    return merged


def plan(
    experiment: Experiment,
    cells: Sequence[Cell],
    resolve: Resolve,
    data: str,
    *,
    quick: bool = False,
) -> list[PlannedCell]:
    """CellSettings and keys of cells.

    Args:
        data: fingerprint of the log.

    Raises:
        ConfigError: a variant's settings are wrong, or those of another variant.
    """
    planned: dict[str, PlannedCell] = {}
    for cell in cells:
        settings = resolve(overrides_of(experiment, cell, quick=quick), cell.seed)
        key = cell_key(settings, data, experiment.study, experiment.sections)
        if key in planned:
            raise ConfigError(
                f"{experiment.name}: {cell} has the same settings as {planned[key].cell}; a "
                "setting given with --set may override what the variants differ in"
            )
        planned[key] = PlannedCell(cell, settings, key, experiment.sections)
    return list(planned.values())


def cell_key(
    settings: CellSettings, data: str, study: str = STUDY, sections: Sequence[str] = ()
) -> str:
    """Hash over all that decides a cell's result, except the code."""
    content = {"seed": settings.seed, "data": data, "candidates": settings.cloud.candidates}
    if study != STUDY:
        content["study"] = study
    text = json.dumps(content | relevant(settings, sections), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]


def relevant(settings: CellSettings, sections: Sequence[str] = ()) -> dict[str, Any]:
    """The sections of the settings that decide a result, without places and machinery.

    Args:
        sections: beside those that every study reads.
    """
    found = deciding_sections(settings, (*_SECTIONS, *sections))
    model = settings.embedder.model
    content = model_content(model)
    # A folder is known by what is in it, not by where it lies.
    found["embedder"]["model"] = model_name(model) + ("" if content is None else f"@{content}")
    return found


def place_of(experiment: Experiment, profile: str, variant: str) -> tuple[int, int]:
    """Where a cell stands among others: profiles beyond the experiment's come last."""
    profiles, variants = list(experiment.profiles), list(experiment.variants)
    at = profiles.index(profile) if profile in profiles else len(profiles)
    return at, variants.index(variant)


def common(settings: Sequence[Overrides]) -> Overrides:
    """What all of these settings agree on."""
    first, *others = settings
    agreed: Overrides = {}
    for name, value in first.items():
        values = [other.get(name) for other in others]
        if isinstance(value, dict) and all(isinstance(v, dict) for v in values):
            agreed[name] = common([value, *(v for v in values if v is not None)])
        elif all(v == value for v in values):
            agreed[name] = value
    return agreed
