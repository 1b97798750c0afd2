"""The commands there are, with their lines of help, known before any of them is imported.

Commands import what they run: polars, FastAPI, ONNX Runtime, charts. Whoever asks for help, or
mistypes a name, should not wait for that. A test holds the lines to the commands' own.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from scalrec.extras import COMMAND_EXTRAS, extra_missing
from scalrec.machine import cannot_start

# In the order of the list: module and name of what runs it (a Typer is a group), and its line.
COMMANDS = {
    "simulate": (
        "simulate:simulate",
        "Train, start Redis, vLLM and the cloud, replay a fleet, and write the report.",
    ),
    "data": ("data:app", "Fetch, list and show datasets (interaction logs)."),
    "advise": (
        "advise:advise",
        "Say whether a cached cloud pays for a log and a device, and how often to call it.",
    ),
    "train": (
        "train:train",
        "Train every stage that is not finished yet; interrupted runs continue where they were.",
    ),
    "export": (
        "export:export",
        "Write the bundle of the trained model (training first whatever is missing).",
    ),
    "serve": ("serve:serve", "Serve snapshots over HTTP until interrupted."),
    "fleet": (
        "fleet:fleet",
        "Replay a log as traffic of a fleet against `scalrec serve`, and report the replay.",
    ),
    "report": (
        "report:report",
        "Compute summary.json and report.html anew from the parquet records of a run.",
    ),
    "dashboard": (
        "dashboard:dashboard",
        "Serve one live view that the processes of a fleet report to, until interrupted.",
    ),
    "token": ("token:app", "Keys and tokens by which devices prove whose they are."),
    "tune-embedder": (
        "tune_embedder:tune_embedder",
        "Tune the text model with LoRA: an abstract comes to lie near the next item's text.",
    ),
    "profiles": (
        "profiles:profiles",
        "List the device profiles; measure bytes, memory and time per request of bundles.",
    ),
    "loadtest": (
        "loadtest:app",
        "Take the cloud away in a scripted way, and judge what devices made of it.",
    ),
    "robustness": (
        "robustness:robustness",
        "Run varied scenarios and hold every history against the model; exit code 1 if one fails.",
    ),
    "experiment": (
        "experiment:app",
        "Run the experiments, and make their tables and figures from the records.",
    ),
    "doctor": (
        "doctor:doctor",
        "Check environment, port, Redis, embedder and bundles; exit 1 if something is missing.",
    ),
}


class CommandList(TyperGroup):
    """The group of all commands, which imports only the one that is run or asked about."""

    def __init__(self, **options: Any):
        super().__init__(**options)
        self.commands = _Loaded()

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        with self._by_their_lines():
            super().format_help(ctx, formatter)

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        with self._by_their_lines():
            return super().shell_complete(ctx, incomplete)

    @contextmanager
    def _by_their_lines(self) -> Iterator[None]:
        """Commands stand for themselves by name and line, which is all that a list shows."""
        loaded = self.commands
        self.commands = {
            name: TyperCommand(name, help=line) for name, (_, line) in COMMANDS.items()
        }
        try:
            yield
        finally:
            self.commands = loaded


class _Loaded(MutableMapping[str, Any]):
    """Commands by name, imported when they are looked at."""

    def __init__(self) -> None:
        self._found: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._found:
            place, _ = COMMANDS[name]
            self._found[name] = _imported(name, place)
        return self._found[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._found[name] = command

    def __delitem__(self, name: str) -> None:
        del self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


def _imported(name: str, place: str) -> Any:
    module, _, attribute = place.partition(":")
    try:
        found = getattr(import_module(f"scalrec.commands.{module}"), attribute)
    except ImportError as error:
        if missing := extra_missing(error, f"scalrec {name}", COMMAND_EXTRAS[name]):
            raise missing from error
        raise SystemExit(cannot_start(error)) from error
    if isinstance(found, typer.Typer):
        command = typer.main.get_group(found)
        command.name = name
        return command
    alone = typer.Typer(add_completion=False)
    alone.command(name)(found)
    return typer.main.get_command(alone)
