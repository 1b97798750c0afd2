"""`import scalrec`: cheap, complete and the same names for people and type checkers."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import scalrec
import scalrec.extending

ROOT = Path(__file__).parents[4]
HEAVY = ("torch", "polars", "fastapi", "pydantic", "numpy", "onnxruntime", "typer")


def test_importing_it_loads_nothing_heavy() -> None:
    code = (
        "import sys, scalrec, scalrec.extending\n"
        f"sys.exit(', '.join(name for name in {HEAVY} if name in sys.modules) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_device_needs_no_torch() -> None:
    code = "import sys, scalrec; scalrec.Device, scalrec.Cloud; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("module", [scalrec, scalrec.extending], ids=["scalrec", "extending"])
def test_each_public_name_is_there_and_typed(module: object) -> None:
    names = module.__all__  # type: ignore[attr-defined]
    assert names == sorted(names)
    assert set(names) <= set(dir(module))
    assert all(getattr(module, name).__doc__ for name in names)
    tree = ast.parse(Path(module.__file__).read_text())  # type: ignore[attr-defined]
    [typed] = [node for node in tree.body if isinstance(node, ast.If)]
    imports = [node for node in typed.body if isinstance(node, ast.ImportFrom)]
    told = {
        alias.asname or alias.name: (node.module, alias.name)
        for node in imports
        for alias in node.names
    }
    places = {name: tuple(place.split(":")) for name, place in module._PLACES.items()}  # type: ignore[attr-defined]
    assert told == places
    assert set(told) == set(names)


def test_another_name_is_refused_as_usual() -> None:
    with pytest.raises(AttributeError, match="module 'scalrec' has no attribute 'predict'"):
        scalrec.predict  # type: ignore[attr-defined]  # noqa: B018


def test_the_types_are_marked_as_such() -> None:
    assert (ROOT / "scalrec" / "py.typed").is_file()
