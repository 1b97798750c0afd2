"""`scalrec`: what a stale cloud costs a device recommender, and what calibration buys back."""

from __future__ import annotations

import errno
import io
import signal
import sys
from importlib.metadata import version
from typing import Annotated, NoReturn

import typer

from reports.marked import marked
from scalrec.command_list import CommandList
from scalrec.console import make_console
from scalrec.extras import extra_missing, extra_of
from scalrec.running import INTERRUPTED
from shared.errors import ScalrecError

_FULL = "; free some space or give another folder with --work-dir, then run the command again"
_ADVICE = {errno.ENOSPC: _FULL, errno.EDQUOT: _FULL, errno.EFBIG: _FULL}


def build_app() -> typer.Typer:
    """All commands, of which only the one that is run is imported."""
    app = typer.Typer(
        name="scalrec",
        cls=CommandList,
        help=__doc__,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_program)
    return app


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"scalrec {version('scalrec')}")
        raise typer.Exit


def _program(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Options of the program itself; each acts by its callback."""


def run() -> NoReturn:
    """Entry point: errors raised on purpose are printed in one line, everything else is a bug."""
    # Scripts start background jobs with SIGINT ignored, which would outlast SIGTERM, too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # A terminated run must unwind like an interrupted one, or its children would stay.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    for stream in (sys.stdout, sys.stderr):
        # A terminal of another encoding than UTF-8 has no check mark, and no such title.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        build_app()()
    except ScalrecError as error:
        _refuse(error, error)
    except ModuleNotFoundError as error:
        # Of what a command imports only when it comes to it, as serving does with torch.
        what = " ".join(["scalrec", *sys.argv[1:2]])
        told = extra_missing(error, what, extra_of(error.name or ""))
        if told is None:
            raise
        _refuse(told, told)
    except OSError as error:
        # A full disk, a folder that is gone or not ours: nothing of ours to mend, and no mystery.
        if error.errno is None:
            raise
        where = "" if error.filename is None else f"{error.filename}: "
        advice = _ADVICE.get(error.errno, "")
        _refuse(error, f"{where}{error.strerror}{advice}")
    except KeyboardInterrupt:
        make_console(stderr=True).print(
            marked("[yellow]Interrupted; everything that was started has been stopped.[/]")
        )
        sys.exit(INTERRUPTED)
    sys.exit(0)


def _refuse(error: Exception, words: object) -> NoReturn:
    """End with exit code 2; one line says what kind of error it was, and ``words``."""
    kind = marked("[bold red]{}[/]", type(error).__name__)
    make_console(stderr=True).print(kind, words, highlight=False)
    sys.exit(2)
