"""What to do, from the figures: at which interval to call the cloud, if at all."""

from __future__ import annotations

from collections.abc import Mapping

from reports.text import difference, percent, score
from scalrec.advice.model import Figures, IntervalFigures, Recommendation
from shared.statistics import Estimate

NAMES = {
    "popularity": "popularity",
    "frequency": "personal frequency",
    "decayed": "decayed frequency",
    "frequency_all": "personal frequency over all history",
    "decayed_all": "decayed frequency over all history",
    "structure": "structure alone",
    "counts": "structure with counts",
    "words": "the device's words alone",
    "ensemble": "two structure models",
    "ensemble_counts": "two structure models with counts",
}
_NO_WEIGHT = (
    "Validation gives the cloud's embedding no weight on this log; its candidates are still used."
)
KEPT_SHARE = 0.5  # of the gain at every request that a longer interval must keep


def longest_paying(gains: Mapping[int, Estimate], kept: float = KEPT_SHARE) -> int | None:
    """The longest interval at which the cloud pays; None if it does at none.

    It pays where the gain's interval lies above zero and the gain is at least ``kept`` of that at
    the shortest interval, which must itself be above zero.

    Args:
        gains: over the device alone, by refresh interval in requests.
    """
    most = gains[min(gains)].value if gains else None
    if most is None or most <= 0:
        return None
    paying = [k for k, g in gains.items() if g.sign > 0 and (g.value or 0.0) >= kept * most]
    return max(paying, default=None)


def judge(figures: Figures) -> Recommendation:
    """The verdict with its figures, and remarks."""
    rows = {row.interval: row for row in figures.intervals}
    interval = longest_paying({k: row.gain for k, row in rows.items()})
    shortfall = None
    if interval is None:
        shortfall = _shortfall(rows[min(rows)].gain)
        sentence = _against(figures, rows[min(rows)], shortfall)
    else:
        sentence = _for(figures, rows[interval], rows[min(rows)])
    row = rows[min(rows) if interval is None else interval]
    remarks = (
        *([_NO_WEIGHT] if figures.fusion_weight == 0.0 else []),
        *_on_freshness(rows[min(rows)], interval),
        *_on_calibration(row),
        *_on_uncalibrated(rows, interval),
        *_on_lateness(row, interval),
        *_on_local(rows, interval),
        *_on_opponents(figures, row),
    )
    return Recommendation(
        interval=interval, sentence=sentence, shortfall=shortfall, remarks=remarks
    )


def requests(interval: int) -> str:
    """ "at every request", "every 5 requests"."""
    return "at every request" if interval == 1 else f"every {interval} requests"


def _for(figures: Figures, row: IntervalFigures, most: IntervalFigures) -> str:
    words = (
        f"Call the cloud {requests(row.interval)}: {difference(row.gain)} NDCG@10 over the "
        f"device without any cloud ({score(figures.alone.value)}), {row.calls_per_1000:,.0f} calls "
        "per 1,000 requests"
    )
    if row is most or not most.gain.value or row.gain.value is None:
        return f"{words}."
    share = percent(row.gain.value / most.gain.value)
    return f"{words}; that is {share} of what a call {requests(most.interval)} gains."


def _against(figures: Figures, row: IntervalFigures, shortfall: float | None) -> str:
    how = "answers become worse" if row.gain.sign < 0 else "that is not significant"
    said = (
        f"Do not call the cloud: even called {requests(row.interval)} it brings "
        f"{difference(row.gain)} NDCG@10 over the device without any cloud "
        f"({score(figures.alone.value)}); {how}"
    )
    if not shortfall:
        return f"{said}."
    return f"{said}. To pay, it would have to bring more than {score(shortfall)} on top of that."


def _shortfall(gain: Estimate) -> float | None:
    """What a gain lacks for its interval to lie above zero, if that stayed as wide; 0: nothing.

    A cloud that is better by more than this would have been found to pay.
    """
    return None if gain.low is None else max(0.0, -gain.low)


def _on_freshness(fresh: IntervalFigures, interval: int | None) -> list[str]:
    if interval is None or fresh.gain.sign > 0:
        return []
    return [
        f"Be careful: called {requests(fresh.interval)} the cloud's gain, "
        f"{difference(fresh.gain)}, is not significant. A gain found only with older "
        "snapshots may be the luck of several intervals tried; repeat with another --seed, or "
        "with more users."
    ]


def _on_calibration(row: IntervalFigures) -> list[str]:
    found = f"{difference(row.calibration)} NDCG@10 {requests(row.interval)}"
    if row.calibration.sign > 0:
        return [f"Calibration pays: {found} over the same snapshots cached as they are."]
    if row.calibration.sign < 0:
        return [f"Calibration harms here, switch it off (device.calibrate=false): {found}."]
    return [
        "Calibrated snapshots and the same cached as they are show no significant difference: "
        f"{found}."
    ]


def _on_uncalibrated(rows: Mapping[int, IntervalFigures], interval: int | None) -> list[str]:
    other = longest_paying({k: row.uncalibrated_gain for k, row in rows.items()})
    if other == interval:
        return []
    what = "would not pay" if other is None else f"would pay {requests(other)}"
    if other is not None:
        what += f" ({difference(rows[other].uncalibrated_gain)})"
    return [f"Without calibration the cloud {what}."]


def _on_lateness(row: IntervalFigures, interval: int | None) -> list[str]:
    if interval is None or row.late_gain is None:
        return []
    return [
        "If refreshes arrive only after the answers they were asked for, as they do on devices "
        f"that refresh in the background, the gain is {difference(row.late_gain)}."
    ]


def _on_local(rows: Mapping[int, IntervalFigures], interval: int | None) -> list[str]:
    gains = {k: row.local_gain for k, row in rows.items() if row.local_gain is not None}
    best = longest_paying(gains)
    if best is None or best == interval:
        return []
    return [
        "This device holds all items but ranks only the cloud's candidates and its own history "
        "while it has a snapshot. If it also re-retrieved from its table "
        f"(profile.local_candidates), the cloud would pay {requests(best)}: "
        f"{difference(gains[best])}."
    ]


def _on_opponents(figures: Figures, row: IntervalFigures) -> list[str]:
    """How the best that needs no cloud either does against the device's own score and the cloud."""
    name, own = figures.opponent, figures.alone.value
    if name is None or own is None:
        return []
    best = figures.opponents[name].value
    said = []
    if best is not None and best > own:
        said.append(
            f"Of what else the device could do without any cloud {NAMES[name]} "
            f"({score(best)}) does best, better than its own score ({score(own)})."
        )
    over = row.over_opponent
    if over is not None and over.sign <= 0:
        how = "worse than" if over.sign < 0 else "not significantly better than"
        said.append(
            f"Calibrated answers, the cloud called {requests(row.interval)}, are {how} "
            f"{NAMES[name]}, which needs no cloud: {difference(over)}."
        )
    return said
