"""`scalrec dashboard`: one live view for all processes of a fleet."""

from __future__ import annotations

import secrets
import signal
from threading import Event
from typing import Annotated

import typer

from reports.marked import marked
from scalrec.console import make_console
from scalrec.options import SetOption, WorkDirOption, settings_from
from scalrec.stack.live_view import serve_dashboard

DEFAULT_PORT = 8090


def dashboard(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on (default: 127.0.0.1).")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help=f"Port (default: {DEFAULT_PORT}); 0 picks a free one.")
    ] = None,
    work_dir: WorkDirOption = None,
    assignments: SetOption = None,
) -> None:
    """Serve one live view that the processes of a fleet report to, until interrupted.

    Start each `scalrec fleet` with dashboard.push_url and dashboard.token set to what is printed
    here, and with the same dashboard.run if they are one run. Whoever opens the page may change
    the run, so publish it on the loopback only.
    """
    settings = settings_from(
        work_dir=work_dir, assignments=assignments, dashboard={"host": host, "port": port}
    )
    console, options = make_console(), settings.dashboard
    given = None if options.token is None else options.token.get_secret_value()
    token = given or secrets.token_urlsafe(24)
    listen = DEFAULT_PORT if options.port is None else options.port
    with serve_dashboard(settings, token, listen) as server:
        console.print(marked("[green]✓[/] live view at [bold]{}[/]", server.url), highlight=False)
        if given is None:
            console.print(
                f"  fleets: SCALREC_DASHBOARD__PUSH_URL={server.url} "
                f"SCALREC_DASHBOARD__TOKEN={token} scalrec fleet ...",
                highlight=False,
                soft_wrap=True,
            )
        ended = Event()
        signal.signal(signal.SIGTERM, lambda *_: ended.set())
        signal.signal(signal.SIGINT, lambda *_: ended.set())
        ended.wait()
