"""Figures and tables as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.record import Extra, Figure
from reports import text
from reports.text import MARKDOWN, NONE
from shared.statistics import Estimate


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "") -> str:
    """A Markdown table, ending with a line break; its caption below it."""
    lines = [head, ["---"] * len(head), *rows]
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return f"{table}\n{caption}\n" if caption else table


def plain(estimate: Estimate | None, *, interval: bool = True, digits: int = 4) -> str:
    """``0.1234`` or ``0.1234 [0.12, 0.13]``; a dash without a value."""
    if estimate is None or not interval:
        return text.score(None if estimate is None else estimate.value, digits)
    return text.measured(estimate, digits, style=MARKDOWN)


def share(ratio: Estimate | None, *, interval: bool = True) -> str:
    """A ratio as ``0.64 [0.55, 0.73]``."""
    return plain(ratio, interval=interval, digits=2)


def signed(difference: Estimate | None, *, interval: bool = True) -> str:
    """A difference with sign and interval, "n.s." when that includes zero, and its share of b."""
    if difference is None or difference.value is None:
        return NONE
    said = text.signed(difference.value, style=MARKDOWN)
    if interval:
        said = text.difference(difference, style=MARKDOWN)
    said += "" if difference.sign else " n.s."
    if not isinstance(difference, Figure):
        return said
    if difference.relative is not None:
        said += f" ({text.percent(difference.relative[0], 1, sign=True, style=MARKDOWN)})"
    return said if difference.against is None else f"{said} over {difference.against}"


def scalar(extra: Extra | None) -> str:
    """A mean over seeds, with its deviation if there are several."""
    if extra is None:
        return NONE
    mean = f"{extra.mean:.4g}"
    return mean if extra.spread is None else f"{mean} ± {extra.spread:.2g}"
