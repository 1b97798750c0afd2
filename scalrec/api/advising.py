"""advise: does a cached cloud pay for a log and a device."""

from __future__ import annotations

from typing import Unpack

from scalrec.advice.model import Advice
from scalrec.advice.setup import QUICK
from scalrec.api.log import Log, source_of
from scalrec.api.options import Assignments, Options, PathLike, console_for, settings_for
from scalrec.api.running import run_job
from scalrec.jobs import advising


def advise(
    log: Log | PathLike = "movielens-100k",
    *,
    quick: bool = False,
    settings: Assignments | None = None,
    verbose: bool = False,
    **options: Unpack[Options],
) -> Advice:
    """As `scalrec advise`: say whether a cached cloud pays, and how often to call it.

    The answer in words is ``advice.verdict.sentence``; ``advice.figures`` has the numbers (NDCG@10
    with 95 % intervals over users).

    Args:
        log: as ``load_log`` gave it, or its name or file.
        quick: of few users and epochs: a first look.
        settings: by full names.
        verbose: print progress.
        options: see ``Options``.

    Raises:
        DataError: the log is malformed or too small.
        ConfigError, EmbedderError, LaunchError: as ``train``.
    """
    training = dict(QUICK) if quick else {}
    chosen = settings_for(source_of(log), settings, options, training=training)
    return run_job(advising.advise(chosen, console_for(verbose), quick=quick))
