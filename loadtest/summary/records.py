"""Reading a run's records, with a refusal that names file and column."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadtest.summary.model import Part
from shared.errors import DataError
from shared.metrics import hit_rate, ndcg

Float = NDArray[np.float64]
Mask = NDArray[np.bool_]


def read_records(path: Path, columns: tuple[str, ...]) -> pl.DataFrame | None:
    """The records of one kind, or None if the run made none; raises DataError if unusable."""
    if not path.exists():
        return None
    try:
        frame = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"not a readable record file: {error}", path) from error
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise DataError(f"columns are missing: {', '.join(missing)}", path)
    return frame


def numbers(frame: pl.DataFrame, column: str) -> Float:
    """A column as float64; null counts as NaN."""
    return frame[column].cast(pl.Float64).to_numpy().astype(np.float64)


def metric_values(ranks: Float) -> dict[str, Float]:
    """Per-request values [n] of every metric, by its name in the summary."""
    return {
        "ndcg@10": ndcg(ranks, 10),
        "hr@10": hit_rate(ranks, 10),
        "ndcg@5": ndcg(ranks, 5),
        "hr@5": hit_rate(ranks, 5),
    }


def parts(is_return: Mask) -> dict[Part, Mask]:
    """Masks of all requests, of returns and of discoveries."""
    return {"all": np.ones(len(is_return), bool), "returns": is_return, "discoveries": ~is_return}


def most_per_user(users: NDArray[np.generic]) -> int:
    """Most requests of any one user."""
    return int(np.unique(users, return_counts=True)[1].max(initial=0))


def finite_mean(values: Float) -> float | None:
    """Mean of the finite values, None if there are none."""
    values = values[np.isfinite(values)]
    return float(values.mean()) if values.size else None
