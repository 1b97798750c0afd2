"""train: a log to a bundle."""

from __future__ import annotations

from typing import Unpack

from rich.console import Console

from scalrec.api.log import Log, source_of
from scalrec.api.options import Assignments, Options, PathLike, console_for, settings_for
from scalrec.api.running import run_job
from scalrec.api.trained import Trained
from scalrec.jobs.prepared import prepared
from scalrec.settings import Settings


def train(
    log: Log | PathLike = "movielens-100k",
    *,
    settings: Assignments | None = None,
    verbose: bool = False,
    **options: Unpack[Options],
) -> Trained:
    """Train a model of a log and write its bundle, or find both finished.

    Args:
        log: as ``load_log`` gave it, or its name or file.
        settings: by full names, e.g. ``{"training.epochs": 4}``.
        verbose: print progress.
        options: see ``Options``.

    Raises:
        ConfigError: a setting is wrong, or the text model cannot be had.
        DataError: the log is malformed or too small, or training diverged.
        EmbedderError, LaunchError: the text model does not answer or start.
        BundleError: an exported graph differs from torch, or the folder cannot be written.
    """
    chosen = settings_for(source_of(log), settings, options)
    return run_job(_train(chosen, console_for(verbose)))


async def _train(settings: Settings, console: Console) -> Trained:
    logs = settings.work_dir / "serve"
    async with prepared(
        settings, console, bundle=None, logs=logs, allow_fallback=False, serves=False
    ) as made:
        return Trained(made.bundle)
