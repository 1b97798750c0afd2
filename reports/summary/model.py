"""The schema of summary.json: every figure of a report, each with interval and count."""

from __future__ import annotations

from typing import Literal

from loadtest.records.latency import Latency
from loadtest.replay.run_info import RunInfo
from shared.statistics import Estimate
from shared.strict import Strict

Part = Literal["all", "returns", "discoveries"]
METRICS = ("ndcg@10", "hr@10", "ndcg@5", "hr@5")

Metrics = dict[str, Estimate]  # keyed by METRICS


class RunScope(Strict):
    """What one table is about. Tables of different modes are never joined."""

    mode: Literal["paper", "full", "system"]
    users: int
    requests: int
    steps_per_user: int  # most steps of any one user
    repeat_policy: str
    half_life: float  # of the decayed counter, in events
    candidates: int | None  # N of eq. 7; None where the whole catalogue is ranked
    draws: int  # of the bootstrap


class PaperScore(Strict):
    """One scorer at one setting and gap, ranking the cloud's candidates."""

    setting: str
    gap: int
    scorer: str
    part: Part
    metrics: Metrics


class PaperDifference(Strict):
    """minuend - subtrahend on the same requests."""

    setting: str
    gap: int
    minuend: str
    subtrahend: str
    part: Part
    metrics: Metrics


class Staleness(Strict):
    """What a snapshot ``gap`` events old costs, in NDCG@10 of the snapshot taken as it is.

    Attributes:
        loss: gap 0 minus this gap; positive when staleness costs.
        bought_back: calibrated minus uncalibrated (cached as it is) at this gap.
        recovered: bought_back / loss; no value unless the loss is above zero with its interval.
        over_structure: calibrated minus the own score over the same candidates at this gap.
        in_candidates: share of requests whose target is among the candidates.
        mean_delta: mean age of the snapshot in events (short histories cannot be ``gap`` old).
    """

    setting: str
    gap: int
    loss: Estimate
    bought_back: Estimate
    recovered: Estimate
    over_structure: Estimate
    in_candidates: Estimate
    mean_delta: float


class CueMeans(Strict):
    """Means over requests of what the device saw and did."""

    setting: str
    gap: int
    delta: float | None
    drift: float | None
    omega: float | None
    r: float | None
    alpha: float | None
    de_norm: float | None


class PaperSection(Strict):
    """Controlled staleness (SCaLRec section 5): ranks within the cloud's candidates."""

    scope: RunScope
    scores: tuple[PaperScore, ...]
    differences: tuple[PaperDifference, ...]
    staleness: tuple[Staleness, ...]
    cues: tuple[CueMeans, ...]


class FullScore(Strict):
    """One scorer over the whole catalogue at gap 0."""

    steps: Literal["last steps", "leave-one-out"]
    scorer: str
    part: Part
    metrics: Metrics


class FullDifference(Strict):
    steps: Literal["last steps", "leave-one-out"]
    minuend: str
    subtrahend: str
    metrics: Metrics


class FullSection(Strict):
    """Full ranking at gap 0, over the last steps and for leave-one-out."""

    scope: RunScope
    scores: tuple[FullScore, ...]
    differences: tuple[FullDifference, ...]


class SystemScore(Strict):
    """One scorer over one group of the replay's requests."""

    by: str  # "all", "part", "source", "cloud", "delta"
    group: str
    scorer: str
    metrics: Metrics


class SystemDifference(Strict):
    by: str
    group: str
    minuend: str
    subtrahend: str
    metrics: Metrics


class Moment(Strict):
    """One bin of replayed time: NDCG@10, snapshot age in seconds, refreshes by outcome."""

    start_s: float
    end_s: float
    requests: int
    answered: Estimate
    structure: Estimate
    decayed: Estimate
    from_snapshot: float | None  # share of requests
    age_p10: float | None
    age_p50: float | None
    age_p90: float | None
    refreshes: dict[str, int]
    alone: Estimate | None = None  # of a device without any cloud; None if not recorded


class Outage(Strict):
    start_s: float
    end_s: float


class LatencyCurve(Strict):
    """A distribution of latencies: ``share`` of them took at most ``ms`` milliseconds."""

    what: str
    share: tuple[float, ...]
    ms: tuple[float, ...]


class ManualChange(Strict):
    """What somebody changed by hand while the replay ran."""

    replay_s: float
    what: str
    value: str


class Cost(Strict):
    """What the cloud's work cost per 1,000 requests of devices; prices are settings (``cost``).

    Attributes:
        calls: abstracts embedded. tokens: of them.
        tokens_estimated: from the characters sent, because nobody said how many there are.
        money: in ``currency``.
    """

    currency: str
    calls: float
    tokens: float
    tokens_estimated: bool
    gpu_seconds: float
    money: float


class CloudUse(Strict):
    """What the cloud was asked for during the replay; the warm-up before it is counted apart.

    Attributes:
        refreshes: snapshots the policy asked for. calls: HTTP attempts behind them.
        saved: 1 - (calls + held_back) / requests, against one call per request: what the policy
            saved, which an open breaker adds nothing to. None where the run did not go as
            planned, or no refresh was answered.
        outcomes: refreshes by outcome (loadtest.records.outcomes). refused: those the cloud turned
            away (429).
        breaker_open_requests: share of requests made while the device's breaker was not closed.
        breaker_open_s: device seconds with the breaker not closed, sampled at requests.
        warm_up_calls: HTTP attempts before the first request, that gave devices a first snapshot.
        answered: refreshes that brought a snapshot.
        held_back: refreshes never sent, because the breaker was open or there was no token.
        first: refreshes that a device without any snapshot asked for.
    """

    requests: int
    refreshes: int
    calls: int
    saved: float | None
    bytes_up: int
    bytes_down: int
    outcomes: dict[str, int]
    refused: int
    breaker_open_requests: float
    breaker_open_s: float
    warm_up_calls: int
    answered: int = 0
    held_back: int = 0
    first: int = 0
    cost: Cost | None = None

    @property
    def answered_per_request(self) -> float | None:
        return self.answered / self.requests if self.requests else None

    @property
    def refreshes_per_request(self) -> float | None:
        """What a refresh policy's budget is held to; a call that is retried counts once."""
        return self.refreshes / self.requests if self.requests else None


class SystemSection(Strict):
    """The replay: candidates united with own history as the profile says, real refreshes.

    Attributes:
        budget: refreshes per request that the policy was held to; None if it has no such figure.
        ranking: how devices ranked, in words; "" in records that do not say.
        collaborative: whether by collaborative inference; nothing is then calibrated, and
            "uncalibrated" is the answer itself.
        cloud_up: share of the requests that found the cloud there.
        curves: latency of requests from schedule and from start.
        call_rate: HTTP requests to the cloud in every second of the replay; empty if the run kept
            no record of them (a scenario does).
        changes: made by hand; a run with any is a demonstration, not a measurement.
    """

    scope: RunScope
    duration_s: float
    policy: str
    availability: str
    clock: str
    sources: dict[str, int]
    scores: tuple[SystemScore, ...]
    differences: tuple[SystemDifference, ...]
    timeline: tuple[Moment, ...]
    outages: tuple[Outage, ...]
    latency: tuple[Latency, ...]
    cloud: CloudUse
    cloud_up: float | None = None
    curves: tuple[LatencyCurve, ...] = ()
    call_rate: tuple[float, ...] = ()
    changes: tuple[ManualChange, ...] = ()
    budget: float | None = None
    ranking: str = ""
    collaborative: bool = False


class Summary(Strict):
    """All of summary.json; a section is null if its records were not made."""

    format: Literal[1] = 1
    run: RunInfo
    paper: PaperSection | None
    full: FullSection | None
    system: SystemSection | None
