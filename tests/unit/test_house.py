"""docs/house.md names files that are there, all rooms, and how many files a walk goes through."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/house.md").read_text()
PLACEHOLDER = "NAME"  # a file that somebody would add


def named(text: str) -> list[str]:
    """Paths from the root in ``text``, in order."""
    quoted = re.findall(r"`([\w./*-]+)`", text)
    return [name for name in quoted if "/" in name.rstrip("/") and PLACEHOLDER not in name]


def rooms() -> set[str]:
    """Top-level folders of the repository, without what git ignores."""
    ignored = [line.rstrip("/") for line in (ROOT / ".gitignore").read_text().splitlines()]
    return {
        path.name
        for path in ROOT.iterdir()
        if path.is_dir()
        and not path.name.startswith(".")
        and not any(fnmatch(path.name, pattern) for pattern in ignored)
    }


def test_every_path_on_the_page_is_there() -> None:
    paths = named(PAGE)
    assert len(paths) > 80
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_room_is_in_the_table_with_its_floors() -> None:
    rows = dict(re.findall(r"^\| `([a-z_]+)/` \| (.*)$", PAGE, re.MULTILINE))
    assert set(rows) == rooms()
    for room, row in rows.items():
        floors = re.findall(r"`([a-z_]+/|[a-z_]+\.py)`", row.partition(" |")[0])
        assert [floor for floor in floors if not (ROOT / room / floor).exists()] == []


def test_the_walks_are_as_long_as_they_say() -> None:
    walks = re.findall(r"^### ([^:\n]+): (\d+) files\n(.*?)(?=^##)", PAGE, re.MULTILINE | re.DOTALL)
    assert len(walks) == 4
    for title, said, text in walks:
        assert (title, len(set(named(text)))) == (title, int(said))
