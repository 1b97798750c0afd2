"""The README stays short, and no page of the repository links to what is not there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.pages import PAGES, ROOT, page_name

LINES, BYTES = 150, 9_000
# Made while the site is built, which holds the links to them (tests/e2e/test_site.py).
MADE = {
    ROOT / "docs/reference" / name
    for name in ("api.md", "commands.md", "records.md", "settings.md")
}
# The last are pages of the code host.
ELSEWHERE = ("http://", "https://", "mailto:", "../../actions/")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def test_the_readme_is_read_in_minutes() -> None:
    text = (ROOT / "README.md").read_bytes()
    assert len(text.splitlines()) <= LINES
    assert len(text) <= BYTES


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_links_lead_somewhere(page: Path) -> None:
    links = [link for link in _LINK.findall(page.read_text()) if not link.startswith(ELSEWHERE)]
    assert [link for link in links if not _leads_somewhere(page, link)] == []


def _leads_somewhere(page: Path, link: str) -> bool:
    target, _, anchor = link.partition("#")
    path = (page.parent / target).resolve() if target else page
    return path in MADE or (path.exists() and (not anchor or anchor in _anchors(path.read_text())))


def _anchors(text: str) -> set[str]:
    """What code hosts make of headings."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in _HEADING.findall(text)
    }
