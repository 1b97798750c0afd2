"""StageStore: finished training stages on disk, found again by what went into them.

``root/<stage>-<key>/`` holds one stage's result. The key is a hash over everything the result
depends on (settings, data, upstream keys, source code), so a folder is either exactly right or
never looked at. A folder is filled under another name and renamed when complete; its marker, with
the hash of every file, is written last.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from shared.errors import ConfigError, DataError

T = TypeVar("T")
MARKER = "stage.json"
KEY_LENGTH = 16


@dataclass(frozen=True)
class Saved(Generic[T]):
    """How a stage's result becomes files in a folder, and back."""

    save: Callable[[T, Path], None]
    load: Callable[[Path], T]


@dataclass
class StageStore:
    """Runs stages, or reads what an earlier run left.

    Attributes:
        root: usually ``work_dir/stages``.
        force: compute everything anew, replacing what is there.
        seconds: wall time of each stage this run went through, by name.
        reused: names of the stages that were read instead of computed.
    """

    root: Path
    force: bool = False
    seconds: dict[str, float] = field(default_factory=dict)
    reused: list[str] = field(default_factory=list)

    async def run(
        self, stage: str, key: str, build: Callable[[], Awaitable[T]], form: Saved[T]
    ) -> T:
        """The result of ``stage``: read if a folder of this key is intact, else built and saved.

        Raises:
            ConfigError: the folder cannot be written (the message says where).
        """
        started = time.perf_counter()
        folder = self.root / f"{stage}-{key}"
        result = None if self.force else self._read(folder, form)
        if result is not None:
            self.reused.append(stage)
        else:
            result = await build()
            self._write(folder, result, form)
        self.seconds[stage] = time.perf_counter() - started
        return result

    def _read(self, folder: Path, form: Saved[T]) -> T | None:
        try:
            files = json.loads((folder / MARKER).read_text())["files"]
            if any(_sha256(folder / name) != digest for name, digest in files.items()):
                return None
            return form.load(folder)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, DataError):
            return None  # absent, cut short or damaged: computed again and replaced

    def _write(self, folder: Path, result: T, form: Saved[T]) -> None:
        staging = None
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=self.root))
            form.save(result, staging)
            files = {path.name: _sha256(path) for path in sorted(staging.iterdir())}
            (staging / MARKER).write_text(json.dumps({"files": files}, indent=1) + "\n")
            if folder.exists():
                shutil.rmtree(folder)
            staging.replace(folder)
        except OSError as error:
            raise ConfigError(
                f"cannot keep the training stage {folder}: {error}; make room there or set "
                "SCALREC_WORK_DIR to another folder"
            ) from error
        finally:
            if staging is not None:
                shutil.rmtree(staging, ignore_errors=True)


def stage_key(**inputs: Any) -> str:
    """Hash of JSON-like inputs (sorted, floats exact); 16 hex digits."""
    text = json.dumps(inputs, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]


def source_hash(packages: Iterable[Path], *, leave_out: Iterable[str] = ()) -> str:
    """Hash over the Python sources of files and folders, so that changed code is run anew.

    Args:
        packages: .py files, or folders taken with their subfolders.
        leave_out: names of files or folders that cannot change a stage's result.
    """
    skipped = set(leave_out)
    digest = hashlib.sha256()
    for package in packages:
        sources = [package] if package.is_file() else sorted(package.rglob("*.py"))
        for source in sources:
            relative = source.relative_to(package.parent)
            if skipped.isdisjoint(relative.parts):
                digest.update(relative.as_posix().encode() + b"\0" + source.read_bytes() + b"\0")
    return digest.hexdigest()[:KEY_LENGTH]


def save_arrays(
    folder: Path, arrays: Mapping[str, NDArray[Any]], values: Mapping[str, Any] | None = None
) -> None:
    """Write arrays (safetensors) and plain values (JSON) into a stage's folder."""
    data = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    (folder / "arrays.safetensors").write_bytes(safetensors.numpy.save(data))
    (folder / "values.json").write_text(json.dumps(values or {}, indent=1) + "\n")


def load_arrays(folder: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read what ``save_arrays`` wrote; raises DataError when it is damaged."""
    path = folder / "arrays.safetensors"
    try:
        arrays = safetensors.numpy.load(path.read_bytes())
        values = json.loads((folder / "values.json").read_text())
    except (OSError, SafetensorError, ValueError) as error:
        raise DataError(f"not a stage's arrays: {error}", path) from error
    return arrays, values


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
