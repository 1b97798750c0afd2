"""How soon `scalrec --help` answers, against the least that a program of typer's needs."""

from __future__ import annotations

from benchmarks.children import alternated
from benchmarks.timing import BenchmarkLine

ROUNDS = 5
BARE = """
import typer
app = typer.Typer()
app.callback()(lambda: None)
for name in ("one", "two"):
    app.command(name)(lambda: None)
app(["--help"])
"""


def compare_start() -> BenchmarkLine:
    """Wall time of whole processes."""
    ours, theirs, ratio = alternated(["-m", "scalrec", "--help"], ["-c", BARE], rounds=ROUNDS)
    return BenchmarkLine(
        name="scalrec --help / a bare program of typer's",
        ours=1e3 * ours.seconds,
        theirs=1e3 * theirs.seconds,
        unit="ms",
        ratio=ratio,
        meaning="lower; the aim is 500 ms",
    )
