"""`scalrec advise`: does a cached cloud pay for this log and device, and how often to call it."""

from __future__ import annotations

from typing import Annotated

import typer

from experiments.study import STUDY
from reports.marked import marked
from scalrec.advice.setup import QUICK
from scalrec.advice.table import print_advice
from scalrec.console import make_console
from scalrec.jobs.advising import advise as compute
from scalrec.jobs.advising import write_advice
from scalrec.options import Given, options
from scalrec.running import run_command
from scalrec.settings import Settings


@options("log columns items profile quick embedder model seed work_dir study assignments")
def advise(
    given: Given,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Few users and epochs: a first look, which it says so of."),
    ] = False,
    study: Annotated[
        str, typer.Option(hidden=True, help="Id or module:function of what trains and scores.")
    ] = STUDY,
) -> None:
    """Say whether a cached cloud pays for a log and a device, and how often to call it.

    Trains once on the log, scores each user's last steps with snapshots of several ages, and
    compares a device that refreshes every 1, 2, 5, 10 or 20 requests, calibrated and not, with the
    same device without any cloud. The advice is the longest interval whose gain lies above zero
    (95 % interval over users) and is at least half of that at every request, or not to call.

    Leaves advice.json and advice.html in a folder of its own under the work folder. Finished
    training stages are reused, so a repetition, or one that was interrupted, is quick.
    """
    settings = given(training=dict(QUICK) if quick else {})
    run_command(_advise(settings, quick=quick, study=study))


async def _advise(settings: Settings, *, quick: bool, study: str) -> None:
    console = make_console()
    advice = await compute(settings, console, quick=quick, study=study)
    print_advice(console, advice)
    for path in write_advice(advice, settings.work_dir, advice.log["log"]):
        console.print(marked("[green]✓[/] {}", path), highlight=False, soft_wrap=True)
