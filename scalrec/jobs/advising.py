"""One advice: load the log, train and score once, estimate, judge, write."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from experiments.cells import relevant
from experiments.study import STUDY, checked, find_study
from scalrec.advice.caveats import unknown
from scalrec.advice.estimation import estimate
from scalrec.advice.model import Advice
from scalrec.advice.page import page
from scalrec.advice.setup import QUICK_USERS, defaults, filled, some_users
from scalrec.advice.verdict import judge
from scalrec.console import ConsoleProgress, print_log, print_settings
from scalrec.folders import new_run_dir
from scalrec.jobs.prepared import read_log
from scalrec.settings import Settings
from scalrec.stack.embedder_server import lazily_served
from shared.files import write_whole
from training.semantic.inside import embedding_inside
from training.splitting import policy_of

FIGURES, PAGE = "advice.json", "advice.html"


async def advise(
    settings: Settings, console: Console, *, quick: bool = False, study: str = STUDY
) -> Advice:
    """Compute an advice; finished training stages are reused.

    Args:
        settings: what they leave at its default, ``scalrec.advice.setup`` decides.
        quick: of few users.
        study: which trains and scores, see ``experiments.study``.

    Raises:
        DataError: the log is malformed or too small.
        EmbedderError, ConfigError, LaunchError: as of the study's cells and the embedder.
    """
    started, clock = datetime.now(UTC), time.monotonic()
    progress = ConsoleProgress(console)
    log = await read_log(settings, progress)
    settings = filled(settings, defaults(log, settings.log.name))
    if quick:
        log = some_users(log, QUICK_USERS, settings.seed)
    print_settings(console, settings)
    print_log(console, log)
    compute = find_study(study)
    if settings.embedder.lora is not None:
        # Here, not above: it loads torch, which other commands do without.
        from training.tuning.stage import with_tuned_model

        settings = await with_tuned_model(settings, log, progress)
    async with lazily_served(
        embedding_inside(settings),
        logs=settings.work_dir / "serve",
        progress=progress,
        console=console,
    ) as embedder:
        result = checked(await compute(settings, log, embedder, progress=progress))
    with progress.task("resampling users"):
        figures = estimate(
            result.scores,
            log.n_users,
            settings.profile,
            fusion_weight=result.extras.get("fusion_weight"),
        )
    return Advice(
        created=started.isoformat(timespec="seconds"),
        log=log.describe(),
        terms=log.terms,
        repeat_policy=policy_of(settings, log),
        profile=settings.profile,
        seed=settings.seed,
        quick=quick,
        verdict=judge(figures),
        figures=figures,
        unknown=unknown(figures, settings, log, quick=quick),
        settings=relevant(settings),
        seconds=round(time.monotonic() - clock, 1),
    )


def write_advice(advice: Advice, work_dir: Path, name: str) -> tuple[Path, Path]:
    """Write advice.json and advice.html into a new run folder; returns both paths."""
    folder = new_run_dir(work_dir, f"advise-{name}", datetime.fromisoformat(advice.created))
    figures, picture = folder / FIGURES, folder / PAGE
    write_whole(figures, advice.model_dump_json(indent=1) + "\n")
    write_whole(picture, page(advice))
    return figures, picture
