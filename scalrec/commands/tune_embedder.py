"""`scalrec tune-embedder`: the text model, tuned to a log, as a model folder of its own."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from reports.marked import marked
from scalrec.console import ConsoleProgress, make_console, print_log, print_settings
from scalrec.jobs.prepared import read_log
from scalrec.options import (
    Given,
    options,
)
from scalrec.running import run_command
from scalrec.settings import Settings
from shared.errors import ConfigError, DataError
from training.settings import LoraSettings

if TYPE_CHECKING:
    from training.tuning.stage import TunedModel


@options("log columns items embedder model profile seed work_dir out force assignments")
def tune_embedder(
    given: Given,
    out: Annotated[
        Path | None,
        typer.Option(help="Where the model's folder is put; default: models in the work folder."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Tune anew instead of reusing what is finished.")
    ] = False,
) -> None:
    """Tune the text model with LoRA: an abstract comes to lie near the next item's text.

    Learns from training requests alone and keeps the epoch that ranks best on validation; where
    none is better than the model as it came, nothing is written. The adapters are merged into the
    weights: give the folder to other commands with --model. How it is tuned: the settings
    embedder.lora.*, for example --set embedder.lora.rank=16. Interrupted runs continue.
    """
    settings = given()
    run_command(_tune(settings, make_console(), out or settings.work_dir / "models", force=force))


async def _tune(settings: Settings, console: Console, out: Path, *, force: bool) -> None:
    # Here, not above: it loads torch, which --help can do without.
    from training.tuning.stage import tuned_model

    lora = settings.embedder.lora or LoraSettings()
    print_settings(console, settings)
    progress = ConsoleProgress(console)
    loaded = await read_log(settings, progress)
    print_log(console, loaded)
    tuned = await tuned_model(settings, loaded, lora, progress=progress, force=force)
    _print_epochs(console, tuned)
    if tuned.folder is None:
        raise DataError(
            "tuning did not rank validation requests better than the model as it came: nothing is "
            "written; try a lower embedder.lora.learning_rate or more embedder.lora.abstracts"
        )
    target = copied(tuned.folder, out)
    console.print(marked("[green]✓[/] {}", target), highlight=False, soft_wrap=True)
    console.print(f"  use it with --model {target}", highlight=False, soft_wrap=True)


def copied(folder: Path, out: Path) -> Path:
    """The model in a folder of the same name below ``out``, whole or not there.

    The name holds what the model was tuned on and is what bundles and caches know it by.

    Raises:
        ConfigError: ``out`` cannot be written.
    """
    target = (out / folder.name).absolute()
    partial = target.with_name(f".{target.name}.partial")
    try:
        out.mkdir(parents=True, exist_ok=True)
        for old in (partial, target):
            if old.exists():
                shutil.rmtree(old)
        shutil.copytree(folder, partial)
        partial.rename(target)
    except OSError as error:
        raise ConfigError(f"cannot write the tuned model to {target}: {error}") from error
    return target


def _print_epochs(console: Console, tuned: TunedModel) -> None:
    table = Table(box=None, padding=(0, 1))
    for column in ("epoch", "training loss", "validation loss", "validation NDCG@10", "seconds"):
        table.add_column(column, justify="right")
    for epoch in tuned.epochs:
        table.add_row(
            "as it came" if epoch.epoch == 0 else str(epoch.epoch),
            "" if epoch.train_loss is None else f"{epoch.train_loss:.4f}",
            f"{epoch.validation_loss:.4f}",
            f"{epoch.validation_ndcg10:.4f}",
            f"{epoch.seconds:.0f}",
        )
    console.print(table)
