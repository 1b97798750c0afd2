"""Where bundles and runs lie under work_dir, ``latest`` at the newest run that ended.

Apart from training, so that serving and the fleet start without torch.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from scalrec.settings import Settings
from shared.errors import ConfigError


def new_run_dir(work_dir: Path, name: str, now: datetime) -> Path:
    """Create ``work_dir/<UTC time>-<name>``; raises ConfigError when that is impossible."""
    path = work_dir / f"{now:%Y%m%dT%H%M%S}-{name}"
    try:
        path.mkdir(parents=True)
    except OSError as error:
        raise ConfigError(f"cannot create run folder {path}: {error}") from error
    return path


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


def bundle_dir(settings: Settings) -> Path:
    """Where the bundle of these settings lies: one per log, device profile and text model."""
    model = Path(settings.embedder.model).name
    name = f"{settings.log.name}-{settings.profile.name}-{model}"
    return settings.work_dir / "bundles" / name
