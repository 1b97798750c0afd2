"""What another program said, fit to be shown and kept."""

from __future__ import annotations

MOST_CHARS = 300


def as_said(text: object, most: int = MOST_CHARS) -> str:
    """One line of ``most`` characters at most, all of them printable.

    Another program's words may be endless, steer a terminal, or hold what is no character and so
    cannot be written down.
    """
    line = str(text)
    shown = "".join(c if c.isprintable() else " " for c in line[: most + 1])
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"
