"""`scalrec train`: backbone, projector and calibration for one log and device profile."""

from __future__ import annotations

from contextlib import aclosing
from typing import Annotated

import typer
from rich.console import Console

from scalrec.bundles import bundle_dir
from scalrec.commands.data import print_log
from scalrec.console import ConsoleProgress, StageTimes, make_console, print_settings
from scalrec.embedder_server import served_embedder
from scalrec.options import (
    ColumnsOption,
    EmbedderOption,
    ItemsOption,
    LogOption,
    ModelOption,
    ProfileOption,
    SeedOption,
    SetOption,
    WorkDirOption,
    settings_from,
)
from scalrec.running import run_command
from scalrec.settings import Settings
from training.background import in_thread
from training.datasets.registry import load_log


def train(
    log: LogOption = None,
    columns: ColumnsOption = None,
    items: ItemsOption = None,
    embedder: EmbedderOption = None,
    model: ModelOption = None,
    profile: ProfileOption = None,
    seed: SeedOption = None,
    work_dir: WorkDirOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Train all stages anew instead of reusing them.")
    ] = False,
    assignments: SetOption = None,
) -> None:
    """Train every stage that is not finished yet; interrupted runs continue where they were."""
    settings = settings_from(
        log=log,
        columns=columns,
        items=items,
        embedder=embedder,
        model=model,
        profile=profile,
        seed=seed,
        work_dir=work_dir,
        assignments=assignments,
    )
    run_command(train_and_export(settings, make_console(), force=force, export=False))


async def train_and_export(
    settings: Settings, console: Console, *, force: bool, export: bool
) -> None:
    """Train, print the validation figures, and write the bundle if asked to."""
    # Here, not above: torch is loaded for training only, and images that serve do without it.
    from scalrec.training import export_if_changed
    from training import pipeline
    from training.tuning.stage import with_tuned_model

    print_settings(console, settings)
    progress, times = ConsoleProgress(console), StageTimes()
    loaded = await in_thread(
        lambda stoppable: load_log(settings.log, cache=settings.cache, progress=stoppable), progress
    )
    print_log(console, loaded)
    settings = await with_tuned_model(settings, loaded, progress)
    async with served_embedder(
        settings,
        logs=settings.work_dir / "serve",
        progress=progress,
        console=console,
        allow_fallback=False,
    ) as served:
        times.add("embedder start", served.seconds_to_ready)
        async with aclosing(served.connect(settings.training.threads)) as client:
            trained = await pipeline.train(settings, loaded, client, progress=progress, force=force)
    for name, seconds in trained.stage_seconds.items():
        times.add(f"{name} (reused)" if name in trained.reused else name, seconds)
    for name, value in trained.figures.items():
        console.print(f"[dim]{name:>40}[/]  {value:.4f}", highlight=False)
    for note in trained.notes:
        console.print(f"[yellow]note[/] {note}")
    if export:
        with times.stage("export"):
            bundle, unchanged = await in_thread(
                lambda stoppable: export_if_changed(
                    trained, settings, bundle_dir(settings), progress=stoppable
                ),
                progress,
            )
        state = "unchanged" if unchanged else "written"
        console.print(f"[green]✓[/] bundle {bundle.id} {state}: {bundle.path}", soft_wrap=True)
    times.print(console)
