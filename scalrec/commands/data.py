"""`scalrec data`: fetch, list and show datasets, which are interaction logs."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from reports.marked import as_shown, marked
from reports.text import split_told
from scalrec.console import ConsoleProgress, make_console, print_remarks
from scalrec.log_checks import LogCheck, log_checks
from scalrec.options import ColumnsOption, ItemsOption, LogOption, SetOption, settings_from
from shared.errors import DataError
from shared.interactions import InteractionLog
from shared.split import trained_after
from training.data.degenerate import refuse_degenerate
from training.data.figures import word_figures
from training.data.items import JOINED_ID
from training.data.registry import fetch, known_logs, load_log
from training.splitting import split_of

SAMPLE_CHARS = 200  # of an item's text
# Of a log's description what the checks do not say again.
_HEAD = ("log", "users", "items", "interactions", "time span", "sessions")

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
    """Load and check a log; print what to look at before a run on it is trusted."""
    console = make_console()
    settings = settings_from(log=log, columns=columns, items=items, assignments=assignments)
    loaded = load_log(settings.log, cache=settings.cache, progress=ConsoleProgress(console))
    split = split_of(loaded, settings.training)
    for label, value in loaded.describe().items():
        if label in _HEAD:
            console.print(marked("[dim]{}[/]  {}", f"{label:>12}", value), highlight=False)
    told = split_told(trained_after(loaded, split), settings.training.split)
    line = marked("[dim]{}[/]  {}", f"{'split':>12}", told)
    console.print(line, highlight=False, soft_wrap=True)
    console.print()
    _print_checks(console, log_checks(loaded, split))
    _print_samples(console, loaded)
    print_remarks(console, loaded)
    try:
        refuse_degenerate(loaded, split)
    except DataError as error:
        console.print(
            marked("[yellow]warning[/] it cannot be trained on: {}", error), highlight=False
        )


def _print_checks(console: Console, checks: list[LogCheck]) -> None:
    """A line each, and what to do under those that look wrong."""
    table = Table(box=None, show_header=False)
    for column in ("", "name", "found"):
        table.add_column(column, overflow="fold")
    for check in checks:
        mark = marked("[yellow]![/]" if check.advice else "[green]✓[/]")
        advice = (marked("\n[yellow]→ {}[/]", check.advice),) if check.advice else ()
        table.add_row(mark, check.name, Text.assemble(as_shown(check.found), *advice))
    console.print(marked("[bold]Before you trust a run[/]"))
    console.print(table)
    doubtful = sum(bool(check.advice) for check in checks)
    verdict = f"{doubtful} of {len(checks)} look doubtful" if doubtful else "nothing looks doubtful"
    console.print(marked("[dim]{}[/]", f"  {verdict}"))
    console.print()


def _print_samples(console: Console, log: InteractionLog) -> None:
    """What the text model reads of three items."""
    table = Table(box=None, show_header=False)
    table.add_column("item", style="dim", overflow="fold", max_width=24)
    table.add_column("text", overflow="fold")
    for item, text in word_figures(log).samples:
        shown = text if len(text) <= SAMPLE_CHARS else f"{text[:SAMPLE_CHARS]}..."
        table.add_row(Text(as_shown(item.replace(JOINED_ID, " + "))), Text(as_shown(shown)))
    console.print(
        marked(
            "[bold]What the text model reads[/] of the most frequent item, of one in the middle "
            "and of the rarest"
        )
    )
    console.print(table)
    console.print()
