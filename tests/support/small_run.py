"""The invented log trained and exported once for a whole test run, with the options to use it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.support.once import once
from tests.support.runs_of_cli import CliRun
from tests.support.small_log import small_log

QUICK = [
    part
    for assignment in (
        "embedder.backend=hashing",
        "embedder.model=hashing-64",
        "training.epochs=1",
        "training.restart_epochs=0",
        "training.abstracts_per_user=2",
        "training.semantic_epochs=1",
        "training.calibration_epochs=1",
        "training.test_steps=4",
        "replay.steps=4",
        "replay.availability.kind=always",
        "device.k=2",
        "paper.bootstrap=100",
    )
    for part in ("--set", assignment)
]


def naming(log: Path, items: Path) -> list[str]:
    """The options that name the log."""
    return ["--log", str(log), "--items", str(items), "--columns", "user=who,item=what,time=when"]


@dataclass(frozen=True)
class SmallRun:
    """A work folder with stages and one bundle in it; to be read, not written."""

    folder: Path

    own: list[str]  # the options that name its log

    @classmethod
    def shared(cls, folder: Path) -> SmallRun:
        """The one in ``folder``: by `scalrec export` with QUICK, if nobody has made it yet."""

        def fill(folder: Path) -> None:
            export = CliRun(["export", *naming(*small_log(folder)), *QUICK], folder / "runs")
            export.finish(timeout_s=240)

        once(folder, fill)
        return cls(folder, naming(folder / "loans.csv", folder / "books.csv"))

    @property
    def bundle(self) -> Path:
        [manifest] = (self.folder / "runs" / "bundles").glob("*/manifest.json")
        return manifest.parent

    def copy(self, work_dir: Path, *, bundles: bool = True) -> Path:
        """A work folder of one's own in which all is trained, and exported with ``bundles``."""
        left_out = shutil.ignore_patterns(*(() if bundles else ("bundles",)))
        return shutil.copytree(self.folder / "runs", work_dir, symlinks=True, ignore=left_out)
