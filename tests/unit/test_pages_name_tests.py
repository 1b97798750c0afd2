"""Pages that name a test beside a claim name one that is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "docs/faults.md", ROOT / "docs/threat-model.md"]


def claims_of(page: Path) -> list[tuple[str, str]]:
    """(file from the root, function) of each test that ``page`` names; "" for the whole file."""
    return re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", page.read_text())


def functions(path: Path) -> set[str]:
    """Names of all functions in a file."""
    nodes = ast.walk(ast.parse(path.read_text()))
    return {""} | {n.name for n in nodes if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_test_on_the_page_is_there(page: Path) -> None:
    named = claims_of(page)
    assert len(named) > 30
    known = {file: functions(ROOT / file) for file, _ in set(named) if (ROOT / file).exists()}
    assert [f"{file}::{name}" for file, name in named if name not in known.get(file, set())] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_on_the_page_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []
