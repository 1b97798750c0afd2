"""`scalrec report`: the HTML report and the tables of a run, from its records."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.text import Text

from loadtest.records.checksums import unsealed
from loadtest.records.recorder import recover
from reports.documents import update_documents
from reports.marked import marked
from reports.page.comparison import COMPARISON_FILE, build_comparison
from reports.run_report import report_run
from reports.summary.build import read_summary
from reports.terminal import print_summary
from reports.tracking.mlflow_run import track_in_mlflow
from scalrec.console import make_console
from scalrec.folders import latest_run
from scalrec.options import WorkDirOption, settings_from
from shared.errors import ConfigError


def report(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(help="Run folder (default: the latest finished run); several to compare."),
    ] = None,
    work_dir: WorkDirOption = None,
    docs: Annotated[
        Path | None,
        typer.Option(help="Also put this run's tables into the README and docs/ of this checkout."),
    ] = None,
    to: Annotated[
        Literal["mlflow"] | None,
        typer.Option(
            help="Also track the run in MLflow: settings, figures and report, once however often."
        ),
    ] = None,
    tracking_uri: Annotated[
        str | None,
        typer.Option(
            help="MLflow's server (http://HOST:PORT) or file (sqlite:///FILE); default: "
            "MLFLOW_TRACKING_URI, else sqlite:///mlflow.db."
        ),
    ] = None,
    experiment: Annotated[
        str | None,
        typer.Option(
            help="MLflow's experiment; default: MLFLOW_EXPERIMENT_NAME, else scalrec.",
        ),
    ] = None,
) -> None:
    """Compute summary.json and report.html anew from the parquet records of a run.

    Also of a run that was cut short: name its folder. Of several runs, write comparison.html into
    the work folder instead: their replays side by side.
    """
    if to is None and (tracking_uri or experiment):
        raise ConfigError("--tracking-uri and --experiment are of MLflow's: add --to mlflow")
    console = make_console()
    folder = settings_from(work_dir=work_dir).work_dir
    run_dirs = runs or [latest_run(folder)]
    for run_dir in run_dirs:
        for name, rows in recover(run_dir).items():
            console.print(
                marked(
                    "[yellow]note[/] {} did not end; {} rows of {} recovered",
                    run_dir.name,
                    f"{rows:,}",
                    name,
                )
            )
        if old := unsealed(run_dir):
            console.print(
                marked(
                    "[yellow]note[/] {} keeps no checksums of {}: whether they are as the run "
                    "wrote them cannot be told",
                    run_dir.name,
                    ", ".join(old),
                ),
                soft_wrap=True,
            )
    if len(run_dirs) > 1:
        if docs is not None:
            raise ConfigError("--docs takes the tables of one run, not of a comparison")
        if to is not None:
            raise ConfigError("--to takes one run: MLflow itself compares those that it has")
        folder.mkdir(parents=True, exist_ok=True)
        path = build_comparison(run_dirs, folder / COMPARISON_FILE)
        console.print(marked("[green]✓[/] {}", path.absolute()), soft_wrap=True)
        return
    [run_dir] = run_dirs
    path = report_run(run_dir)
    summary = read_summary(run_dir)
    print_summary(summary, console)
    console.print(marked("[green]✓[/] {}", path.absolute()), soft_wrap=True)
    if docs is not None:
        for changed in update_documents(docs, summary):
            console.print(marked("[green]✓[/] {}", changed))
    if to == "mlflow":
        tracked = track_in_mlflow(run_dir, summary, uri=tracking_uri, experiment=experiment)
        console.print(
            marked(
                "[green]✓[/] {} in MLflow: run {} of experiment {}, {}",
                "new" if tracked.made else "completed",
                tracked.run_id,
                tracked.experiment,
                tracked.store,
            ),
            soft_wrap=True,
        )
        if tracked.page is not None:  # holds no secret, and a fragment that would be taken for one
            console.print(Text(f"  {tracked.page}"), soft_wrap=True)
