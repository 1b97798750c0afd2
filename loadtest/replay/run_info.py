"""What was run: the facts about a run that its records do not carry."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError, field_validator

from loadtest.records.checksums import check, seal
from loadtest.replay.profile_figures import ProfileFigures
from shared.bundle import CollaborationSpec, EmbedderIdentity, Manifest
from shared.errors import DataError
from shared.files import write_whole
from shared.interactions import InteractionLog
from shared.profile import DeviceProfile
from shared.section import printable
from shared.split import Split, trained_after
from shared.strict import Strict

RUN_FILE = "run.json"
# What a result can depend on; shown with every report.
PACKAGES = (
    "numpy", "polars", "torch", "transformers", "onnx", "onnxruntime", "fastapi", "uvicorn",
    "httpx2", "redis", "msgspec", "pydantic", "altair", "vl-convert-python",
)  # fmt: skip


class StageRecord(Strict):
    """One stage of a run; ``reused`` when a former run's result was still valid."""

    name: str
    seconds: float = Field(ge=0)
    reused: bool = False


class RunInfo(Strict):
    """Everything a reader must know to judge the figures; written as run.json beside the records.

    Attributes:
        log: the log in words (InteractionLog.describe).
        embedder: the bundle's text model, and the back end that served it.
        requested_backend: the embedder back end that was asked for.
        fallback_reason: why another one was used; "" when it was not.
        collaboration: what the bundle says of it, if anything.
        training: the bundle's training record (seeds, losses, measured facts).
        settings: all settings, secrets masked.
        run_notes: what there is to know of the run itself, in sentences.
        run_failures: why its figures are not those of the run that was asked for.
        device_figures: what one device downloads, holds and takes per request; None unmeasured.
        trained_after: share of training events that lie after the request they are used for (see
            ``shared.split.trained_after``); None unknown, or no times.
    """

    started: str
    log: dict[str, str]
    log_terms: str = ""
    log_notes: tuple[str, ...] = ()
    bundle_id: str
    backbone: str
    profile: DeviceProfile
    embedder: EmbedderIdentity
    requested_backend: str
    fallback_reason: str = ""
    repeat_policy: Literal["allow", "exclude"]
    candidates: int
    fusion_weight: float
    collaboration: CollaborationSpec | None = None
    training: dict[str, float | int | str] = Field(default_factory=dict)
    settings: dict[str, Any]
    stages: tuple[StageRecord, ...] = ()
    run_notes: tuple[str, ...] = ()
    run_failures: tuple[str, ...] = ()
    device_figures: ProfileFigures | None = None
    trained_after: float | None = None
    git_revision: str | None = None
    versions: dict[str, str] = Field(default_factory=dict)
    machine: str = ""

    @field_validator("profile", mode="before")
    @classmethod
    def _of_older_records(cls, profile: Any) -> Any:
        """Records outlive formats: older ones only say whether there was a table."""
        if not isinstance(profile, dict) or "item_table" not in profile:
            return profile
        known = {name: value for name, value in profile.items() if name != "item_table"}
        return known | {"table": "float32" if profile["item_table"] else "none"}

    @property
    def split(self) -> str:
        """``training.split`` of its settings; by user in records older than the choice."""
        return str(self.settings.get("training", {}).get("split", "user"))

    @property
    def fell_back(self) -> bool:
        """The text model was served otherwise than asked for."""
        return bool(self.fallback_reason)


def describe_run(
    log: InteractionLog,
    manifest: Manifest,
    settings: BaseModel,
    *,
    split: Split,
    served_by: str,
    requested_backend: str,
    started: str,
    stages: Sequence[StageRecord] = (),
    fallback_reason: str = "",
    device_figures: ProfileFigures | None = None,
) -> RunInfo:
    """Gather the facts of a run about to be, or just, done (``started``: ISO 8601).

    Args:
        settings: all that the run had.
        served_by: back end of the embedder; training may have used another one.
        requested_backend: of the embedder.
    """
    return RunInfo(
        started=started,
        log=log.describe(),
        log_terms=log.terms,
        log_notes=log.notes,
        bundle_id=manifest.bundle_id,
        backbone=manifest.backbone,
        profile=manifest.profile,
        embedder=manifest.embedder.model_copy(update={"backend": served_by}),
        requested_backend=requested_backend,
        fallback_reason=fallback_reason,
        repeat_policy=manifest.repeat_policy,
        candidates=manifest.candidates,
        fusion_weight=manifest.fusion_weight,
        collaboration=manifest.collaboration,
        training=manifest.training,
        settings=printable(settings),
        stages=tuple(stages),
        device_figures=device_figures,
        trained_after=trained_after(log, split),
        git_revision=git_revision(),
        versions=package_versions(),
        machine=f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
    )


def write_run_info(run_dir: Path, info: RunInfo) -> Path:
    """Write run.json in one step; returns its path."""
    path = write_whole(run_dir / RUN_FILE, info.model_dump_json(indent=2) + "\n")
    seal(run_dir, RUN_FILE)
    return path


def read_run_info(run_dir: Path) -> RunInfo:
    """Read run.json; raises DataError naming the file and what to do."""
    path = run_dir / RUN_FILE
    check(path)
    try:
        return RunInfo.model_validate_json(path.read_text())
    except FileNotFoundError as error:
        raise DataError(f"no run here; make one with `scalrec simulate` ({error})", path) from error
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise DataError(f"not the description of a run: {error}", path) from error


def package_versions() -> dict[str, str]:
    """Installed versions of PACKAGES, those missing left out."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def git_revision() -> str | None:
    """Commit this code is checked out at, "+changes" if edited; None outside a checkout."""
    here = Path(__file__).resolve().parent

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(here), *arguments],
            capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
        return done.stdout.strip()

    try:
        revision = git("rev-parse", "--short=12", "HEAD")
        return revision + ("+changes" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return None
