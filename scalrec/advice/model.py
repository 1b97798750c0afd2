"""The schema of advice.json: every figure of an advice, each with interval and count."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from shared.profile import DeviceProfile
from shared.statistics import Estimate
from shared.strict import Strict

FORMAT = 2


class IntervalFigures(Strict):
    """Expected NDCG@10 of a device that refreshes every ``interval`` requests.

    Attributes:
        calls_per_1000: refreshes per 1,000 requests.
        weights: of the scored ages behind all figures here.
        uncalibrated: of snapshots cached as they are.
        gain: calibrated over the device without any cloud, which ranks by its own score (structure,
            counts and words); paired by request.
        uncalibrated_gain: the same of snapshots cached as they are.
        calibration: calibrated over cached as they are.
        over_opponent: calibrated over the best of ``Figures.opponents``; None if none was scored.
        late_gain: ``gain`` where refreshes arrive after the answers they were asked for; None
            where an age that this needs was not scored.
        local_gain: ``gain`` of the same device if it also re-retrieved from its own table; None
            where it does, or has none.
        gain_by_part: ``gain`` of returns and discoveries apart, where the setting tells them.
    """

    interval: int
    calls_per_1000: float
    weights: dict[int, float]
    calibrated: Estimate
    uncalibrated: Estimate
    gain: Estimate
    uncalibrated_gain: Estimate
    calibration: Estimate
    late_gain: Estimate | None = None
    local_gain: Estimate | None = None
    over_opponent: Estimate | None = None
    gain_by_part: dict[str, Estimate] = Field(default_factory=dict)


class Figures(Strict):
    """All that was estimated.

    Attributes:
        ages: of snapshots, in events, that were scored.
        alone: NDCG@10 of the device without any cloud, by its own score.
        fresh: a fresh snapshot, cached as it is, over that.
        opponents: NDCG@10 of what else the same device could do without any cloud: counters,
            structure alone and with counts, words alone, two structure models.
        opponent: the best of them, on these very steps; None if none was scored.
        fusion_weight: of the cloud's embedding, chosen on validation; None if not told.
    """

    ages: tuple[int, ...]
    users: int
    requests: int
    alone: Estimate
    fresh: Estimate
    opponents: dict[str, Estimate]
    opponent: str | None = None
    fusion_weight: float | None = None
    intervals: tuple[IntervalFigures, ...]


class Recommendation(Strict):
    """What to do.

    Attributes:
        interval: call the cloud every so many requests; None: do not call it.
        sentence: the same in words, with the figures.
        shortfall: where it is not to be called, by how much more NDCG@10 than now calls at every
            request would have to bring to pay, users differing as they do; else None.
        remarks: on calibration, and on what else would change the answer.
    """

    interval: int | None
    sentence: str
    shortfall: float | None = None
    remarks: tuple[str, ...] = ()


class Advice(Strict):
    """A whole advice.

    Attributes:
        log: description of the log (InteractionLog.describe).
        unknown: what the figures cannot say.
        settings: what decided the result.
        seconds: wall time.
    """

    format: int = FORMAT
    created: str
    log: dict[str, str]
    terms: str
    repeat_policy: str
    profile: DeviceProfile
    seed: int
    quick: bool
    verdict: Recommendation
    figures: Figures
    unknown: tuple[str, ...]
    settings: dict[str, Any]
    seconds: float
