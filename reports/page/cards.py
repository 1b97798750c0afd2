"""The head of the report: the few figures and facts a reader looks for first."""

from __future__ import annotations

from dataclasses import dataclass

from reports import text
from reports.page.verdict import headline_rows
from reports.summary.latency import SCHEDULED
from reports.summary.model import Staleness, Summary, SystemSection
from shared.statistics import Estimate

_TABLES = {
    "none": "knows the vectors of items it met and of its snapshot",
    "float32": "holds the item table",
    "int8": "holds the item table as int8",
}
TITLES = {"S1": "stale embedding", "S2": "stale embedding and candidates"}


@dataclass(frozen=True)
class Card:
    """One figure, its interval, and what it means. ``tone``: good, bad or plain."""

    label: str
    value: str
    interval: str
    note: str
    tone: str = "plain"


@dataclass(frozen=True)
class CardGroup:
    """Figures that belong together."""

    title: str
    cards: tuple[Card, ...]


def card_groups(summary: Summary) -> list[CardGroup]:
    """Per setting what staleness cost and what was bought back; then latency and cloud calls."""
    groups = [
        CardGroup(f"{setting}: {TITLES.get(setting, setting)}", (_cost(row), _bought_back(row)))
        for setting, row in headline_rows(summary).items()
    ]
    if summary.system is not None:
        groups.append(CardGroup("The replay", _replay(summary.system)))
    return groups


def _cost(row: Staleness) -> Card:
    loss = row.loss
    return Card(
        label="Staleness",
        value=text.signed(None if loss.value is None else -loss.value),
        interval=_negated_interval(loss),
        note=f"NDCG@10, snapshot {row.gap} events old against fresh" + _certainty(loss),
        tone=_tone(-loss.sign),
    )


def _bought_back(row: Staleness) -> Card:
    gain, recovered = row.bought_back, row.recovered.value
    note = (
        "NDCG@10, calibrated against not"
        if recovered is None
        else f"NDCG@10, {text.percent(recovered)} of the loss"
    )
    return Card(
        label="Calibration",
        value=text.signed(gain.value),
        interval=text.interval(gain, with_sign=True),
        note=note + _certainty(gain),
        tone=_tone(gain.sign),
    )


def _replay(system: SystemSection) -> tuple[Card, Card]:
    cloud = system.cloud
    scheduled = next(row for row in system.latency if row.what == SCHEDULED)
    clock = "" if system.clock == "wall" else ", virtual clock"
    return (
        Card(
            label="Device p99",
            value=f"{text.milliseconds(scheduled.p99)} ms",
            interval=f"p50 {text.milliseconds(scheduled.p50)} ms",
            note=f"answer from its scheduled time{clock}",
        ),
        Card(
            label="Cloud calls saved",
            value=text.percent(cloud.saved) if cloud.saved is not None else "not known",
            interval=f"{cloud.calls:,} calls",
            note=f"for {cloud.requests:,} requests"
            if cloud.saved is not None
            else "the cloud did not answer as planned",
        ),
    )


def facts(summary: Summary) -> list[tuple[str, str]]:
    """What was run, as term and description."""
    run = summary.run
    profile = run.profile
    fallback = " (fallback)" if run.fell_back else ""
    reach = ["the cloud's candidates"]
    if profile.unite_history:
        reach.append("its own history")
    if profile.local_candidates:
        reach.append(f"{profile.local_candidates} items of its own table")
    listed = [(name.capitalize(), value) for name, value in run.log.items()]
    listed += [("Split", text.split_told(run.trained_after, run.split))]
    listed += [("Loading notes", "; ".join(run.log_notes))] if run.log_notes else []
    listed += [("Run notes", "; ".join(run.run_notes))] if run.run_notes else []
    listed += [
        ("Text model", f"{run.embedder.model}, {run.embedder.pooling} pooling, "
                       f"{run.embedder.dim} dimensions"),
        ("Served by", text.backend(run.embedder.backend) + fallback),
        ("Backbone", run.backbone),
        ("Device profile", f"{profile.name}: sees {profile.window} events, "
                           f"{_TABLES[profile.table]}, "
                           f"ranks {' and '.join(reach)}"),
        ("Repeat policy", run.repeat_policy),
    ]  # fmt: skip
    if run.device_figures is not None:
        listed.append(("One device", text.device_figures(run.device_figures)))
    if summary.system is not None:
        cloud = summary.system.cloud
        asked, got = (
            text.number(share, 3)
            for share in (cloud.refreshes_per_request, cloud.answered_per_request)
        )
        listed.append(
            (
                "Refresh policy",
                f"{summary.system.policy}; {asked} refreshes per request, {got} answered",
            )
        )
        if summary.system.ranking:
            listed.append(("Ranking in the replay", summary.system.ranking))
        listed.append(("Cloud work per 1,000 requests", text.cost(cloud.cost)))
        listed.append(("Cloud availability", summary.system.availability))
        listed.append(("Clock", summary.system.clock))
    return listed


def _certainty(estimate: Estimate) -> str:
    return "" if estimate.sign else "; not significant"


def _negated_interval(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    return f"[{text.signed(-estimate.high)}, {text.signed(-estimate.low)}]"


def _tone(sign: int) -> str:
    return {1: "good", -1: "bad"}.get(sign, "plain")
