"""Every `scalrec` command line that a page shows is one that the program would take."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from scalrec.cli import build_app
from tests.support.pages import PAGES, page_name

CODE = re.compile(r"```.*?\n(?P<block>.*?)```|`(?P<inline>[^`]+)`", re.DOTALL)
# Up to what is another command's, or a remark.
LINE = re.compile(r"(?:^|[$(&|]\s*|/)scalrec (?P<words>[^|#&;\n]*)", re.MULTILINE)


def command_lines(page: str) -> Iterator[list[str]]:
    """Words after ``scalrec`` of each command line in a page's code."""
    for code in CODE.finditer(page):
        block = code["block"]
        text = code["inline"].replace("\n", " ") if block is None else block.replace("\\\n", " ")
        for line in LINE.finditer(text):
            yield line["words"].split()


@cache
def program() -> Any:
    """The whole of it, built once."""
    return get_command(build_app())


def refused(words: list[str]) -> str | None:
    """What the program would not know in ``words``; None if nothing."""
    command = program()
    context = command.make_context("scalrec", [], resilient_parsing=True)
    while words and hasattr(command, "get_command"):
        if not re.fullmatch(r"[a-z][a-z-]*", words[0]):
            return None  # a placeholder, or an option of the program itself
        found = command.get_command(context, words[0])
        if found is None:
            return f"no command {words[0]}"
        command, words = found, words[1:]
        context = command.make_context(command.name, [], parent=context, resilient_parsing=True)
    known = {"--help"}.union(*(p.opts for p in command.get_params(context)))
    given = (word.partition("=")[0] for word in words if re.match(r"--[a-z]", word))
    unknown = [option for option in given if option not in known]
    return f"no option {unknown[0]}" if unknown else None


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_the_program_takes_what_a_page_shows(page: Path) -> None:
    lines = list(command_lines(page.read_text(encoding="utf-8")))
    wrong = {" ".join(words): why for words in lines if (why := refused(words)) is not None}
    assert not wrong


def test_what_the_program_does_not_know_is_found() -> None:
    page = (
        "Ask `scalrec fleet\n--proceses 2` or\n\n"
        "```sh\nscalrec train --log a \\\n  --sed 3  # --no\n"
        "scalrec bake | scalrec train --seed=1\n```\n"
    )
    found = [refused(words) for words in command_lines(page)]
    assert found == ["no option --proceses", "no option --sed", "no command bake", None]
