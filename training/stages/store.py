"""StageStore: finished training stages on disk, found again by what went into them.

``root/<stage>-<key>/`` holds one stage's result. The key is a hash over everything the result
depends on (options, data, upstream keys, source code), so a folder is either exactly right or
never looked at. A folder is filled under another name and renamed when complete; its marker, with
the hash of every file, is written last.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from shared.errors import ConfigError, DataError
from shared.progress import Progress
from training.stages.forms import Saved
from training.stages.stage import Stage

T = TypeVar("T")
MARKER = "stage.json"


@dataclass
class StageStore:
    """Runs stages, or reads what an earlier run left.

    Attributes:
        root: usually ``work_dir/stages``.
        force: compute everything anew, replacing what is there.
        keys: of each stage that the results of this run rest on, by name, read or not.
        seconds: wall time of each stage this run went through, by name, without those before it.
        reused: names of the stages that were read instead of computed.
    """

    root: Path
    force: bool = False
    keys: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    reused: list[str] = field(default_factory=list)
    _results: dict[str, Any] = field(default_factory=dict)  # by key
    _asked: dict[str, asyncio.Lock] = field(default_factory=dict)  # by key

    async def result(self, stage: Stage[T], progress: Progress) -> T:
        """The result of a stage; where it must be built, of those before. Each is got once, also
        where several ask at a time.

        Raises what ``run`` and the stages' ``build`` raise.
        """

        waited = 0.0

        async def build() -> T:
            nonlocal waited
            began = time.perf_counter()
            before = [await self.result(one, progress) for one in stage.upstream]
            waited = time.perf_counter() - began
            return await stage.build(progress, *before)

        async with self._asked.setdefault(stage.key, asyncio.Lock()):
            if stage.key not in self._results:
                found = await self.run(stage.name, stage.key, build, stage.form)
                self.seconds[stage.name] -= waited  # those before it are told by themselves
                self._results[stage.key] = found
                self._note(stage)
        result: T = self._results[stage.key]
        return result

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

    def _note(self, stage: Stage[Any]) -> None:
        """Stages before it, too: a result that is read does not ask for them."""
        for one in stage.upstream:
            self._note(one)
        self.keys[stage.name] = stage.key

    def _read(self, folder: Path, form: Saved[T]) -> T | None:
        try:
            files = json.loads((folder / MARKER).read_text())["files"]
            if any(_sha256(folder / name) != digest for name, digest in files.items()):
                return None
            return form.load(folder)
        except (
            OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, DataError,
        ):  # fmt: skip
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


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
