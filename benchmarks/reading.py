"""`scalrec data show` on a long log, against what polars alone needs for such figures."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.children import alternated, memory_line
from benchmarks.scaling.invented import EVENTS, written_log
from benchmarks.timing import BenchmarkLine

ITEMS, ROUNDS = 20_000, 1
COLUMNS = "user=user,item=item,time=time"
# Reads the file and sorts it by user and time; counts users, items, repeats, and events by user and
# day. It checks no id and no time, and knows no items.
POLARS = """
import sys
import polars as pl
log = pl.read_csv(sys.argv[1]).sort("user", "time", maintain_order=True)
day = pl.col("time") // 86400
print(log.select(pl.col("user").n_unique(), pl.col("item").n_unique(), pl.col("time").min()))
print(log.group_by("user").len()["len"].median(), log.group_by(day).len()["len"].median())
print(log.select("user", "item").n_unique(), log.select("user", "item", "time").n_unique())
"""


def compare_reading(rows: int) -> list[BenchmarkLine]:
    """Wall time and peak memory of whole processes on an invented csv file of ``rows`` rows."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(written_log(Path(folder) / "log.csv", rows // EVENTS, ITEMS))
        show = ["-m", "scalrec", "data", "show", "--log", path, "--columns", COLUMNS]
        ours, theirs, ratio = alternated(show, ["-c", POLARS, path], rounds=ROUNDS)
    name = f"data show, {rows:,} rows / polars alone"
    return [
        BenchmarkLine(
            name=name,
            ours=ours.seconds,
            theirs=theirs.seconds,
            unit="s",
            ratio=ratio,
            meaning="lower",
        ),
        memory_line(f"{name}, memory", ours, theirs, "lower"),
    ]
