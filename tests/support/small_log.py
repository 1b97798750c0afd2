"""A log of somebody's own: small, invented, in files as a user would bring them."""

from __future__ import annotations

from pathlib import Path

START = 1_600_000_000


def small_log(folder: Path) -> tuple[Path, Path]:
    """Write loans.csv and books.csv into ``folder``; returns both paths."""
    titles = [f"{a} {b}" for a in ("red", "blue", "old") for b in ("river", "mill", "cat", "road")]
    items = folder / "books.csv"
    rows = [f"b{i},{title},{'crime' if i % 2 else 'poetry'}" for i, title in enumerate(titles)]
    items.write_text("\n".join(["item_id,title,categories", *rows]) + "\n")
    events = [
        f"reader{u},b{(u + step * (1 + u % 3)) % len(titles)},{START + 3600 * (u + 9 * step)}"
        for u in range(45)
        for step in range(14)
    ]
    log = folder / "loans.csv"
    log.write_text("\n".join(["who,what,when", *events]) + "\n")
    return log, items
