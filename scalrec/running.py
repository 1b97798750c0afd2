"""Run one asynchronous command to its end, however it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import typer

from reports.marked import marked
from scalrec.console import make_console

INTERRUPTED = 130


def run_command(work: Coroutine[Any, Any, None]) -> None:
    """asyncio.run that leaves with exit code 130 on Ctrl-C, after every ``finally`` has run.

    asyncio.run turns the first SIGINT into a cancellation of the main task, so context managers
    stop their child processes before this returns.
    """
    try:
        asyncio.run(work)
    except KeyboardInterrupt:
        make_console(stderr=True).print(
            marked("[yellow]Interrupted; everything that was started has been stopped.[/]")
        )
        raise typer.Exit(INTERRUPTED) from None
