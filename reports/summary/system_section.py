"""Figures of system mode: the replay as its devices lived it."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from device_runtime.refresh.names import policy_text, ranking_text
from device_runtime.settings import BUDGETED, DeviceSettings
from loadtest.history.records import ATTEMPTS
from loadtest.records.outcomes import ANSWERED
from loadtest.records.rank_columns import read_ranks
from loadtest.records.record_table import numbers, read_records
from loadtest.records.recorder import REFRESHES, REQUESTS
from loadtest.replay.controls import read_interventions
from loadtest.replay.run_info import RunInfo
from loadtest.settings import ReplaySettings
from reports.summary.cloud_section import cloud_use
from reports.summary.latency import curves, latencies
from reports.summary.metrics import add_difference, add_metrics, parts, read_metrics, scope_of
from reports.summary.model import ManualChange, Outage, SystemDifference, SystemScore, SystemSection
from reports.summary.timeline import call_rate, outages, timeline
from shared.cost import CostSettings
from shared.paper_settings import PaperSettings
from shared.statistics import Mask, Resampler

# Names in the summary, and the column that holds the target's rank. ``structure`` is the device's
# own score over the same candidates, ``alone`` a device that holds no snapshot at all.
SCORERS = {
    "answered": "rank",
    "uncalibrated": "rank_uncalibrated",
    "structure": "rank_structure",
    "popularity": "rank_popularity",
    "frequency": "rank_frequency",
    "decayed": "rank_decayed",
}
ALONE = {"alone": "rank_alone"}  # not in records from before it was taken down
COMPARISONS = (
    ("answered", "uncalibrated"), ("answered", "structure"), ("answered", "alone"),
    ("answered", "decayed"),
)  # fmt: skip
# Age of the snapshot in events: label, first and last delta.
DELTA_BUCKETS = (("0", 0, 0), ("1-2", 1, 2), ("3-5", 3, 5), ("6-10", 6, 10), ("11+", 11, 2**31))
REQUEST_COLUMNS = (
    "user", "step", "is_return", "scheduled_s", "finished_s", "latency_scheduled_ms",
    "latency_service_ms", "source", *SCORERS.values(), "delta", "snapshot_age_s", "breaker",
    "cloud_up",
)  # fmt: skip
REFRESH_COLUMNS = (
    "user", "step", "started_s", "outcome", "attempts", "request_bytes", "response_bytes",
    "latency_ms",
)  # fmt: skip


def system_section(
    run_dir: Path,
    info: RunInfo,
    paper: PaperSettings,
    replay: ReplaySettings,
    device: DeviceSettings,
    prices: CostSettings,
) -> SystemSection | None:
    """All figures of requests.parquet and refreshes.parquet, or None without the former."""
    frame = read_records(run_dir / REQUESTS, REQUEST_COLUMNS)
    if frame is None or frame.is_empty():
        return None
    recorded = read_records(run_dir / REFRESHES, REFRESH_COLUMNS)
    if recorded is None:
        recorded = pl.DataFrame({name: [] for name in REFRESH_COLUMNS})
    before = pl.col("started_s").cast(pl.Float64) < 0
    warm_up, refreshes = recorded.filter(before), recorded.filter(~before)
    frame = frame.sort("scheduled_s", "user", "step")
    users = frame["user"].to_numpy()
    columns = SCORERS | {n: column for n, column in ALONE.items() if column in frame.columns}
    ranks = {name: read_ranks(frame, column) for name, column in columns.items()}
    pairs = [pair for pair in COMPARISONS if set(pair) <= set(ranks)]
    resampler = Resampler(users, draws=paper.bootstrap)
    groups = _groups(frame, refreshes)
    scores = [
        (by, group, scorer, add_metrics(resampler, ranks[scorer], mask))
        for (by, group), mask in groups.items()
        for scorer in ranks
    ]
    differences = [
        (by, group, pair, add_difference(resampler, ranks[pair[0]], ranks[pair[1]], mask))
        for (by, group), mask in groups.items()
        for pair in pairs
    ]
    moments = timeline(frame, refreshes, ranks, resampler)
    away = outages(frame)
    attempts = read_records(run_dir / ATTEMPTS, ("sent_s",))
    return SystemSection(
        scope=scope_of("system", users, info, paper),
        duration_s=float(numbers(frame, "finished_s").max()),
        policy=policy_text(device),
        budget=device.budget if device.policy in BUDGETED else None,
        ranking=ranking_text(device, info.collaboration),
        collaborative=device.ranking == "collaborative",
        availability=_availability(replay, away, as_planned=not info.run_failures),
        clock=replay.clock,
        sources={
            source: int((frame["source"] == source).sum())
            for source in sorted(frame["source"].unique().to_list())
        },
        scores=tuple(
            SystemScore(by=by, group=group, scorer=scorer, metrics=read_metrics(resampler, handles))
            for by, group, scorer, handles in scores
        ),
        differences=tuple(
            SystemDifference(
                by=by,
                group=group,
                minuend=minuend,
                subtrahend=subtrahend,
                metrics=read_metrics(resampler, handles),
            )
            for by, group, (minuend, subtrahend), handles in differences
        ),
        timeline=moments,
        outages=away,
        latency=latencies(frame, refreshes),
        cloud=cloud_use(
            frame,
            refreshes,
            warm_up,
            prices=prices,
            bundle_id=info.bundle_id,
            as_planned=not info.run_failures,
        ),
        cloud_up=float(frame["cloud_up"].to_numpy().astype(bool).mean()),
        curves=curves(frame),
        call_rate=()
        if attempts is None
        else call_rate(numbers(attempts, "sent_s"), moments[-1].end_s),
        changes=tuple(
            ManualChange(replay_s=change.replay_s, what=change.what, value=change.value)
            for change in read_interventions(run_dir)
        ),
    )


def _groups(frame: pl.DataFrame, refreshes: pl.DataFrame) -> dict[tuple[str, str], Mask]:
    """Masks of every group the replay is broken down by; empty groups are left out."""
    masks = parts(frame["is_return"].to_numpy().astype(bool))
    delta = frame["delta"].to_numpy()
    source = frame["source"].to_numpy()
    up = frame["cloud_up"].to_numpy().astype(bool)
    groups: dict[tuple[str, str], Mask] = {
        ("all", "all requests"): masks["all"],
        ("part", "returns"): masks["returns"],
        ("part", "discoveries"): masks["discoveries"],
        ("source", "with a snapshot"): source == "snapshot",
        ("source", "local only"): source == "local",
        ("cloud", _up(refreshes)): up,
        ("cloud", "cloud down"): ~up,
    }
    for label, first, last in DELTA_BUCKETS:
        groups["delta", label] = (delta >= first) & (delta <= last)
    return {key: mask for key, mask in groups.items() if mask.any()}


def _up(refreshes: pl.DataFrame) -> str:
    """What requests are called that came while nothing said that the cloud was away."""
    asked = len(refreshes) > 0
    silent = asked and not refreshes["outcome"].is_in(ANSWERED).any()
    return "cloud planned up, answered nobody" if silent else "cloud up"


def _availability(replay: ReplaySettings, away: tuple[Outage, ...], *, as_planned: bool) -> str:
    availability = replay.availability
    plan = "" if as_planned else "planned: "
    if availability.kind == "always" and away:
        # From a scenario's faults, from the live page's switch, or because it was found gone.
        seconds = sum(outage.end_s - outage.start_s for outage in away)
        times = "once" if len(away) == 1 else f"{len(away)} times"
        return f"there, but for {seconds:.0f} s ({times})"
    if availability.kind != "periodic":
        return plan + availability.kind
    return f"{plan}down {availability.outage_s:g} s at the end of every {availability.period_s:g} s"
