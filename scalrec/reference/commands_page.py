"""The page of all commands, from the help that the program prints."""

from __future__ import annotations

import re

import typer
from typer.cli import get_docs_for_click

from scalrec.cli import build_app
from scalrec.reference.cells import cell, code, table
from scalrec.reference.fences import outside_fences

_HEAD = """\
# Commands

Settings that have no option of their own are given by `--set section.name=value`
([settings](settings.md)).

"""
# Lists of commands with their help cut short; the table says the same in whole sentences.
_LISTS = re.compile(r"\*\*Commands\*\*:\n\n(?:\* .*\n)+\n?")
_EVERYWHERE = re.compile(r"^\* `(?:-h, )?--help`: .*\n", re.MULTILINE)


def commands_page() -> str:
    """A table of the commands, then each with its arguments and options."""
    program = typer.main.get_command(build_app())
    context = typer.Context(program, info_name="scalrec")
    text = get_docs_for_click(obj=program, ctx=context, name="scalrec", title="scalrec")
    *_, commands = text.partition("\n## ")
    commands = _EVERYWHERE.sub("", _LISTS.sub("", f"## {commands}"))
    # Outside code, ``<`` shall open no tag.
    return _HEAD + _overview(commands) + "\n" + outside_fences(commands, _lines)


def _overview(commands: str) -> str:
    """Each command that does something, with the first sentence of its help."""
    rows = []
    for part in re.split(r"^#{2,3} ", commands, flags=re.MULTILINE)[1:]:
        title, _, rest = part.partition("\n")
        words = rest.strip().partition("\n\n")[0]
        name = title.strip("`")
        anchor = re.sub(r"[^a-z0-9-]", "", name.replace(" ", "-"))
        rows.append([f"[{code(name)}](#{anchor})", words])
    return table(["command", "what it does"], rows)


def _lines(text: str) -> str:
    """``text`` line by line, as cells are: one that ends inside a code span would be cut."""
    return "\n".join(
        line and line[: len(line) - len(line.lstrip())] + cell(line) for line in text.split("\n")
    )
