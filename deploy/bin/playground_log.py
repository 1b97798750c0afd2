"""An invented log for the playground: `playground_log.py FOLDER` writes loans.csv and books.csv.

Nobody's data: readers, books and loans are drawn at random, from a fixed seed, by what stands here.
Whoever has this file may pass the log on as they may this file. Each reader likes two shelves and
moves from the one to the other in time, so that a snapshot taken earlier grows wrong.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from random import Random

SEED = 11
READERS, LOANS, BOOKS_A_SHELF = 300, (24, 60), 24
START, HOUR = 1_700_000_000, 3600  # Unix seconds
SHELVES = ("crime", "poetry", "travel", "history", "cooking", "gardening", "science", "fairy tales")
FIRST = ("red", "blue", "old", "quiet", "last", "hidden")
SECOND = ("river", "mill", "orchard", "lantern")


def main() -> None:
    write_log(Path(sys.argv[1]))


def write_log(folder: Path) -> None:
    """Write both files; the same ones each time. ``folder`` is made if missing."""
    folder.mkdir(parents=True, exist_ok=True)
    random = Random(SEED)
    books = [
        (f"b{shelf * BOOKS_A_SHELF + n}", f"The {first} {second} of {name}", name)
        for shelf, name in enumerate(SHELVES)
        for n, (first, second) in enumerate((a, b) for a in FIRST for b in SECOND)
    ]
    _write(folder / "books.csv", ("item_id", "title", "categories"), books)
    loans = [loan for reader in range(READERS) for loan in _loans(reader, random)]
    _write(folder / "loans.csv", ("reader", "book", "when"), loans)


def _loans(reader: int, random: Random) -> list[tuple[str, str, str]]:
    """One reader's loans in order: from the first shelf to the second, popular books more often."""
    before, after = random.sample(range(len(SHELVES)), 2)
    count = random.randint(*LOANS)
    when, made, seen = START + random.randrange(24 * HOUR), [], set[int]()
    while len(made) < count and len(seen) < 2 * BOOKS_A_SHELF - 2:
        when += random.randrange(HOUR, 60 * HOUR)
        shelf = after if random.random() < len(made) / count else before
        rank = int(BOOKS_A_SHELF * random.random() ** 2)
        book = shelf * BOOKS_A_SHELF + rank
        if book in seen:
            book = shelf * BOOKS_A_SHELF + random.randrange(BOOKS_A_SHELF)
        if book not in seen:
            seen.add(book)
            made.append((f"reader{reader}", f"b{book}", str(when)))
    return made


def _write(path: Path, header: tuple[str, ...], rows: list[tuple[str, str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])


if __name__ == "__main__":
    main()
