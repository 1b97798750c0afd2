"""What a cell is computed by, and what comes out of it: the seam to the training code."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import Protocol, cast

import polars as pl

from cloud_service.embedding.base import Embedder
from experiments.selection import COUNTS, LONGER, METRICS, PARTS
from experiments.settings import CellSettings
from shared.errors import ConfigError, DataError
from shared.interactions import InteractionLog
from shared.progress import Progress

STUDY = "scalrec"  # what an experiment computes its cells with unless it says another

# Experiments and keys name a study by its id, so that its code may move.
STUDIES = {
    "scalrec": "experiments.studies.scalrec.study:run_cell",
    "frontier": "experiments.studies.frontier.study:run_cell",
    "lsc4rec": "experiments.studies.lsc4rec.study:run_cell",
    "rq1": "experiments.studies.rq1.study:run_cell",
    "oracle": "experiments.studies.oracle:run_cell",
}

# One row per user, scorer, setting, gap, part and kind of steps; metrics are sums over n steps.
SCHEMA = pl.Schema(
    {
        "user": pl.Int32(),
        "scorer": pl.String(),
        "setting": pl.String(),
        "gap": pl.Int32(),
        "part": pl.String(),
        "loo": pl.Boolean(),
        "n": pl.Int32(),
        **{metric: pl.Float64() for metric in METRICS},
    }
)
# Columns that a study may add.
MORE = pl.Schema({name: pl.Float64() for name in (*LONGER, *COUNTS)})
KEYS = ("user", "scorer", "setting", "gap", "part", "loo")


@dataclass(frozen=True)
class CellResult:
    """Scores (see SCHEMA) and named scalars of one cell."""

    scores: pl.DataFrame
    extras: dict[str, float] = field(default_factory=dict)


class StudyResult(Protocol):
    """What a study returns: anything with the attributes of a CellResult."""

    @property
    def scores(self) -> pl.DataFrame: ...

    @property
    def extras(self) -> dict[str, float]: ...


class Study(Protocol):
    """Trains and evaluates one configuration with one seed."""

    async def __call__(
        self, settings: CellSettings, log: InteractionLog, embedder: Embedder, *, progress: Progress
    ) -> StudyResult: ...


def place_of(study: str) -> str:
    """``module:function`` of a study, given by its id or by its place."""
    return STUDIES.get(study, study)


def find_study(study: str = STUDY) -> Study:
    """The function that computes a study's cells.

    Args:
        study: an id of STUDIES, or ``module:function``.

    Raises:
        ConfigError: there is no such function.
    """
    module, _, function = place_of(study).partition(":")
    try:
        return cast(Study, getattr(import_module(module), function))
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"nothing computes cells: {study} is not there ({error}); studies are "
            f"{', '.join(STUDIES)}, or module:function"
        ) from error


def in_schema(scores: pl.DataFrame) -> pl.DataFrame:
    """SCHEMA's columns, and those of MORE that are there, in order and type."""
    there = pl.Schema([*SCHEMA.items(), *((k, v) for k, v in MORE.items() if k in scores.columns)])
    return scores.select(list(there)).cast(there)


def checked(result: StudyResult) -> CellResult:
    """The result in SCHEMA's order and types.

    Raises:
        DataError: columns are missing, values are impossible, or rows contradict each other.
    """
    missing = [name for name in SCHEMA if name not in result.scores.columns]
    if missing:
        raise DataError(f"a cell's scores lack {', '.join(missing)}")
    scores = in_schema(result.scores)
    if scores.is_empty():
        raise DataError("a cell has no scores")
    if scores.null_count().sum_horizontal().item():
        raise DataError("a cell's scores hold nulls")
    if unknown := set(scores["part"].unique()) - set(PARTS):
        raise DataError(f"a cell's scores name the part {sorted(unknown)[0]!r}, not one of {PARTS}")
    for name in ("scorer", "setting"):
        if scores[name].str.contains("/", literal=True).any():
            raise DataError(f"a cell's scores name a {name} with a slash in it")
    if scores.select(KEYS).is_duplicated().any():
        raise DataError("a cell's scores hold two rows for one user and place")
    # Each metric of a step lies between 0 and 1; rounding of the sums is allowed for.
    impossible = pl.any_horizontal(
        ~pl.col(name).is_between(-1e-9, pl.col("n") + 1e-6)
        for name in (*METRICS, *MORE)
        if name in scores.columns
    )
    if scores.filter(impossible | (pl.col("n") < 0)).height:
        raise DataError("a cell's scores hold sums that n steps cannot have")
    return CellResult(scores, {name: float(value) for name, value in result.extras.items()})
