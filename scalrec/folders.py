"""Where bundles and runs lie under work_dir, ``latest`` at the newest run that ended.

Apart from training, so that serving and the fleet start without torch.
"""

from __future__ import annotations

import glob
import hashlib
import itertools
import json
import os
import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from scalrec.settings import Settings
from shared.bundle import MANIFEST
from shared.errors import ConfigError

LONGEST_NAME = 70  # of a log in a folder's name; the live view takes names of a hundred
_OWN = re.compile(r"|-[0-9a-f]{12}")  # what follows the stem: nothing, or a recipe
_MADE_FROM = ("log", "profile", "training", "abstract", "generative")


def new_run_dir(work_dir: Path, name: str, now: datetime) -> Path:
    """Create ``work_dir/<UTC time>-<name>``, numbered if a run that began then has it already.

    Characters that do not belong into an address are replaced in ``name``: the live view links to
    the run by its folder.

    Raises:
        ConfigError: the folder cannot be made.
    """
    stem = f"{now:%Y%m%dT%H%M%S}-{file_name(name)}"
    try:
        work_dir.mkdir(parents=True, exist_ok=True)
        for number in itertools.count(1):
            path = work_dir / (stem if number == 1 else f"{stem}-{number}")
            try:
                path.mkdir()
            except FileExistsError:
                if path.is_dir():
                    continue
                raise
            return path
    except OSError as error:
        raise ConfigError(f"cannot create run folder {work_dir / stem}: {error}") from error
    raise AssertionError("there is always another number")


def point_latest(work_dir: Path, run_dir: Path) -> Path:
    """Make ``work_dir/latest`` a symlink to ``run_dir``, replacing the old one in one step."""
    link = work_dir / "latest"
    staging = work_dir / f".latest-{os.getpid()}"
    staging.unlink(missing_ok=True)
    staging.symlink_to(run_dir.name, target_is_directory=True)
    staging.replace(link)
    return link


def latest_run(work_dir: Path) -> Path:
    """The newest finished run; raises ConfigError when there is none."""
    link = work_dir / "latest"
    if not link.exists():
        raise ConfigError(f"no finished run under {work_dir}; make one with `scalrec simulate`")
    return link.resolve()


def bundle_dir(settings: Settings, recipe: str) -> Path:
    """Where the bundle made by ``recipe`` lies: no other one is ever written there.

    Args:
        recipe: hash of everything that changes the bundle.
    """
    return _bundles(settings) / f"{bundle_stem(settings)}-{recipe[:12]}"


def bundle_stem(settings: Settings) -> str:
    """What the folders of a log's bundles begin with: log, device profile and text model."""
    model = Path(settings.embedder.model).name
    return file_name(f"{settings.log.name}-{settings.profile.name}-{model}")


def recipe_note(bundle: Path) -> Path:
    """The file beside a bundle that says what it was made from."""
    return bundle.with_name(f"{bundle.name}.recipe.json")


def settings_digest(settings: Settings) -> str:
    """Short hash of the settings that a bundle depends on, without the log's own content."""
    asked = {name: getattr(settings, name).model_dump(mode="json") for name in _MADE_FROM}
    asked |= {
        "seed": settings.seed,
        "embedder": settings.embedder.model_dump(
            mode="json", include={"backend", "model", "pooling", "max_tokens"}
        ),
        "candidates": [settings.cloud.candidates, settings.cloud.candidates_from],
    }
    return hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()[:16]


def find_bundle(settings: Settings, bundle_id: str | None = None) -> Path:
    """The bundle of these settings in the work folder.

    One that was made from the very same settings goes first, else the log's, profile's and text
    model's newest: commands that make none are given fewer settings than the one that did.

    Args:
        bundle_id: the one wanted, if it is there; that of a cloud, for its devices.

    Raises:
        ConfigError: there is none.
    """
    stem, asked = bundle_stem(settings), settings_digest(settings)
    found = [_Found.of(path) for path in sorted(_bundles(settings).glob(f"{glob.escape(stem)}*/"))]
    fitting = [f for f in found if _OWN.fullmatch(f.path.name[len(stem) :]) and f.bundle_id]
    if not fitting:
        raise ConfigError(
            f"no bundle {stem} in {_bundles(settings)}: make one with `scalrec export`, or name "
            "one with --bundle"
        )
    best = max(fitting, key=lambda f: (f.bundle_id == bundle_id, f.asked == asked, f.made))
    return best.path


@dataclass(frozen=True)
class _Found:
    """A bundle's folder; ``bundle_id`` is None if it holds none."""

    path: Path
    bundle_id: str | None
    asked: str | None
    made: float

    @classmethod
    def of(cls, path: Path) -> _Found:
        manifest, note = path / MANIFEST, recipe_note(path)
        told = _json(note)
        newest = max((f.stat().st_mtime for f in (manifest, note) if f.exists()), default=0.0)
        return cls(path, _json(manifest).get("bundle_id"), told.get("asked"), newest)


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _bundles(settings: Settings) -> Path:
    return settings.work_dir / "bundles"


def file_name(text: str) -> str:
    """``text`` as a file's name that addresses can hold as well."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9._-]+", "_", plain).strip("._-")[:LONGEST_NAME] or "unnamed"
