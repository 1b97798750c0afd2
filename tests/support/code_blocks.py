"""The Python on a page, run block by block as a reader would."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class CodeBlock:
    """Python between fences; ``line`` is the first one's, from 1."""

    page: Path
    line: int
    code: str


def code_blocks(page: Path) -> list[CodeBlock]:
    """All Python on the page, in order."""
    text = page.read_text()
    found = re.finditer(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [CodeBlock(page, text.count("\n", 0, one.start(1)) + 1, one[1]) for one in found]


def run_blocks(blocks: Iterable[CodeBlock]) -> dict[str, Any]:
    """Run them in order in one namespace, which is returned; a traceback names page and line."""
    names: dict[str, Any] = {"__name__": "page"}
    for block in blocks:
        above = "\n" * (block.line - 1)
        exec(compile(above + block.code, str(block.page), "exec"), names)  # noqa: S102
    return names
