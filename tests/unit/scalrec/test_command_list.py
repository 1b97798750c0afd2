"""Help is there at once: a list of commands imports none of them, and says what they say."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup
from typer.testing import CliRunner

from scalrec import cli, command_list
from scalrec.cli import build_app
from scalrec.command_list import COMMANDS

# What takes long to import, or what only some commands need. Typer itself needs pydantic.
HEAVY = (
    *("torch", "transformers", "onnxruntime", "onnx", "polars", "pyarrow", "numpy", "scipy"),
    *("fastapi", "uvicorn", "redis", "altair", "pydantic_settings", "jinja2"),
    *("httpx2", "opentelemetry", "prometheus_client", "huggingface_hub"),
)
PROBE = """
import json, sys
from typer.testing import CliRunner
from scalrec.cli import build_app
done = CliRunner().invoke(build_app(), sys.argv[1:])
loaded = {name.partition(".")[0] for name in sys.modules}
commands = sorted(name for name in sys.modules if name.startswith("scalrec.commands."))
print(json.dumps([done.exit_code, sorted(loaded), commands]))
"""
MODULES = sorted({place.partition(":")[0] for place, _ in COMMANDS.values()})


def probed(*arguments: str) -> tuple[int, set[str], list[str]]:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *arguments], capture_output=True, text=True, check=True
    )
    code, loaded, commands = json.loads(done.stdout)
    return code, set(loaded), commands


@pytest.mark.parametrize(
    ("arguments", "code"), [(["--help"], 0), ([], 2), (["simulat"], 2), (["--no-such"], 2)]
)
def test_a_list_of_commands_imports_none_of_them(arguments: list[str], code: int) -> None:
    found, loaded, commands = probed(*arguments)
    assert found == code
    assert commands == []
    assert not loaded & set(HEAVY)


def test_only_the_command_that_is_run_is_imported() -> None:
    code, loaded, commands = probed("token", "--help")
    assert code == 0
    assert commands == ["scalrec.commands.token"]
    assert not loaded & {"torch", "polars", "fastapi", "altair", "onnxruntime"}


def test_every_command_stands_in_the_list() -> None:
    folder = Path(command_list.__file__).with_name("commands")
    there = sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")
    assert there == MODULES


def group() -> TyperGroup:
    found = typer.main.get_command(build_app())
    assert isinstance(found, TyperGroup)
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_the_line_of_a_command_is_its_own(name: str) -> None:
    command = group().commands[name]
    assert command.name == name
    assert command.help is not None
    first, *_ = command.help.split("\n\n")
    assert COMMANDS[name][1] == " ".join(first.split())
    assert not command.hidden


def test_the_list_is_what_typer_shows_of_loaded_commands(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def told(listing: TyperGroup) -> str:
        listing.main(["--help"], prog_name="scalrec", standalone_mode=False)
        return capsys.readouterr().out

    ours = told(group())
    app = typer.Typer(
        help=cli.__doc__,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(cli._program)
    loaded = typer.main.get_command(app)
    assert isinstance(loaded, TyperGroup)
    loaded.commands = dict(group().commands)
    assert ours == told(loaded)
    assert all(f" {name} " in ours for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_is_that_of_an_app_that_holds_it(name: str) -> None:
    """As if each had been imported and added one by one."""
    module, _, attribute = COMMANDS[name][0].partition(":")
    found = getattr(import_module(f"scalrec.commands.{module}"), attribute)
    app = typer.Typer(name="scalrec", context_settings={"help_option_names": ["-h", "--help"]})
    app.callback()(lambda: None)
    if isinstance(found, typer.Typer):
        app.add_typer(found, name=name)
    else:
        app.command(name)(found)
    for option in ("--help", "-h"):
        ours = CliRunner().invoke(build_app(), [name, option], prog_name="scalrec")
        assert ours.exit_code == 0
        assert ours.output == CliRunner().invoke(app, [name, option], prog_name="scalrec").output


def test_a_mistyped_command_is_told_which_was_meant() -> None:
    result = CliRunner().invoke(build_app(), ["simulat"])
    assert result.exit_code == 2
    assert "Did you mean 'simulate'" in result.output


def test_a_command_that_cannot_be_imported_points_to_the_doctor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(COMMANDS, "token", ("no_such_module:token", "Nothing."))
    result = CliRunner().invoke(build_app(), ["token"])
    assert isinstance(result.exception, SystemExit)
    assert "scalrec doctor" in str(result.exception.code)
