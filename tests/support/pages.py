"""The pages of the repository."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("deploy/*.md")])


def page_name(page: Path) -> str:
    """From the root of the checkout."""
    return str(page.relative_to(ROOT))
