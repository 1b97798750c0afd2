"""The result in plain sentences, true to the intervals: each says if a figure is significant."""

from __future__ import annotations

from reports.names import ALONE
from reports.page.channels import carried, is_nothing
from reports.summary.model import Staleness, Summary, SystemSection
from reports.text import difference, joined, measured, percent
from shared.statistics import Estimate

HEADLINE_GAP = 5  # of SCaLRec's overall table
SETTINGS = {"S1": "an embedding", "S2": "an embedding and candidates"}
_AS_IT_IS = "the cached snapshot as it is"
_OWN = "the device's own score over the same candidates"


def headline_rows(summary: Summary) -> dict[str, Staleness]:
    """The row of each setting that stands for the run: gap 5, else the smallest gap above 0."""
    if summary.paper is None:
        return {}
    rows: dict[str, Staleness] = {}
    for row in sorted(summary.paper.staleness, key=lambda r: (r.gap != HEADLINE_GAP, r.gap)):
        rows.setdefault(row.setting, row)
    return dict(sorted(rows.items()))


def sentences(summary: Summary) -> list[str]:
    """One sentence per setting, one on the replay and one on the channels that carry its answers.

    The one on the replay says whether calibrated answers are better than the cached snapshot as it
    is, and than a device without any cloud.
    """
    said = [_staleness(row) for row in headline_rows(summary).values()]
    if summary.system is not None:
        said.append(_replay(summary.system))
    on_channels = carried(summary)
    return said if on_channels is None else [*said, on_channels]


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
            f"the calibrated answer's difference from {_OWN} is not significant "
            f"({difference(over)})"
        )
    word = "above" if over.sign > 0 else "below"
    return f"the calibrated answer is {_unsigned(over)} {word} {_OWN}"


def _replay(system: SystemSection) -> str:
    over = {
        row.subtrahend: row.metrics["ndcg@10"]
        for row in system.differences
        if (row.by, row.minuend) == ("all", "answered")
    }
    # Older records know the device's own score over the snapshot's candidates alone.
    opponents = {"alone": f"a {ALONE}"} if "alone" in over else {"structure": _OWN}
    who = "collaborative inference"
    if not system.collaborative:
        # Whoever switches calibration off for a replay compares answers that nobody corrected.
        who = "the answers" if "uncalibrated" in system.ranking else "calibrated answers"
        opponents = {"uncalibrated": _AS_IT_IS} | opponents
    placed = [_placed(over[name], whom) for name, whom in opponents.items()]
    return f"Over the whole replay, NDCG@10 of {who} {joined(placed)}."


def _placed(gain: Estimate, whom: str) -> str:
    if is_nothing(gain):
        return f"is exactly that of {whom}"
    if gain.sign == 0:
        return f"does not differ significantly from that of {whom} ({difference(gain)})"
    return f"lies {_unsigned(gain)} {'above' if gain.sign > 0 else 'below'} that of {whom}"


def _unsigned(estimate: Estimate) -> str:
    """Size of a significant figure, whichever way."""
    return measured(estimate if estimate.sign > 0 else estimate.negated())
