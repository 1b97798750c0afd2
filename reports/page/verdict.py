"""The result in plain sentences, true to the intervals: each says if a figure is significant."""

from __future__ import annotations

from reports.summary.model import Staleness, Summary
from reports.text import difference, measured, percent
from shared.statistics import Estimate

HEADLINE_GAP = 5  # of SCaLRec's overall table
SETTINGS = {"S1": "an embedding", "S2": "an embedding and candidates"}
_LEVEL = "show no significant difference"


def headline_rows(summary: Summary) -> dict[str, Staleness]:
    """The row of each setting that stands for the run: gap 5, else the smallest gap above 0."""
    if summary.paper is None:
        return {}
    rows: dict[str, Staleness] = {}
    for row in sorted(summary.paper.staleness, key=lambda r: (r.gap != HEADLINE_GAP, r.gap)):
        rows.setdefault(row.setting, row)
    return dict(sorted(rows.items()))


def sentences(summary: Summary) -> list[str]:
    """One sentence per setting, and one about the replay."""
    said = [_staleness(row) for row in headline_rows(summary).values()]
    if summary.system is not None:
        collaborative = summary.system.collaborative
        against, judge = ("structure", _fused) if collaborative else ("uncalibrated", _calibrated)
        said.extend(
            judge(row.metrics["ndcg@10"])
            for row in summary.system.differences
            if (row.by, row.subtrahend) == ("all", against)
        )
    return said


def _staleness(row: Staleness) -> str:
    stale = SETTINGS.get(row.setting, row.setting)
    return (
        f"With {stale} {row.gap} events old ({row.setting}), {_loss(row.loss)}; {_gain(row)}; "
        f"{_alone(row.over_structure)}."
    )


def _loss(loss: Estimate) -> str:
    if loss.sign == 0:
        return (
            f"staleness changed NDCG@10 by {difference(loss.negated())}, which is not significant"
        )
    if loss.sign < 0:
        return f"the stale answer scored higher than the fresh one, by {difference(loss.negated())}"
    return f"staleness cost {measured(loss)} of NDCG@10"


def _gain(row: Staleness) -> str:
    gain = row.bought_back
    if gain.sign == 0:
        return f"what calibration changed, {difference(gain)}, is not significant"
    if gain.sign < 0:
        return f"calibration made it worse, by {_unsigned(gain)}"
    share = row.recovered.value
    if share is None:
        return f"calibration added {measured(gain)}"
    return f"calibration bought back {measured(gain)}, {percent(share)} of the loss"


def _alone(over: Estimate) -> str:
    if over.sign == 0:
        return (
            "the calibrated answer's difference from the device's own channel alone is not "
            f"significant ({difference(over)})"
        )
    word = "above" if over.sign > 0 else "below"
    return f"the calibrated answer is {_unsigned(over)} {word} the device's own channel alone"


def _calibrated(gain: Estimate) -> str:
    level = f"calibrated and uncalibrated answers {_LEVEL}"
    return _replay(gain, level, "calibration", "")


def _fused(gain: Estimate) -> str:
    who, alone = "collaborative inference", "the device's own channel alone"
    return _replay(gain, f"{who} and {alone} {_LEVEL}", who, f" over {alone}")


def _replay(gain: Estimate, level: str, who: str, over: str) -> str:
    """Args: level: what is said where the gain is not significant."""
    if gain.sign == 0:
        return f"Over the whole replay, {level} ({difference(gain)})."
    word = "gained" if gain.sign > 0 else "lost"
    return f"Over the whole replay, {who} {word} {_unsigned(gain)} of NDCG@10{over}."


def _unsigned(estimate: Estimate) -> str:
    """Size of a significant figure, whichever way."""
    return measured(estimate if estimate.sign > 0 else estimate.negated())
