"""`scalrec data`: fetch, list and show datasets, which are interaction logs."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from reports.marked import marked
from reports.text import split_told
from scalrec.console import ConsoleProgress, make_console, print_log
from scalrec.options import ColumnsOption, ItemsOption, LogOption, SetOption, settings_from
from shared.errors import DataError
from shared.split import trained_after
from training.data.degenerate import refuse_degenerate
from training.data.registry import fetch, known_logs, load_log
from training.splitting import split_of

app = typer.Typer(help="Fetch, list and show datasets (interaction logs).", no_args_is_help=True)


@app.command("list")
def list_logs() -> None:
    """The logs scalrec knows by name; any other file works with --log PATH --columns ..."""
    table = Table(box=None)
    for column in ("name", "what", "fetched by", "terms"):
        table.add_column(column, overflow="fold")
    for source in known_logs():
        how = "scalrec data fetch" if source.fetchable else f"you, from {source.origin}"
        table.add_row(source.name, source.title, how, source.terms.splitlines()[0])
    make_console().print(table)


@app.command("fetch")
def fetch_log(
    name: Annotated[str, typer.Argument(help="A name from `scalrec data list`.")],
    source_url: Annotated[
        str | None, typer.Option(help="Address or file to take it from instead of the public one.")
    ] = None,
    sha256: Annotated[str | None, typer.Option(help="Hash the file must have.")] = None,
    assignments: SetOption = None,
) -> None:
    """Download a known log into the user cache; verified, resumable, never half-written."""
    console = make_console()
    settings = settings_from(assignments=assignments)
    path = fetch(
        name, settings.cache, ConsoleProgress(console), source_url=source_url, sha256=sha256
    )
    console.print(marked("[green]✓[/] {} is at {}", name, path), soft_wrap=True)
    for source in known_logs():
        if source.name == name:
            console.print(marked("[dim]Terms:[/] {}", source.terms), highlight=False)


@app.command("show")
def show(
    log: LogOption = None,
    columns: ColumnsOption = None,
    items: ItemsOption = None,
    assignments: SetOption = None,
) -> None:
    """Load and validate a log; print its counts, time span, terms and what loading repaired."""
    console = make_console()
    settings = settings_from(log=log, columns=columns, items=items, assignments=assignments)
    loaded = load_log(settings.log, cache=settings.cache, progress=ConsoleProgress(console))
    print_log(console, loaded)
    split = split_of(loaded, settings.training)
    told = split_told(trained_after(loaded, split), settings.training.split)
    console.print(marked("[dim]{}[/]  {}", f"{'split':>40}", told), highlight=False)
    try:
        refuse_degenerate(loaded, split)
    except DataError as error:
        console.print(
            marked("[yellow]warning[/] it cannot be trained on: {}", error), highlight=False
        )
