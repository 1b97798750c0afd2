"""Another project's `shared` is told apart from scalrec's, before anything of it is run."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from scalrec.machine import overlaid_rooms
from scalrec.rooms import ROOMS, check_rooms
from tests.support.installed import ROOT


@pytest.mark.parametrize("file", ["shared/__init__.py", "shared.py", "experiments/notes.txt"])
def test_a_foreign_package_is_named_with_what_to_do(tmp_path: Path, file: str) -> None:
    foreign = tmp_path / file
    foreign.parent.mkdir(exist_ok=True)
    foreign.write_text("raise SystemExit('foreign code was run')")
    done = subprocess.run(
        [sys.executable, "-m", "scalrec", "--version"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": ""},
        capture_output=True,
        text=True,
    )
    place = tmp_path / file.split("/")[0]
    assert done.returncode == 1
    assert f"but Python finds {place} first" in done.stderr
    assert "PYTHONPATH" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_public_api_names_it_too(tmp_path: Path) -> None:
    (tmp_path / "shared.py").write_text("")
    done = subprocess.run(
        [sys.executable, "-c", "import scalrec; scalrec.Device"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert f"ImportError: scalrec needs its own package 'shared' from {ROOT}" in done.stderr


def test_ours_pass() -> None:
    check_rooms()
    with pytest.raises(ImportError, match="'no_such_room' is missing"):
        check_rooms(["no_such_room"])


def test_another_distribution_inside_ours_is_found() -> None:
    owners = {"shared": ["scalrec", "Some_Tools"], "launch": ["scalrec"], "other": ["x"]}
    [problem] = overlaid_rooms(owners)
    assert problem.startswith("some-tools has installed files into the package 'shared'")


def test_all_packages_of_the_wheel_are_looked_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    include = project["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {pattern.removesuffix("*") for pattern in include} == set(ROOMS)
