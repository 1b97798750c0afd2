"""The compact record of an experiment on one log: all that its tables and figures are made from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from shared.errors import DataError
from shared.files import write_whole

DIGITS = 5
FORMAT = 1


class Figure(NamedTuple):
    """A value with its 95 % user-clustered interval.

    Attributes:
        steps: scored steps behind it, averaged over the seeds.
        spread: standard deviation of the value over the seeds; None with one seed.
        relative: of a difference a - b, as a share of b, with its interval.
        against: of a difference from the best of several, which one that was.
    """

    value: float | None
    low: float | None
    high: float | None
    steps: int
    spread: float | None = None
    relative: tuple[float, float, float] | None = None
    against: str | None = None

    @property
    def sign(self) -> int:
        """+1 or -1 if the interval excludes zero, else 0."""
        if self.low is None or self.high is None:
            return 0
        return 1 if self.low > 0 else -1 if self.high < 0 else 0


class CellRun(BaseModel):
    """How one cell came about."""

    model_config = ConfigDict(frozen=True, extra="forbid")
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


class Record(BaseModel):
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

    model_config = ConfigDict(frozen=True, extra="forbid")
    format: int = FORMAT
    experiment: str
    log: str
    description: dict[str, str]
    terms: str
    notes: tuple[str, ...] = ()
    repeat_policy: str
    draws: int
    planned: int
    settings: dict[str, Any] = {}
    variants: dict[str, dict[str, Any]]
    runs: tuple[CellRun, ...]
    estimates: dict[str, Figure] = {}
    differences: dict[str, Figure] = {}
    ratios: dict[str, Figure] = {}
    frontiers: dict[str, Figure] = {}
    extras: dict[str, dict[str, Extra]] = {}

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
        while len(value) > len(Figure._fields) - 3 and value[-1] is None:
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
