"""The schema of advice.json: every figure of an advice, each with interval and count."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from shared.profile import DeviceProfile
from shared.statistics import Estimate
from shared.strict import Strict

FORMAT = 1
Setting = Literal["S2", "S2_history", "S2_local"]


class IntervalFigures(Strict):
    """Expected NDCG@10 of a device that refreshes every ``interval`` requests.

    Attributes:
        calls_per_1000: refreshes per 1,000 requests.
        weights: of the scored ages behind all figures here.
        gain: calibrated over the device alone, paired by request.
        uncalibrated_gain: uncalibrated over the device alone.
        calibration: calibrated over uncalibrated.
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
    gain_by_part: dict[str, Estimate] = Field(default_factory=dict)


class Figures(Strict):
    """All that was estimated.

    Attributes:
        setting: how the device ranks with a snapshot (see ``experiments.studies.scalrec.study``).
        ages: of snapshots, in events, that were scored.
        alone: NDCG@10 of the device without any cloud.
        counters: NDCG@10 of the baselines on the same device, without any cloud.
    """

    setting: Setting
    ages: tuple[int, ...]
    users: int
    requests: int
    alone: Estimate
    counters: dict[str, Estimate]
    intervals: tuple[IntervalFigures, ...]


class Recommendation(Strict):
    """What to do.

    Attributes:
        interval: call the cloud every so many requests; None: do not call it.
        sentence: the same in words, with the figures.
        remarks: on calibration, and on what else would change the answer.
    """

    interval: int | None
    sentence: str
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
