"""A pydantic model as the result of a training stage: one JSON file."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from shared.errors import DataError
from training.stages import Saved

M = TypeVar("M", bound=BaseModel)


def model_form(kind: type[M], file: str, words: str) -> Saved[M]:
    """Kept as ``file``; loading raises DataError naming it where it is not ``words``."""

    def save(found: M, folder: Path) -> None:
        (folder / file).write_text(found.model_dump_json(indent=1) + "\n")

    def load(folder: Path) -> M:
        path = folder / file
        try:
            return kind.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise DataError(f"not {words}: {error}", path) from error

    return Saved(save, load)
