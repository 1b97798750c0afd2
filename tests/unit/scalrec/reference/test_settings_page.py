"""The page of settings has each of them, with its variable, what may be set, and what it means."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, TypeAdapter

from scalrec.reference.cells import cell, kind, value_told
from scalrec.reference.settings_page import settings_page
from scalrec.setting_names import SettingNames, variable
from scalrec.settings import Settings

NAMES = SettingNames(Settings)
VALUES = [name for name in NAMES if not NAMES.is_section(name)]


@pytest.fixture(scope="module")
def rows() -> dict[str, list[str]]:
    """Cells of each setting's row, by its name."""
    lines = re.findall(r'^\| <span id="([\w.]+)">.*$', settings_page(), re.MULTILINE)
    text = settings_page().splitlines()
    found = {}
    for name in lines:
        (line,) = [row for row in text if row.startswith(f'| <span id="{name}">')]
        found[name] = line.strip("| ").split(" | ")
    return found


@pytest.mark.parametrize("name", VALUES)
def test_each_setting_is_described(name: str) -> None:
    words = NAMES.field(name).description
    assert words, f"give {name} a description where its room's settings.py has it"
    assert not words.endswith("."), f"{name}: a table's cell ends without a full stop"


def test_each_is_on_the_page_once_with_all_that_is_said_of_it(rows: dict[str, list[str]]) -> None:
    assert list(rows) == sorted(rows, key=list(rows).index)
    assert sorted(rows) == sorted(VALUES)
    for name, cells in rows.items():
        assert len(cells) == 4, cells
        assert variable(name) in cells[0]
        assert all(cells), name
        assert cells[3] == cell(NAMES.field(name).description or "")


@pytest.mark.parametrize(
    ("name", "value", "default"),
    [
        ("device.k", "integer, 1 or more", "`5`"),
        ("device.budget", "number above 0, at most 1", "`0.2`"),
        ("device.ranking", "`semantic` or `collaborative`", "`semantic`"),
        ("device.calibrate", "`true` or `false`", "`true`"),
        ("cloud.port", "integer, 0 to 65535", "`8080`"),
        ("cloud.auth_keys", "secret text", "unset"),
        ("cloud.snapshot_ttl_s", "number above 0", "`604800`"),
        ("training.split_at", "number above 0, below 1 or date", "`0.8`"),
        ("paper.gaps", "list: each integer", "`[0, 5, 10, 20]`"),
        # Of the profile that is the default, not of a table that says nothing.
        ("profile.local_candidates", "integer, 0 or more", "`100`"),
        # In a section that is unset itself.
        ("embedder.lora.rank", "integer, 1 to 256", "`8`"),
        # Made where the program runs: nothing of the machine that built the page.
        ("cache", "path", "unset"),
    ],
)
def test_value_and_default(rows: dict[str, list[str]], name: str, value: str, default: str) -> None:
    assert rows[name][1:3] == [value, default]


def test_the_page_does_not_follow_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    before = settings_page()
    monkeypatch.setenv("SCALREC_DEVICE__K", "77")
    monkeypatch.setenv("SCALREC_CACHE", "/elsewhere")
    assert settings_page() == before


def test_sections_say_what_they_are() -> None:
    page = settings_page()
    sections = [name for name in NAMES if NAMES.is_section(name)]
    assert re.findall(r"^## `(.*)`$", page, re.MULTILINE) == sections
    assert "`embedder.lora` as a whole: tune the model to the log's training requests" in page


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (list[int], "list: each integer"),
        (date | None, "date"),
        (Annotated[str, Field(max_length=1000)], "text, at most 1,000 characters"),
        (Annotated[str, Field(pattern="^a+$")], "text, as `^a+$`"),
        (Literal["a", "b", "c"], "`a`, `b` or `c`"),
        (Annotated[int, Field(ge=1, le=9)] | bool, "integer, 1 to 9 or `true` or `false`"),
    ],
)
def test_kinds_in_words(annotation: Any, words: str) -> None:
    assert kind(TypeAdapter(annotation).json_schema()) == words


def test_another_schema_is_linked_to() -> None:
    assert kind({"$ref": "#/components/schemas/Problem"}) == "[Problem](#problem)"


def test_defaults_as_they_are_written() -> None:
    told = [value_told(value) for value in (None, True, 5e-4, ("a", "b"), "small", 3)]
    assert told == ["unset", "`true`", "`0.0005`", '`["a", "b"]`', "`small`", "`3`"]


def test_cells_stay_one_line_of_text() -> None:
    assert cell("<e_sem, v> |a| & `x <y>`\n  z") == "&lt;e_sem, v> &#124;a&#124; &amp; `x <y>` z"
