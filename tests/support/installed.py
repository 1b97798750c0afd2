"""What distributions that are installed here require, and which modules they bring."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name as normal

ROOT = Path(__file__).parents[2]


def closure(names: Iterable[str]) -> set[str]:
    """Names of these distributions and of all they require here, extras left out."""
    todo, found = list(names), set[str]()
    while todo:
        name = normal(todo.pop())
        if name in found:
            continue
        found.add(name)
        for line in distribution(name).requires or ():
            wanted = Requirement(line)
            if wanted.marker is None or wanted.marker.evaluate({"extra": ""}):
                todo.append(wanted.name)
    return found


def declared(extra: str = "") -> dict[str, Requirement]:
    """What pyproject.toml asks for, by name: without extras, and with ``extra`` and those in it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found: dict[str, Requirement] = {}
    todo = [extra] if extra else []
    lines = list(project["dependencies"])
    while todo:
        lines += project["optional-dependencies"][todo.pop()]
        todo += [name for line in lines for name in _of_ours(line)]
        lines = [line for line in lines if not _of_ours(line)]
    for line in lines:
        wanted = Requirement(line)
        found[normal(wanted.name)] = wanted
    return found


def modules_of(names: Iterable[str]) -> set[str]:
    """Top-level modules that only these distributions bring."""
    wanted = {normal(name) for name in names}
    return {
        module
        for module, owners in packages_distributions().items()
        if {normal(owner) for owner in owners} <= wanted
    }


def _of_ours(line: str) -> set[str]:
    """Extras of scalrec itself that a line of requirements asks for."""
    wanted = Requirement(line)
    return wanted.extras if normal(wanted.name) == "scalrec" else set()
