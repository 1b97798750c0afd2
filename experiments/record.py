"""The compact record of an experiment on one log: all that its tables and figures are made from."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BeforeValidator, Field, PlainSerializer, ValidationError

from shared.errors import DataError
from shared.files import write_whole
from shared.statistics import Estimate
from shared.strict import Strict

DIGITS = 5
FORMAT = 1


@dataclass(frozen=True)
class Figure(Estimate):
    """A figure of a record, in its file a row of these values in order, trailing nulls left out.

    Attributes:
        count: scored steps behind it, averaged over the seeds.
        spread: standard deviation of the value over the seeds; None with one seed.
        relative: of a difference a - b, as a share of b, with its interval.
        against: of a difference from the best of several, which one that was.
    """

    spread: float | None = None
    relative: tuple[float, float, float] | None = None
    against: str | None = None


def no_figure(steps: int) -> Figure:
    """A figure that is not defined here."""
    return Figure(value=None, low=None, high=None, count=steps)


_NAMES = tuple(field.name for field in fields(Figure))
_SHORTEST = len(fields(Estimate))


def _named(row: Any) -> Any:
    if not isinstance(row, list | tuple):
        return row
    if len(row) > len(_NAMES):
        raise ValueError(f"a figure of {len(row)} values")
    return dict(zip(_NAMES, row, strict=False))


FigureRow = Annotated[
    Figure,
    BeforeValidator(_named),
    PlainSerializer(lambda figure: [getattr(figure, name) for name in _NAMES]),
]


class CellRun(Strict):
    """How one cell came about."""

    profile: str
    variant: str
    seed: int
    started: str
    seconds: float
    revision: str | None
    code: str
    machine: str
    threads: int


class Extra(NamedTuple):
    """A scalar a cell reports beside its scores: mean and deviation over the seeds."""

    mean: float
    spread: float | None
    seeds: int


class Record(Strict):
    """Everything known of one experiment on one log.

    Attributes:
        description: the log in words (InteractionLog.describe).
        planned: seeds per cell that the experiment asks for.
        settings: what all cells agree on.
        variants: settings of each variant over those.
        estimates, differences, ratios: by ``Place.key``.
        frontiers: by ``experiments.frontiers.key``.
        extras: by "profile/variant", then by name.
    """

    format: int = FORMAT
    experiment: str
    log: str
    description: dict[str, str]
    terms: str
    notes: tuple[str, ...] = ()
    repeat_policy: str
    draws: int
    resampled: Literal["users", "users and seeds"] = "users"
    planned: int
    settings: dict[str, Any] = Field(default_factory=dict)
    variants: dict[str, dict[str, Any]]
    runs: tuple[CellRun, ...]
    estimates: dict[str, FigureRow] = Field(default_factory=dict)
    differences: dict[str, FigureRow] = Field(default_factory=dict)
    ratios: dict[str, FigureRow] = Field(default_factory=dict)
    frontiers: dict[str, FigureRow] = Field(default_factory=dict)
    extras: dict[str, dict[str, Extra]] = Field(default_factory=dict)

    @property
    def profiles(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(run.profile for run in self.runs))

    def seeds(self, profile: str) -> int:
        """Fewest seeds behind any variant of a profile."""
        counts: dict[str, int] = {}
        for run in self.runs:
            if run.profile == profile:
                counts[run.variant] = counts.get(run.variant, 0) + 1
        return min(counts.values(), default=0)


def write_record(record: Record, path: Path) -> None:
    """Write in one step, one line per figure, so that a change of one is a change of one line."""
    write_whole(path, encode(record))


def encode(record: Record) -> str:
    """JSON with numbers rounded to DIGITS decimals."""
    plain = _rounded(record.model_dump(mode="json"))
    lines = []
    for name, value in plain.items():
        if isinstance(value, dict):
            inner = ",\n  ".join(f"{json.dumps(k)}: {_short(v)}" for k, v in value.items())
            lines.append(f"{json.dumps(name)}: {{\n  {inner}\n }}" if inner else f'"{name}": {{}}')
        elif name == "runs":
            inner = ",\n  ".join(_short(run) for run in value)
            lines.append(f'"runs": [\n  {inner}\n ]' if inner else '"runs": []')
        else:
            lines.append(f"{json.dumps(name)}: {_short(value)}")
    return "{\n " + ",\n ".join(lines) + "\n}\n"


def read_record(path: Path) -> Record:
    """Read what ``write_record`` wrote; raises DataError naming the file and what to do."""
    try:
        return Record.model_validate_json(path.read_text())
    except FileNotFoundError as error:
        raise DataError("no such record; make it with `scalrec experiment run`", path) from error
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise DataError(f"not the record of an experiment: {error}", path) from error


def _short(value: Any) -> str:
    return json.dumps(_trimmed(value), ensure_ascii=False)


def _trimmed(value: Any) -> Any:
    """Trailing nulls of a figure say nothing."""
    if isinstance(value, list):
        while len(value) > _SHORTEST and value[-1] is None:
            value = value[:-1]
    return value


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, DIGITS) + 0.0  # no -0.0
    if isinstance(value, dict):
        return {name: _rounded(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(inner) for inner in value]
    return value
