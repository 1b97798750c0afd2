"""What an installation lacks is told in one error that names the extra."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib

import pytest

from scalrec.cli import build_app
from scalrec.command_list import COMMANDS
from scalrec.extras import (
    COMMAND_EXTRAS,
    EXTRAS,
    extra_missing,
    extra_of,
    requirements,
)
from tests.support.installed import ROOT, declared

RUN = """
import sys
sys.modules[sys.argv[1]] = None  # importing it raises ModuleNotFoundError
from scalrec import cli, __main__
def work():
    import torch
if sys.argv[2] == "work":
    cli.build_app = lambda: work
sys.argv = ["scalrec", *sys.argv[2:]]
__main__.main()
"""


def told(missing: str, *arguments: str) -> str:
    """What the program says without the module ``missing``; it ends with exit code 2."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, missing, *arguments], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    return " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("missing", "command", "extra"),
    [("fastapi", "serve", "cloud"), ("polars", "data", "fleet"), ("work", "work", "train")],
)
def test_a_command_names_the_extra_that_it_needs(missing: str, command: str, extra: str) -> None:
    package = "torch" if missing == "work" else missing
    words = told(package, command)
    assert f"scalrec {command} needs the package {package}, which is not installed" in words
    assert f"pip install 'scalrec[{extra}]'" in words


@pytest.mark.parametrize(("name", "extra"), [("load_log", "fleet"), ("train", "train")])
def test_the_public_api_names_the_extra_that_it_needs(name: str, extra: str) -> None:
    program = f"import sys; sys.modules['polars'] = None; import scalrec; scalrec.{name}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"scalrec.extras.ExtraMissing: scalrec.{name} needs the package polars")
    assert f"'scalrec[{extra}]'" in last


def test_packages_are_found_in_the_smallest_extra_that_names_them() -> None:
    modules = (
        "fastapi",
        "jwt",
        "polars.io",
        "yaml",
        "vl_convert",
        "torch.nn",
        "scipy",
        "ray",
        "mlflow",
    )
    found = [extra_of(module) for module in modules]
    assert found == ["cloud", "cloud", "fleet", "fleet", "fleet", "train", "train", "ray", "mlflow"]
    assert extra_of("opentelemetry_sdk") == "otel"
    assert [extra_of(module) for module in ("numpy", "no_such_module", "", "scalrec")] == [None] * 4


def test_what_is_broken_or_ours_is_not_taken_for_missing() -> None:
    assert extra_missing(ImportError("undefined symbol", name="torch"), "x", "train") is None
    gone = ModuleNotFoundError("No module named 'shared.x'", name="shared.x")
    assert extra_missing(gone, "x", "train") is None
    assert (
        extra_missing(ModuleNotFoundError("No module named 'torch'", name="torch"), "x", None)
        is None
    )


def test_every_command_has_its_extra() -> None:
    assert COMMAND_EXTRAS.keys() == COMMANDS.keys()
    assert {extra for extra in COMMAND_EXTRAS.values() if extra} <= set(EXTRAS)
    assert build_app() is not None


def test_the_installed_metadata_says_what_the_project_does() -> None:
    found = requirements()
    assert set(found[""]) == set(declared())
    for extra in EXTRAS:
        assert set(found[extra]) <= set(declared(extra))
    assert "torch" in found["train"]
    assert requirements("no-such-distribution") == {}


def test_the_page_on_installing_lists_extras_and_commands() -> None:
    page = (ROOT / "docs/install.md").read_text()
    rows = {
        name.strip("`"): row
        for name, row in re.findall(r"^\| (`\w+`|\(none\)) \| (.*)$", page, re.MULTILINE)
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert rows.keys() == {"(none)", *project["optional-dependencies"]}
    for command, extra in COMMAND_EXTRAS.items():
        told = rows[extra or "(none)"].replace("scalrec ", "")
        assert f"`{command}`" in told, command
