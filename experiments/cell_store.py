"""Finished cells on disk, found again by what went into them.

``root/LOG/PROFILE_VARIANT_SEED_KEY/`` holds ``scores.parquet`` and ``cell.json``. A folder is
filled under another name and renamed when complete, so a kill leaves none half-written. The key
leaves the experiment's name out: two experiments that ask for the same cell share it.
"""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import ValidationError

from experiments.cells import PlannedCell
from experiments.record import CellRun
from experiments.study import CellResult, in_schema
from shared.errors import ConfigError, DataError
from shared.strict import Strict

SCORES, ABOUT = "scores.parquet", "cell.json"


class CellInfo(Strict):
    """What a finished cell says about itself (cell.json)."""

    log: str
    experiment: str
    key: str
    run: CellRun
    settings: dict[str, Any]
    extras: dict[str, float]


@dataclass(frozen=True)
class FinishedCell:
    """A cell of the store; its scores are read when asked for."""

    folder: Path
    info: CellInfo

    def scores(self) -> pl.DataFrame:
        """Rows of SCHEMA; raises DataError naming the file."""
        path = self.folder / SCORES
        try:
            return in_schema(pl.read_parquet(path))
        except (OSError, pl.exceptions.PolarsError) as error:
            raise DataError(f"not a cell's scores ({error}); delete its folder", path) from error


@dataclass(frozen=True)
class CellStore:
    """Args: root: usually ``work_dir/experiments``."""

    root: Path

    def find(self, planned: PlannedCell) -> FinishedCell | None:
        """The finished cell of this key, whatever code made it; None if it is not intact."""
        for folder in sorted((self.root / planned.cell.log).glob(f"*_{planned.key}")):
            if (found := _open(folder)) is not None and found.info.key == planned.key:
                return found
        return None

    def write(self, planned: PlannedCell, info: CellInfo, result: CellResult) -> Path:
        """Store a cell in one step, in place of an older one; returns its folder.

        Raises:
            ConfigError: the folder cannot be written.
        """
        cell = planned.cell
        folder = self.root / cell.log / f"{cell.profile}_{cell.variant}_{cell.seed}_{planned.key}"
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            partial = Path(tempfile.mkdtemp(prefix=".cell-", dir=folder.parent))
            try:
                result.scores.write_parquet(partial / SCORES, compression="zstd")
                (partial / ABOUT).write_text(info.model_dump_json(indent=1) + "\n")
                for old in folder.parent.glob(f"*_{planned.key}"):
                    shutil.rmtree(old)
                partial.replace(folder)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
        except OSError as error:
            raise ConfigError(f"cannot store a cell in {folder}: {error}") from error
        return folder

    def count(self, experiment: str) -> dict[str, int]:
        """Finished cells that this experiment made, by log."""
        counts: dict[str, int] = {}
        for path in sorted(self.root.glob(f"*/[!.]*/{ABOUT}")):
            found = _open(path.parent)
            if found is not None and found.info.experiment == experiment:
                counts[found.info.log] = counts.get(found.info.log, 0) + 1
        return counts


def finite(extras: dict[str, float]) -> dict[str, float]:
    """Extras that are numbers: a correlation of a constant, for one, is none."""
    return {name: value for name, value in extras.items() if math.isfinite(value)}


def _open(folder: Path) -> FinishedCell | None:
    try:
        info = CellInfo.model_validate(json.loads((folder / ABOUT).read_text()))
    except (OSError, ValueError, ValidationError):
        return None
    return FinishedCell(folder, info) if (folder / SCORES).is_file() else None
