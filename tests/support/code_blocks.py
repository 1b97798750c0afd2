"""The Python on a page, run block by block as a reader would."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any


def run_page(page: Path) -> dict[str, Any]:
    """Run the page's Python blocks in order in one namespace, which is returned.

    A traceback names the page and its line.
    """
    text = page.read_text()
    names: dict[str, Any] = {"__name__": "page"}
    blocks = list(re.finditer(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    assert blocks, f"{page} has no Python"
    for block in blocks:
        above = text.count("\n", 0, block.start(1))
        exec(compile("\n" * above + block[1], str(page), "exec"), names)  # noqa: S102
    return names
