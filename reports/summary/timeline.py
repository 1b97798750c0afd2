"""The replay over its own time: quality, snapshot age and refreshes per bin, and outages."""

from __future__ import annotations

import numpy as np
import polars as pl

from loadtest.records.record_table import numbers
from reports.summary.model import Moment, Outage
from shared.metrics import Ranks, ndcg
from shared.statistics import Float, Resampler

MOST_BINS = 45
REQUESTS_PER_BIN = 40


def timeline(
    frame: pl.DataFrame,
    refreshes: pl.DataFrame,
    ranks: dict[str, Ranks],
    resampler: Resampler,
) -> tuple[Moment, ...]:
    """Equal bins of scheduled time, few enough to hold about REQUESTS_PER_BIN requests each.

    Args:
        ranks: of the frame's requests [n], by scorer.
        resampler: over the frame's users; gets the bins' quantities.
    """
    when = numbers(frame, "scheduled_s")
    n_bins = int(np.clip(len(when) // REQUESTS_PER_BIN, 1, MOST_BINS))
    edges = np.linspace(0.0, max(float(when.max()), 1e-9), n_bins + 1)
    place = _bin_of(when, edges)
    asked = _bin_of(numbers(refreshes, "started_s"), edges)
    outcomes = refreshes["outcome"].to_numpy()
    age = numbers(frame, "snapshot_age_s")
    snapshot = frame["source"].to_numpy() == "snapshot"
    shown = ("answered", "structure", "alone", "decayed")
    values = {name: ndcg(ranks[name], 10) for name in shown if name in ranks}
    handles = [
        {name: resampler.add(v, place == b) for name, v in values.items()} for b in range(n_bins)
    ]
    moments = []
    for b, columns in enumerate(handles):
        here = place == b
        p10, p50, p90 = _age_quantiles(age[here])
        names, counts = np.unique(outcomes[asked == b].astype(str), return_counts=True)
        moments.append(
            Moment(
                start_s=float(edges[b]),
                end_s=float(edges[b + 1]),
                requests=int(here.sum()),
                answered=resampler.mean(columns["answered"]),
                structure=resampler.mean(columns["structure"]),
                decayed=resampler.mean(columns["decayed"]),
                from_snapshot=float(snapshot[here].mean()) if here.any() else None,
                age_p10=p10,
                age_p50=p50,
                age_p90=p90,
                refreshes=dict(zip(names.tolist(), counts.tolist(), strict=True)),
                alone=resampler.mean(columns["alone"]) if "alone" in columns else None,
            )
        )
    return tuple(moments)


def outages(frame: pl.DataFrame) -> tuple[Outage, ...]:
    """Stretches of requests that found the cloud down, as the records show them."""
    when = numbers(frame, "scheduled_s")
    down = ~frame["cloud_up"].to_numpy().astype(bool)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], down, [False]]).astype(np.int8)))
    starts, stops = edges[::2], edges[1::2]
    return tuple(
        Outage(start_s=float(when[a]), end_s=float(when[min(b, len(when) - 1)]))
        for a, b in zip(starts, stops, strict=True)
    )


def call_rate(sent_s: Float, duration_s: float) -> tuple[float, ...]:
    """HTTP requests that left the devices, per second; one figure per second of the replay.

    Args:
        sent_s: [n] seconds of the replay; those of the warm-up, before 0, do not count.
    """
    edges = np.arange(np.ceil(max(duration_s, 1e-9)) + 1)
    return tuple(np.histogram(sent_s, edges)[0].astype(float).tolist())


def _bin_of(when: Float, edges: Float) -> np.ndarray:
    last = len(edges) - 2
    return np.clip(np.searchsorted(edges, when, side="right") - 1, 0, last)


def _age_quantiles(age: Float) -> tuple[float | None, float | None, float | None]:
    age = age[np.isfinite(age)]
    if age.size == 0:
        return None, None, None
    low, middle, high = np.quantile(age, [0.1, 0.5, 0.9])
    return float(low), float(middle), float(high)
