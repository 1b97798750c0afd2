"""`scalrec profiles`: the device profiles there are, and what one device of each costs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from loadtest.replay.profile_figures import ProfileFigures, measure_profile
from reports.marked import marked
from reports.text import NONE, kib
from scalrec.console import make_console
from scalrec.options import SetOption, WorkDirOption, settings_from
from shared.bundle import MANIFEST, load_bundle
from shared.profile import PRESETS, DeviceProfile

_TABLES = {"none": "none; vectors in snapshots", "float32": "float32", "int8": "int8"}


def profiles(
    bundles: Annotated[
        list[Path] | None,
        typer.Argument(help="Bundles to measure (default: all under work_dir)."),
    ] = None,
    work_dir: WorkDirOption = None,
    assignments: SetOption = None,
) -> None:
    """List the device profiles; measure bytes, memory and time per request of bundles.

    A profile is chosen with `--profile NAME` where a bundle is trained. One of your own is a table
    [profile] in scalrec.toml with the fields listed here (name, window, table, ...); without a name
    of its own it is the default one, small, with what the table changes.
    """
    settings = settings_from(work_dir=work_dir, assignments=assignments)
    console = make_console()
    _print_profiles(console, settings.profile)
    paths = bundles or [
        path.parent for path in sorted((settings.work_dir / "bundles").glob(f"*/{MANIFEST}"))
    ]
    if not paths:
        console.print(
            marked("[dim]No bundle to measure; `scalrec export --profile NAME` makes one.[/]")
        )
        return
    rows = []
    for path in paths:
        bundle = load_bundle(path)
        with console.status(marked("measuring {}", bundle.path.name)):
            rows.append((path.name, measure_profile(bundle)))
    _print_figures(console, rows)
    _print_parts(console, rows)


def _print_profiles(console: Console, chosen: DeviceProfile) -> None:
    table = Table(title="Device profiles", box=None, title_justify="left", header_style="bold")
    for heading in ("", "profile", "window", "item table", "own history", "re-retrieves", "keeps"):
        table.add_column(heading)
    listed = [*PRESETS.values(), *([] if chosen in PRESETS.values() else [chosen])]
    for profile in listed:
        table.add_row(
            marked("[green]→[/]" if profile == chosen else ""),
            profile.name,
            str(profile.window),
            _TABLES[profile.table],
            "united" if profile.unite_history else "no",
            str(profile.local_candidates or "–"),
            profile.retain,
        )
    console.print(table)


def _print_parts(console: Console, rows: list[tuple[str, ProfileFigures]]) -> None:
    """What each part is downloaded with, and takes of a request by itself."""
    table = Table(title="Its parts", box=None, title_justify="left", header_style="bold")
    table.add_column("bundle")
    table.add_column("part")
    for heading in ("download", "request p50"):
        table.add_column(heading, justify="right")
    for name, found in rows:
        for part in dict.fromkeys((*found.part_p50_us, *found.parts)):
            size, took = found.parts.get(part), found.part_p50_us.get(part)
            table.add_row(
                name,
                part,
                NONE if size is None else kib(size),
                NONE if took is None else f"{took:.0f} µs",
            )
    console.print(table)


def _print_figures(console: Console, rows: list[tuple[str, ProfileFigures]]) -> None:
    table = Table(
        title="One device, measured here", box=None, title_justify="left", header_style="bold"
    )
    table.add_column("bundle")
    table.add_column("profile")
    for heading in (
        "download", "snapshot", "item page", "models in memory", "own state", "request p50", "p95"
    ):  # fmt: skip
        table.add_column(heading, justify="right")
    for name, found in rows:
        table.add_row(
            name,
            found.profile,
            kib(found.download_total),
            kib(found.snapshot),
            f"{found.page} B" if found.page else "–",
            kib(found.model),
            kib(found.state),
            f"{found.request_p50_us:.0f} µs",
            f"{found.request_p95_us:.0f} µs",
        )
    console.print(table)
