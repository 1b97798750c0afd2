"""An experiment as its YAML states it."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from experiments.answer import Claim
from experiments.frontiers import Frontier
from experiments.gates import Gate
from experiments.matrix import Matrix
from experiments.selection import Difference, Gap, Metric, Part, Ratio, Scope, ScoreSelection, Steps
from experiments.settings import CellSettings
from experiments.study import STUDY
from shared.errors import ConfigError
from shared.profile import PRESETS
from shared.strict import Strict

DEFINITIONS = Path(__file__).parent / "definitions"
NAME = r"^[a-z0-9][a-z0-9-]*$"

Dimension = Literal[
    "log", "profile", "variant", "name", "setting", "gap", "part", "steps", "metric"
]
Overrides = dict[str, Any]
_SHOWN = (
    "estimates", "differences", "matrices", "ratios", "frontiers", "extras", "gates", "answer",
    "tables", "charts",
)  # fmt: skip
_OF_CELLS = ("study", "sections", "logs", "profiles", "seeds", "base", "variants", "quick")


def merge(below: Overrides, above: Overrides) -> Overrides:
    """Nested dicts joined; where both have a value, that of ``above`` counts."""
    merged = dict(below)
    for name, value in above.items():
        old = merged.get(name)
        if isinstance(old, dict) and isinstance(value, dict):
            value = merge(old, value)
        merged[name] = value
    return merged


class TableSpec(Strict):
    """A Markdown table: a pivot of one kind of quantity, or the gates.

    Attributes:
        show: which quantities.
        names: scorers, differences, ratios or extras (shell patterns); None: all there are. Of
            costs: what extras called NAME_SCORER measure of each scorer, a column each.
        rows: dimensions spread over the rows.
        columns: the dimension spread over the columns; "name" is the scorer or quantity.
        together: one table over all logs instead of one for each.
        interval: print intervals beside values.
        frontier, matrix: which one, of a table that shows one.
    """

    title: str
    note: str = ""
    show: Literal[
        "estimates",
        "differences",
        "matrix",
        "ratios",
        "frontier",
        "extras",
        "costs",
        "gates",
        "gate-grid",
    ] = "estimates"
    names: tuple[str, ...] | None = None
    rows: tuple[Dimension, ...] = ("profile", "setting", "gap")
    columns: Dimension = "name"
    together: bool = False
    interval: bool = False
    frontier: str | None = None
    matrix: str | None = None
    profiles: tuple[str, ...] | None = None
    variants: tuple[str, ...] | None = None
    settings: tuple[str, ...] | None = None
    gaps: tuple[Gap, ...] | None = None
    parts: tuple[Part, ...] = ("all",)
    steps: tuple[Steps, ...] = ("last",)
    metrics: tuple[Metric, ...] = ("ndcg10",)

    @model_validator(mode="after")
    def _one_place_per_dimension(self) -> TableSpec:
        if self.columns in self.rows:
            raise ValueError(f"{self.columns} is in the rows and in the columns")
        for kind, named in (("frontier", self.frontier), ("matrix", self.matrix)):
            if (self.show == kind) != (named is not None):
                raise ValueError(f"name a {kind} in a table that shows one, and in no other")
        return self


class ChartSpec(Strict):
    """A figure: values along the gaps or along the variants, one panel per profile.

    Attributes:
        along: the horizontal axis. Variants stand in the order of the YAML.
        names: scorers, one line each.
        rows: the dimension whose values are panels above each other.
    """

    title: str
    along: Literal["gap", "variant", "calls"] = "gap"
    names: tuple[str, ...]
    variants: tuple[str, ...] | None = None
    settings: tuple[str, ...] = ("S1", "S2")
    gap: Gap = "5"
    part: Part = "all"
    steps: Steps = "last"
    metric: Metric = "ndcg10"


class PublishedRow(Strict):
    """A row of a paper's table and, if it has one, our counterpart."""

    label: str
    scorer: str | None = None
    values: dict[Metric, float]


class Published(Strict):
    """Figures of a paper, printed beside ours. Ours are measured on other steps and data."""

    source: str
    note: str = ""
    logs: tuple[str, ...]
    setting: str
    gap: Gap
    steps: Steps = "loo"
    variant: str = "base"
    rows: tuple[PublishedRow, ...]


class Expectation(Strict):
    """Which figures `scalrec experiment run` compares with those of expected/NAME.json.

    Attributes:
        keys: shell patterns of "section/key", for example "ratios/*/recovered/S1/5/*".
        tolerance: greatest absolute difference that counts as met.
    """

    keys: tuple[str, ...]
    tolerance: float = Field(gt=0)


def _one_variant() -> dict[str, Overrides]:
    return {"base": {}}


class Experiment(Strict):
    """What is asked, what is run for it, and what is shown of it.

    Attributes:
        question: in one sentence.
        paper: the table or figure it answers to.
        reuse: another experiment whose cells these are; this one runs nothing of its own.
        like: another experiment that says what this one leaves out about cells; ``base`` is laid
            over its base. Cells that both name are computed once. One without tables asks and
            shows all that the other does, too.
        study: which computes a cell, see ``experiments.study``.
        sections: of the settings that decide a cell of this study, beside those of every cell.
        logs: settings that belong to a log; any other log may be run as well.
        base: settings of all cells.
        variants: settings of each variant, over ``base`` and the log's.
        quick: settings for a first look, over all others.
        estimates: scores the record keeps; tables can show these and no others.
        matrices: scorers of which every pair is a difference, too (see ``experiments.matrix``).
        extras: shell patterns of the scalars the record keeps.
        answer: to the question; the first claim stands for it where there is room for one sentence.
    """

    name: str = Field(pattern=NAME)
    question: str
    paper: str
    reuse: str | None = None
    like: str | None = None
    study: str = STUDY
    sections: tuple[str, ...] = ()
    logs: dict[str, Overrides] = Field(default_factory=dict)
    profiles: tuple[str, ...] = ("tiny", "small", "full")
    seeds: int = Field(default=3, ge=1)
    base: Overrides = Field(default_factory=dict)
    variants: dict[str, Overrides] = Field(default_factory=_one_variant)
    quick: Overrides = Field(default_factory=dict)
    estimates: tuple[ScoreSelection, ...] = (ScoreSelection(),)
    differences: dict[str, Difference] = Field(default_factory=dict)
    matrices: dict[str, Matrix] = Field(default_factory=dict)
    ratios: dict[str, Ratio] = Field(default_factory=dict)
    frontiers: dict[str, Frontier] = Field(default_factory=dict)
    extras: tuple[str, ...] = ()
    gates: dict[str, Gate] = Field(default_factory=dict)
    answer: tuple[Claim, ...] = ()
    tables: dict[str, TableSpec]
    charts: dict[str, ChartSpec] = Field(default_factory=dict)
    published: tuple[Published, ...] = ()
    expected: tuple[Expectation, ...] = ()

    @model_validator(mode="after")
    def _with_pairs(self) -> Experiment:
        for matrix in self.matrices.values():
            for name, difference in matrix.differences():
                self.differences.setdefault(name, difference)
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Experiment:
        unknown = [name for name in self.profiles if name not in PRESETS]
        if unknown:
            raise ValueError(f"no profile {unknown[0]!r}: one of {', '.join(PRESETS)}")
        if bad := [name for name in self.sections if name not in CellSettings.model_fields]:
            raise ValueError(f"the settings have no section {bad[0]!r}")
        # Names become parts of keys and folders.
        for name in (
            *self.variants, *self.differences, *self.ratios, *self.frontiers, *self.charts
        ):  # fmt: skip
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.=-]*", name):
                raise ValueError(f"{name!r} is no name: letters, digits and . _ = - only")
        self._check_gates()
        self._check_scopes()
        self._check_answer()
        return self

    def _check_gates(self) -> None:
        seen: list[str] = []
        for name, gate in self.gates.items():
            for check in gate.checks:
                if check.of not in self.differences and check.of not in self.ratios:
                    raise ValueError(f"gate {name}: no difference or ratio is called {check.of!r}")
            if late := [other for other in gate.only_if if other not in seen]:
                raise ValueError(f"gate {name}: only_if names {late[0]!r}, no gate above it")
            seen.append(name)

    def _check_scopes(self) -> None:
        for name, table in self.tables.items():
            if table.frontier is not None and table.frontier not in self.frontiers:
                raise ValueError(f"table {name}: no frontier is called {table.frontier!r}")
            if table.matrix is not None and table.matrix not in self.matrices:
                raise ValueError(f"table {name}: no matrix is called {table.matrix!r}")
        scopes: list[tuple[str, Scope | TableSpec]] = [
            *(("estimates", scores) for scores in self.estimates),
            *self.differences.items(),
            *self.ratios.items(),
            *self.tables.items(),
        ]
        for where, scope in scopes:
            for kind, names, known in (
                ("profile", scope.profiles, self.profiles),
                ("variant", scope.variants, tuple(self.variants)),
            ):
                if bad := [name for name in names or () if name not in known]:
                    raise ValueError(f"{where}: no {kind} {bad[0]!r}: one of {', '.join(known)}")

    def _check_answer(self) -> None:
        named: dict[str, Collection[str]] = {
            "difference": self.differences,
            "ratio": self.ratios,
            "gate": self.gates,
            "frontier": self.frontiers,
        }
        for claim in self.answer:
            if claim.show in named and claim.of not in named[claim.show]:
                raise ValueError(f"answer: no {claim.show} is called {claim.of!r}")
            if bad := [name for name in claim.variants or () if name not in self.variants]:
                known = ", ".join(self.variants)
                raise ValueError(f"answer: no variant {bad[0]!r}: one of {known}")

    def label(self, name: str) -> str:
        """A difference or ratio in words."""
        named = self.differences.get(name) or self.ratios.get(name)
        return name if named is None else named.label

    @property
    def cells_of(self) -> str:
        """Name of the experiment whose cells these are."""
        return self.reuse or self.name


def names(folder: Path = DEFINITIONS) -> list[str]:
    """All experiments, the gates first, then by name."""
    return sorted((p.stem for p in folder.glob("*.yaml")), key=lambda name: (name != "gates", name))


def load(name: str, folder: Path = DEFINITIONS) -> Experiment:
    """Read and check an experiment; with ``reuse``, cells are those of the other one.

    Raises:
        ConfigError: no such experiment, or its YAML is wrong; says where.
    """
    path = folder / f"{name}.yaml"
    content = _read(path, folder)
    if other := content.get("like"):
        model = _read(folder / f"{other}.yaml", folder)
        if model.get("like") or model.get("reuse"):
            raise ConfigError(f"{path}: is like {other}, which does not state its own cells")
        base = merge(model.get("base", {}), content.get("base", {}))
        if "tables" not in content:
            content = {key: model[key] for key in _SHOWN if key in model} | content
        content = _cells(model) | content | {"base": base}
    if other := content.get("reuse"):
        cells = _read(folder / f"{other}.yaml", folder)
        if cells.get("reuse"):
            raise ConfigError(f"{path}: reuses {other}, which has no cells of its own")
        if own := [key for key in _OF_CELLS if key in content]:
            raise ConfigError(f"{path}: reuses the cells of {other}, so it cannot set {own[0]}")
        content |= _cells(cells)
    try:
        experiment = Experiment.model_validate(content)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'experiment'}: {e['msg']}" for e in error.errors()
        )
        raise ConfigError(f"{path}: {problems}") from error
    if experiment.name != name:
        raise ConfigError(f"{path}: its name is {experiment.name!r}; it must be that of the file")
    return experiment


def _cells(content: dict[str, Any]) -> dict[str, Any]:
    return {key: content[key] for key in _OF_CELLS if key in content}


def _read(path: Path, folder: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text())
    except FileNotFoundError as error:
        raise ConfigError(
            f"no experiment is called {path.stem!r}: one of {', '.join(names(folder))}"
        ) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected a mapping, found {type(content).__name__}")
    return content
