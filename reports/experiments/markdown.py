"""Figures as text, and rows as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.record import Extra, Figure

NOTHING = "–"
_DIGITS = 4


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, ending with a line break."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def plain(figure: Figure | None, *, interval: bool) -> str:
    """``0.1234`` or ``0.1234 [0.12, 0.13]``; a dash without a value."""
    if figure is None or figure.value is None:
        return NOTHING
    text = _number(figure.value)
    if not interval or figure.low is None or figure.high is None:
        return text
    return f"{text} [{_number(figure.low)}, {_number(figure.high)}]"


def signed(figure: Figure | None, *, interval: bool = True) -> str:
    """A difference with sign and interval, "n.s." when that includes zero, and its share of b."""
    if figure is None or figure.value is None:
        return NOTHING
    text = _number(figure.value, sign=True)
    if interval and figure.low is not None and figure.high is not None:
        text += f" [{_number(figure.low, sign=True)}, {_number(figure.high, sign=True)}]"
    if figure.sign == 0:
        text += " n.s."
    if figure.relative is not None:
        text += f" ({percent(figure.relative[0], sign=True)})"
    return text if figure.against is None else f"{text} over {figure.against}"


def share(figure: Figure | None, *, interval: bool = True) -> str:
    """A ratio as ``.64 [.55, .73]``."""
    if figure is None or figure.value is None:
        return NOTHING
    text = f"{figure.value + 0.0:.2f}"
    if not interval or figure.low is None or figure.high is None:
        return text
    return f"{text} [{figure.low:.2f}, {figure.high:.2f}]"


def scalar(extra: Extra | None) -> str:
    """A mean over seeds, with its deviation if there are several."""
    if extra is None:
        return NOTHING
    text = f"{extra.mean:.4g}"
    return text if extra.spread is None else f"{text} ± {extra.spread:.2g}"


def percent(value: float, *, sign: bool = False) -> str:
    return f"{100 * value:{'+' if sign else ''}.1f} %"


def _number(value: float, *, sign: bool = False) -> str:
    # Rounded first, and + 0.0, because a tiny negative number would print as -0.0000.
    return f"{round(value, _DIGITS) + 0.0:{'+' if sign else ''}.{_DIGITS}f}"
