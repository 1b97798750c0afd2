"""Expected results: what a repeated experiment should come out at, and within what tolerance."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from pydantic import RootModel, ValidationError

from experiments.record import DIGITS, Figure, Record
from experiments.spec import Experiment
from shared.errors import DataError
from shared.files import write_whole

FOLDER = Path(__file__).parent / "expected"
_SECTIONS = ("estimates", "differences", "ratios")


class _File(RootModel[dict[str, dict[str, tuple[float, float]]]]):
    """By log, by "section/key": value and tolerance."""


@dataclass(frozen=True)
class ExpectedValue:
    """One expected value and what was found; ``found`` is None if it was not computed."""

    key: str
    expected: float
    tolerance: float
    found: float | None

    @property
    def met(self) -> bool:
        return self.found is not None and abs(self.found - self.expected) <= self.tolerance


def path_of(experiment: Experiment, folder: Path = FOLDER) -> Path:
    return folder / f"{experiment.name}.json"


def compare(experiment: Experiment, record: Record, path: Path) -> list[ExpectedValue]:
    """Expected values of the record's log; empty where none are kept.

    Raises:
        DataError: the file is damaged.
    """
    found = dict(_figures(record))
    values = ((key, found.get(key), e) for key, e in _read(path).get(record.log, {}).items())
    return [
        ExpectedValue(key, expected, tolerance, None if figure is None else figure.value)
        for key, figure, (expected, tolerance) in values
    ]


def update(experiment: Experiment, record: Record, path: Path) -> int:
    """Take the record's values as those expected on its log; returns how many."""
    kept: dict[str, tuple[float, float]] = {}
    for key, figure in _figures(record):
        for wanted in experiment.expected:
            if figure.value is not None and any(fnmatch(key, p) for p in wanted.keys):
                kept.setdefault(key, (round(figure.value, DIGITS) + 0.0, wanted.tolerance))
    content = _read(path) | {record.log: kept}
    lines = []
    for log, values in sorted(content.items()):
        inner = ",\n  ".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in values.items())
        lines.append(f" {json.dumps(log)}: {{\n  {inner}\n }}" if inner else f' "{log}": {{}}')
    write_whole(path, "{\n" + ",\n".join(lines) + "\n}\n")
    return len(kept)


def _figures(record: Record) -> Iterator[tuple[str, Figure]]:
    for section in _SECTIONS:
        for key, figure in getattr(record, section).items():
            yield f"{section}/{key}", figure


def _read(path: Path) -> dict[str, dict[str, tuple[float, float]]]:
    try:
        return _File.model_validate_json(path.read_text()).root
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise DataError(f"not a file of expected results: {error}", path) from error
