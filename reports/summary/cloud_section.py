"""What a replay asked of the cloud, and what that cost."""

from __future__ import annotations

import numpy as np
import polars as pl

from loadtest.records.outcomes import ANSWERED, counted, outcome_name
from loadtest.records.record_table import numbers
from reports.summary.model import CloudUse, Cost
from shared.cost import CostSettings, call_cost
from shared.schemas import SnapshotRequest
from shared.statistics import Float, Mask


def cloud_use(
    frame: pl.DataFrame,
    refreshes: pl.DataFrame,
    warm_up: pl.DataFrame,
    *,
    prices: CostSettings,
    bundle_id: str,
    as_planned: bool,
) -> CloudUse:
    """What the cloud was asked for, against one call per request.

    Args:
        frame: all requests. refreshes: of the replay. warm_up: before it.
        bundle_id: named in every call's body, beside its abstract.
        as_planned: whether nothing went wrong with the run; else nothing is said to be saved.
    """
    attempts = numbers(refreshes, "attempts")
    calls, held_back = int(attempts.sum()), int(np.count_nonzero(attempts == 0))
    outcomes = refreshes["outcome"].to_list()
    answered = sum(outcomes.count(name) for name in ANSWERED)
    waiting = frame["breaker"].to_numpy() != "closed"
    return CloudUse(
        requests=frame.height,
        refreshes=refreshes.height,
        calls=calls,
        # A cloud that answered nobody has saved nobody anything.
        saved=1.0 - (calls + held_back) / frame.height
        if as_planned and (answered or not outcomes)
        else None,
        bytes_up=int(numbers(refreshes, "request_bytes").sum()),
        bytes_down=int(numbers(refreshes, "response_bytes").sum()),
        outcomes=counted(_names(refreshes)),
        refused=outcomes.count("refused"),
        breaker_open_requests=float(waiting.mean()),
        breaker_open_s=_breaker_seconds(frame, waiting),
        warm_up_calls=int(numbers(warm_up, "attempts").sum()),
        answered=answered,
        held_back=held_back,
        first=_first_snapshots(frame, refreshes),
        cost=_cost(frame, refreshes, prices, bundle_id),
    )


def _names(refreshes: pl.DataFrame) -> list[str]:
    """How each refresh ended; older records tell no reasons."""
    outcomes = refreshes["outcome"].to_list()
    if "reason" not in refreshes.columns:
        return outcomes
    return [outcome_name(*ended) for ended in zip(outcomes, refreshes["reason"], strict=True)]


def _cost(
    frame: pl.DataFrame, refreshes: pl.DataFrame, prices: CostSettings, bundle_id: str
) -> Cost:
    """Of the abstracts the cloud embedded: those whose refresh brought a fresh snapshot."""
    attempts = int(numbers(refreshes, "attempts").sum())
    characters = 0.0
    if attempts:
        body = SnapshotRequest(abstract="x", step=100, bundle_id=bundle_id).model_dump_json()
        size = float(numbers(refreshes, "request_bytes").sum()) / attempts
        characters = max(0.0, size - len(body) + 1)
    embedded = refreshes["outcome"].to_list().count("fresh")
    cost = call_cost(prices, requests=frame.height, calls=embedded, characters_per_call=characters)
    return Cost(
        currency=prices.currency,
        calls=cost.calls,
        tokens=cost.tokens,
        tokens_estimated=prices.tokens_per_abstract is None,
        gpu_seconds=cost.gpu_seconds,
        money=cost.money,
    )


def _first_snapshots(frame: pl.DataFrame, refreshes: pl.DataFrame) -> int:
    """Refreshes asked for after an answer without any snapshot."""
    without = frame.filter(pl.col("source") == "local").select("user", "step")
    if without.is_empty() or refreshes.is_empty():
        return 0
    return refreshes.join(without, on=["user", "step"], how="semi").height


def _breaker_seconds(frame: pl.DataFrame, waiting: Mask) -> float:
    """Time from each request with the breaker not closed to the same user's next request."""
    seconds: Float = numbers(frame, "scheduled_s")
    users = frame["user"].to_numpy()
    order = np.lexsort((seconds, users))
    gaps = np.diff(seconds[order])
    same_user = np.diff(users[order]) == 0
    return float(gaps[same_user & waiting[order][:-1]].sum())
