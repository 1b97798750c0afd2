"""What a person sees is what is in force, whatever brackets it holds."""

from __future__ import annotations

import ast
import io
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

import reports
import scalrec
from reports.marked import marked
from scalrec.console import (
    ConsoleProgress,
    StageTimes,
    make_console,
    print_log,
    print_settings,
    print_verdict,
)
from scalrec.settings import load_settings
from tests.support.logs import drifting_log

# Markup, pictures, and brackets and backslashes that pair with those of a template around them.
HOSTILE_WORDS = (
    *("[/red]", "[bold", "[bold]x", "[/]", "\\[/red]", "a\\", "a\\\\", "a\\\\\\", "[@click=x]y"),
    *(":100:", "{}", "{0}", "[link=http://h]"),
)
_MARKUP = re.compile(r"\[(/|/?(bold|dim|red|green|yellow)\b[^\]]*)\]")


def test_settings_with_brackets_are_printed_as_they_are() -> None:
    settings = load_settings(log={"path": "x.csv", "columns": "user=u[/],item=[bold]i,time=t"})
    console = Console(record=True, width=400)
    print_settings(console, settings)
    assert "columns=user=u[/],item=[bold]i,time=t" in console.export_text()


@pytest.mark.parametrize("words", HOSTILE_WORDS)
def test_words_from_outside_are_shown_as_they_are(
    words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    console = make_console()
    log = replace(drifting_log(users=3), name=words, notes=(words,), terms=words)
    print_log(console, log)
    print_verdict(console, [words], [words])
    console.print(f"plain {words}", ValueError(words))
    console.print(marked("[green]✓[/] {}[bold]{}[/]]", words, words))
    shown = capsys.readouterr().out
    assert shown.count(words) == 9
    assert f"✓ {words}{words}]" in shown


def test_what_could_steer_a_terminal_is_told_and_not_sent(
    capsys: pytest.CaptureFixture[str],
) -> None:
    make_console().print("a\x1b[2Jb\u202ec", marked("{}", "d\x1b]0;e\x07"))
    assert capsys.readouterr().out == "a\\x1b[2Jb\\u202ec d\\x1b]0;e\\x07\n"


def test_values_stand_in_the_style_of_their_place_and_secrets_are_stars() -> None:
    sink = io.StringIO()
    told = marked("[red]{}[/] {}", "a", "redis://u:secret@h/0")
    Console(file=sink, force_terminal=True, color_system="standard", width=80).print(told)
    assert "\x1b[31ma\x1b[0m" in sink.getvalue()
    assert "secret" not in told.plain


def test_only_templates_of_the_program_are_markup() -> None:
    """Elsewhere it would be printed as it stands, and beside a value from outside be broken by it.

    ``Text.from_markup`` and ``escape`` are ``marked``'s alone: brackets and backslashes of a value
    can pair with those around it in spite of them.
    """
    wrong = []
    for package in (scalrec, reports):
        for path in sorted(Path(package.__path__[0]).rglob("*.py")):
            tree = ast.parse(path.read_text())
            templates = {
                constant
                for call in ast.walk(tree)
                if isinstance(call, ast.Call) and ast.unparse(call.func) == "marked"
                for constant in ast.walk(call.args[0])
            }
            wrong += [
                f"{path}:{node.lineno}"
                for node in ast.walk(tree)
                if isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and node not in templates
                and _MARKUP.search(node.value)
                and not (node.value.count("\n") > 1 or path.name == "marked.py")
            ]
            wrong += [
                f"{path}:{call.lineno}: an f-string"
                for call in ast.walk(tree)
                if isinstance(call, ast.Call) and ast.unparse(call.func) == "marked"
                if isinstance(call.args[0], ast.JoinedStr)
            ]
    assert not wrong
    assert isinstance(marked("x"), Text)


def test_every_value_of_a_template_has_a_place_outside_its_tags() -> None:
    """``marked`` fails where one has none, which would be in the middle of a command."""
    wrong, seen = [], 0
    for package in (scalrec, reports):
        for path in sorted(Path(package.__path__[0]).rglob("*.py")):
            for call in ast.walk(ast.parse(path.read_text())):
                if not isinstance(call, ast.Call) or ast.unparse(call.func) != "marked":
                    continue
                first = call.args[0]
                templates = [first.body, first.orelse] if isinstance(first, ast.IfExp) else [first]
                for template in templates:
                    seen += 1
                    plain = Text.from_markup(ast.literal_eval(template), emoji=False).plain
                    if plain.count("{}") != len(call.args) - 1:
                        wrong.append(f"{path}:{call.lineno}")
    assert seen > 40
    assert not wrong


def test_long_work_in_a_log_tells_what_is_done_and_the_time_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = iter((0.0, 0.0, 30.0, 60.0, 60.0))
    monkeypatch.setattr("scalrec.console.time.monotonic", lambda: next(now))
    console = Console(file=io.StringIO(), width=100)
    with ConsoleProgress(console).task("embedding abstracts", 41_000) as task:
        task.advance(1_000)
        task.advance(9_000, "330 texts/s")
    told = str(console.file.getvalue())  # type: ignore[attr-defined]
    assert "embedding abstracts: 1000/41000, about 20 min left" in told
    assert "embedding abstracts: 10000/41000, about 3 min left 330 texts/s" in told


def test_the_total_of_a_run_is_what_passed_not_a_sum_of_stages() -> None:
    times = StageTimes(began=time.monotonic() - 15.0)
    times.add("environments", 5.0)
    times.add("backbone", 9.0)
    times.add("abstracts", 8.0)
    console = Console(record=True, width=100)
    times.print(console)
    assert re.search(r"total +15\.0", console.export_text())
