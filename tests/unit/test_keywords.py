"""Dataclasses of five or more fields are filled by keyword, so that a reader sees what is what."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = (
    *("shared", "device_runtime", "cloud_service", "launch", "training", "loadtest"),
    *("experiments", "reports", "scalrec", "benchmarks"),
)
MANY = 5  # fields from which on a call must name them
BY_POSITION = 2  # values that may stand without a name

LARGE = """
@dataclass(frozen=True)
class Point:
    user: int
    step: int
    score: float
    weight: float = 1.0
    label: str = ""
"""


def trees(*folders: str, naming: set[str] | None = None) -> Iterator[tuple[str, ast.Module]]:
    """Files and their syntax; with ``naming`` only of those that call something so named."""
    calls = re.compile(rf"\b({'|'.join(naming)})\(" if naming else "")
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            source = path.read_text()
            if calls.search(source):
                yield str(path.relative_to(ROOT)), ast.parse(source)


@pytest.fixture(scope="module")
def product() -> list[tuple[str, ast.Module]]:
    return list(trees(*PRODUCT))


def name_of(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Call(func=func):
            return name_of(func)
    return ""


def large_dataclasses(tree: ast.Module) -> set[str]:
    return {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        and "dataclass" in map(name_of, node.decorator_list)
        and sum(isinstance(line, ast.AnnAssign) for line in node.body) >= MANY
    }


def by_position(tree: ast.Module, large: set[str]) -> list[int]:
    """Lines of calls that fill one of ``large`` by position."""
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and name_of(node.func) in large
        and (len(node.args) > BY_POSITION or any(isinstance(a, ast.Starred) for a in node.args))
    ]


@pytest.mark.parametrize(
    ("call", "lines"),
    [
        ("Point(1, 2, score=0.5)", []),
        ("Point(1, 2, 0.5)", [1]),
        ("module.Point(1, 2, 0.5)", [1]),
        ("Point(*values)", [1]),
        ("Other(1, 2, 3, 4, 5)", []),
    ],
)
def test_a_call_by_position_is_found(call: str, lines: list[int]) -> None:
    assert by_position(ast.parse(call), large_dataclasses(ast.parse(LARGE))) == lines


def test_large_dataclasses_are_filled_by_keyword(product: list[tuple[str, ast.Module]]) -> None:
    large = {name for _, tree in product for name in large_dataclasses(tree)}
    tests = trees("tests", naming=large)
    found = [
        f"{path}:{line}" for path, tree in [*product, *tests] for line in by_position(tree, large)
    ]
    assert not found, f"name the fields in {found}"


def test_a_class_has_a_name_of_its_own(product: list[tuple[str, ast.Module]]) -> None:
    places: dict[str, list[str]] = {}
    for path, tree in product:
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(path)
    twice = {name: where for name, where in places.items() if len(where) > 1}
    assert not twice, f"one name, one thing: {twice}"
