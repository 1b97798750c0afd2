"""`scalrec export`: the bundle that cloud and devices load, checked against torch."""

from __future__ import annotations

from scalrec.commands.train import train_and_export
from scalrec.console import make_console
from scalrec.options import Given, options
from scalrec.running import run_command


@options("log columns items embedder model profile seed work_dir assignments")
def export(given: Given) -> None:
    """Write the bundle of the trained model (training first whatever is missing).

    Every graph is compared with torch at every history length and several batch sizes; a bundle
    that differs is not written.
    """
    settings = given()
    run_command(train_and_export(settings, make_console(), force=False, export=True))
