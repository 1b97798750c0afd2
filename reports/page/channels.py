"""Which of a device's three channels carry its answers, in a sentence, true to the intervals.

The channels: structure with the own counts, the device's own words, the cloud.
"""

from __future__ import annotations

from reports.names import ALONE
from reports.summary.model import FullSection, Summary, SystemSection
from reports.text import difference, joined, measured
from shared.statistics import Estimate

NO_WEIGHT = (
    "validation gives the cloud's embedding no weight on this log; its candidates are still used"
)
_STEPS = "last steps"


def carried(summary: Summary) -> str | None:
    """One sentence on the channels; None where the run measured none of them.

    What a channel adds is a paired difference: words over structure with counts and a fresh
    embedding over both, over the whole catalogue; else, in a replay, what the cached cloud adds to
    the device's own score.
    """
    weightless = summary.run.fusion_weight == 0.0
    if summary.full is not None:
        return _of_catalogue(summary.full, weightless)
    if summary.system is not None and not summary.system.collaborative:
        return _of_replay(summary.system, weightless)
    return None


def is_nothing(estimate: Estimate) -> bool:
    """Whether a difference is zero in every resample: both sides answered alike."""
    return estimate.value == estimate.low == estimate.high == 0.0


def _of_catalogue(full: FullSection, weightless: bool) -> str:
    scores = {s.scorer: s.metrics["ndcg@10"] for s in full.scores
              if (s.steps, s.part) == (_STEPS, "all")}  # fmt: skip
    gains = {(d.minuend, d.subtrahend): d.metrics["ndcg@10"] for d in full.differences
             if d.steps == _STEPS}  # fmt: skip
    told = "student" in scores
    base = scores["counts" if told else "structure"]
    carrying = [f"structure{' with counts' if told else ''} ({measured(base)})"]
    others: list[str] = []
    if told:
        _sort(gains["student", "counts"], "words", carrying, others, many=True)
    cloud = gains["fused", "student" if told else "structure"]
    if not weightless:
        _sort(cloud, "a fresh cloud", carrying, others)
    return _sentence(carrying, others, weightless, " over the whole catalogue")


def _of_replay(system: SystemSection, weightless: bool) -> str:
    found = {d.subtrahend: d.metrics["ndcg@10"] for d in system.differences
             if (d.by, d.minuend) == ("all", "answered")}  # fmt: skip
    carrying = ["the device's own score (structure, counts and words)"]
    others: list[str] = []
    cloud, what = found["structure"], "the cloud's embedding"
    if "alone" in found:
        cloud, what = found["alone"], f"the cloud over a {ALONE}"
    if not weightless:
        _sort(cloud, what, carrying, others)
    return _sentence(carrying, others, weightless, "")


def _sort(
    gain: Estimate, channel: str, carrying: list[str], others: list[str], *, many: bool = False
) -> None:
    """Say of a channel what it adds, where it belongs; ``many``: its name is a plural."""
    s = "" if many else "s"
    if gain.sign > 0:
        carrying.append(f"{channel} ({difference(gain)})")
    elif is_nothing(gain):
        others.append(f"{channel} add{s} nothing")
    elif gain.sign < 0:
        others.append(f"{channel} take{s} {measured(gain.negated())} away")
    else:
        others.append(f"{channel} add{s} {difference(gain)}, which is not significant")


def _sentence(carrying: list[str], others: list[str], weightless: bool, where: str) -> str:
    verb = "carries" if len(carrying) == 1 else "carry"
    parts = [f"{joined(carrying)} {verb} the answer{where}", *others]
    if weightless:
        parts.append(NO_WEIGHT)
    said = "; ".join(parts)
    return f"{said[0].upper()}{said[1:]}."
