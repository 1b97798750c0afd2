"""`scalrec export`: the bundle that cloud and devices load, checked against torch."""

from __future__ import annotations

from scalrec.commands.train import train_and_export
from scalrec.console import make_console
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


def export(
    log: LogOption = None,
    columns: ColumnsOption = None,
    items: ItemsOption = None,
    embedder: EmbedderOption = None,
    model: ModelOption = None,
    profile: ProfileOption = None,
    seed: SeedOption = None,
    work_dir: WorkDirOption = None,
    assignments: SetOption = None,
) -> None:
    """Write the bundle of the trained model (training first whatever is missing).

    Every graph is compared with torch at every history length and several batch sizes; a bundle
    that differs is not written.
    """
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
    run_command(train_and_export(settings, make_console(), force=False, export=True))
