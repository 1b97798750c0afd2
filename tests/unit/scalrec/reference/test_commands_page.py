"""The page of commands has each command and option that the program takes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from scalrec.cli import build_app
from scalrec.reference.commands_page import commands_page


def commands(group: Any, name: str = "scalrec") -> Iterator[tuple[str, Any]]:
    """Names as they are typed, with their commands; groups among them."""
    context = group.make_context(name, ["--help"], resilient_parsing=True)
    for inner in group.list_commands(context):
        command = group.get_command(context, inner)
        yield f"{name} {inner}", command
        if hasattr(command, "list_commands"):
            yield from commands(command, f"{name} {inner}")


@pytest.fixture(scope="module")
def page() -> str:
    return commands_page()


@pytest.fixture(scope="module")
def sections(page: str) -> dict[str, str]:
    """Text of each command, by its heading."""
    found = re.split(r"^#{2,3} `(.*)`$", page, flags=re.MULTILINE)[1:]
    return dict(zip(found[::2], found[1::2], strict=True))


def test_each_command_with_each_option(sections: dict[str, str]) -> None:
    known = dict(commands(typer.main.get_command(build_app())))
    assert sorted(sections) == sorted(known)
    for name, command in known.items():
        shown = [p for p in command.params if not getattr(p, "hidden", False)]
        options = [o for p in shown for o in p.opts if o.startswith("--")]
        missing = [o for o in options if o not in sections[name] and o != "--help"]
        assert (name, missing) == (name, [])
        assert (command.help or "").split("\n")[0].split("`")[0] in sections[name]


def test_the_table_leads_to_each_of_them_in_whole_sentences(page: str) -> None:
    table = page.partition("\n## ")[0]
    links = dict(re.findall(r"^\| \[`(.*)`\]\(#([a-z-]+)\) \|", table, re.MULTILINE))
    assert len(links) == len(dict(commands(typer.main.get_command(build_app()))))
    assert all(anchor == name.replace(" ", "-") for name, anchor in links.items())
    assert "..." not in table.replace("--columns ...", "")


def test_what_all_share_is_not_repeated(page: str) -> None:
    assert "Show this message and exit" not in page
    assert "**Commands**" not in page


def test_no_help_is_taken_for_html(page: str) -> None:
    prose = re.sub(r"^```.*?^```$|`[^`\n]*`", "", page, flags=re.MULTILINE | re.DOTALL)
    assert re.findall(r"<[a-z/!]", prose) == []
