"""Markdown outside its blocks of code."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

_FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)


def outside_fences(markdown: str, change: Callable[[str], str]) -> str:
    """``change`` applied to all but the blocks of code."""

    def parts() -> Iterator[str]:
        done = 0
        for fence in _FENCE.finditer(markdown):
            yield change(markdown[done : fence.start()])
            yield fence.group()
            done = fence.end()
        yield change(markdown[done:])

    return "".join(parts())
