"""`scalrec train`: backbone, projector and calibration for one log and device profile."""

from __future__ import annotations

from contextlib import aclosing
from typing import Annotated

import typer
from rich.console import Console

from reports.marked import marked
from scalrec.console import ConsoleProgress, StageTimes, make_console, print_log, print_settings
from scalrec.jobs.enough import require_enough
from scalrec.jobs.prepared import read_log
from scalrec.options import (
    Given,
    options,
)
from scalrec.running import run_command
from scalrec.settings import Settings
from scalrec.stack.embedder_server import served_embedder


@options("log columns items embedder model profile seed work_dir force assignments")
def train(
    given: Given,
    force: Annotated[
        bool, typer.Option("--force", help="Train all stages anew instead of reusing them.")
    ] = False,
) -> None:
    """Train every stage that is not finished yet; interrupted runs continue where they were."""
    settings = given()
    run_command(train_and_export(settings, make_console(), force=force, export=False))


async def train_and_export(
    settings: Settings, console: Console, *, force: bool, export: bool
) -> None:
    """Train, print the validation figures, and write the bundle if asked to."""
    # Here, not above: torch is loaded for training only, and images that serve do without it.
    from scalrec.jobs.exporting import exported
    from training.semantic.inside import embedding_inside
    from training.train import train as train_model
    from training.tuning.stage import with_tuned_model

    print_settings(console, settings)
    progress, times = ConsoleProgress(console), StageTimes()
    loaded = await read_log(settings, progress)
    print_log(console, loaded)
    for note in require_enough(loaded, settings):
        console.print(marked("[yellow]note[/] {}", note), highlight=False)
    settings = await with_tuned_model(settings, loaded, progress)
    async with served_embedder(
        embedding_inside(settings),
        logs=settings.work_dir / "serve",
        progress=progress,
        console=console,
        allow_fallback=False,
    ) as served:
        if served.process is not None:
            times.add("embedder start", served.seconds_to_ready)
        async with aclosing(served.connect(settings.training.threads)) as client:
            trained = await train_model(settings, loaded, client, progress=progress, force=force)
    for name, seconds in trained.stage_seconds.items():
        times.add(f"{name} (reused)" if name in trained.reused else name, seconds)
    for name, value in trained.figures.items():
        console.print(marked("[dim]{}[/]  {}", f"{name:>40}", f"{value:.4f}"), highlight=False)
    for note in trained.notes:
        console.print(marked("[yellow]note[/] {}", note))
    if export:
        with times.stage("export"):
            bundle, unchanged = await exported(trained, settings, progress)
        state = "unchanged" if unchanged else "written"
        console.print(
            marked("[green]✓[/] bundle {} {}: {}", bundle.id, state, bundle.path), soft_wrap=True
        )
    times.print(console)
