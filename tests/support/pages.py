"""The pages that people read, but for those that commands write."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs" / "adr").glob("*.md")),
    *sorted((ROOT / "deploy").glob("*.md")),
)


def page_name(page: Path) -> str:
    """From the root of the checkout."""
    return str(page.relative_to(ROOT))
