"""View: the page's figures, from the bins of a run."""

from __future__ import annotations

import math
from typing import Any

from loadtest.dashboard.bins import AGES, NO_SNAPSHOT, Bin
from loadtest.dashboard.hub import Run
from loadtest.dashboard.messages import Facts
from loadtest.records.outcomes import UNSTORED

Figures = dict[str, Any]
WINDOW_S = 10.0
REFUSED = "refused"
ANSWERED = ("fresh", UNSTORED, "stale")


class View:
    """Makes the page's figures of a run; remembers the rows of bins that did not change.

    Args:
        window_s: length of the sliding window that stands for "now", in replayed seconds.
    """

    def __init__(self, window_s: float = WINDOW_S) -> None:
        self._window_s = window_s
        self._run: Run | None = None
        self._rows: dict[int, Figures] = {}

    def __call__(self, run: Run, now: float) -> Figures:
        """Everything the page shows, as JSON values; None stands for "no figure"."""
        if run is not self._run:
            self._run, self._rows = run, {}
            run.changed.update(run.bins)
        facts, shards = run.facts, list(run.shards.values())
        for number in run.changed:
            self._rows[number] = _row(run.bins[number])
        run.changed.clear()
        replay_s = max((s.last.replay_s for s in shards), default=0.0)
        recent = Bin()
        first = int(max(0.0, replay_s - self._window_s) / facts.width_s)
        for number in range(first, int(replay_s / facts.width_s) + 1):
            if number in run.bins:
                recent.merge(run.bins[number])
        breakers: dict[str, int] = {}
        for shard in shards:
            for state, count in shard.last.breakers.items():
                breakers[state] = breakers.get(state, 0) + count
        return {
            "status": run.status,
            "facts": _facts(facts),
            "wish": {
                "cloud": run.wish.cloud,
                "k": facts.k if run.wish.k is None else run.wish.k,
                "calibrate": facts.calibrate if run.wish.calibrate is None else run.wish.calibrate,
            },
            "replay_s": replay_s,
            "processes": len(shards),
            "silent": run.silent(now),
            "devices": sum(s.last.devices for s in shards),
            "due": sum(s.last.due for s in shards),
            "answered": sum(s.last.answered for s in shards),
            "skipped": sum(s.last.skipped for s in shards),
            "cloud_up": sum(s.last.cloud_up for s in shards),
            "breakers": breakers,
            "window_s": self._window_s,
            "recent": _figures(recent),
            "total": _figures(run.total),
            "rows": self._series(run, replay_s),
        }

    def _series(self, run: Run, replay_s: float) -> list[Figures]:
        """One row per bin up to now; NDCG over the window that ends with the bin."""
        width = run.facts.width_s
        back = max(1, math.ceil(self._window_s / width))
        rows: list[Figures] = []
        up: float | None = None
        for number in range(int(replay_s / width) + 1):
            row = self._rows.get(number, _EMPTY)
            # A bin without a look at the cloud shows what the last look found.
            up = row["up"] if row["up"] is not None else None if up is None else round(up)
            behind = [run.bins[n] for n in range(max(0, number - back + 1), number + 1)
                      if n in run.bins]  # fmt: skip
            rows.append({"t": round(number * width, 3), **row, "up": up, **_scores(behind)})
        return rows


def _facts(facts: Facts) -> Figures:
    return {name: getattr(facts, name) for name in facts.__struct_fields__}


def _scores(bins: list[Bin]) -> Figures:
    """Mean NDCG@10 of three answers to the same requests.

    Where calibration was on for some, only those count; else there is no calibrated answer.
    """
    on = sum(b.corrected.requests for b in bins)
    parts = [b.corrected for b in bins] if on else [b.face_value for b in bins]
    requests = sum(p.requests for p in parts)
    if not requests:
        return {"scored": 0, "calibrated": None, "uncalibrated": None, "alone": None}
    return {
        "scored": requests,
        "calibrated": round(sum(p.calibrated for p in parts) / requests, 5) if on else None,
        "uncalibrated": round(sum(p.uncalibrated for p in parts) / requests, 5),
        "alone": round(sum(p.alone for p in parts) / requests, 5),
    }


def _row(one: Bin) -> Figures:
    seen = one.up + one.down
    p50, p99 = one.latency_ms.quantiles(0.5, 0.99)
    r50, r95 = one.refresh_ms.quantiles(0.5, 0.95)
    a50, a90 = one.age_s.quantiles(0.5, 0.9)
    return {
        "n": one.requests,
        "up": round(one.up / seen, 3) if seen else None,
        "p50": _short(p50),
        "p99": _short(p99),
        "r50": _short(r50),
        "r95": _short(r95),
        "age50": _short(a50),
        "age90": _short(a90),
        "refreshes": {name: count for name, count in one.refreshes.items() if count},
    }


def _figures(one: Bin) -> Figures:
    """Figures of a window, or of the whole run."""
    requests, refreshes = one.requests, sum(one.refreshes.values())
    answered = sum(one.refreshes.get(name, 0) for name in ANSWERED)
    names = ("p50", "p90", "p95", "p99")
    shares = (0.5, 0.9, 0.95, 0.99)

    def percentiles(values: list[float | None]) -> Figures:
        return dict(zip(names, map(_short, values), strict=True))

    return {
        "requests": requests,
        "from_snapshot": one.from_snapshot,
        **_scores([one]),
        "latency_ms": percentiles(one.latency_ms.quantiles(*shares)),
        "service_ms": percentiles(one.service_ms.quantiles(*shares)),
        "refresh_ms": percentiles(one.refresh_ms.quantiles(*shares)),
        "age_s": percentiles(one.age_s.quantiles(*shares)),
        "ages": {
            label: one.age_events.get(label, 0) for label in (NO_SNAPSHOT, *(a for a, _ in AGES))
        },
        "breakers": {name: count for name, count in one.breakers.items() if count},
        "refreshes": refreshes,
        "outcomes": {name: count for name, count in sorted(one.refreshes.items()) if count},
        "refused": one.refreshes.get(REFUSED, 0),
        "calls": one.calls,
        "held_back": one.held_back,
        # A cloud that has answered nobody has saved nobody anything.
        "saved": 1.0 - (one.calls + one.held_back) / requests
        if requests and (answered or not refreshes)
        else None,
        "per_request": refreshes / requests if requests else None,
        "answered_per_request": answered / requests if requests else None,
    }


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


_EMPTY = _row(Bin())
