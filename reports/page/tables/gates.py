"""Tables of the gates, by device profile."""

from __future__ import annotations

from experiments.gates import DecidingFigure
from experiments.selection import read_key
from loadtest.replay.run_info import RunInfo
from reports import text
from reports.experiments.tables import place_words, scored_steps
from reports.page.judged import JudgedRecord
from reports.page.tables.table import Row, Table, TableCell, difference_cell
from shared.profile import PRESETS, DeviceProfile

STATUS = {"holds": "holds", "fails": "fails", "not applicable": "not asked"}
_SIGNS = {"holds": 1, "fails": -1, "not applicable": 0}
_PLACES = {
    "full": "whole catalogue",
    "S2_history": "S2 with the own history",
    "S2_local": "S2 with local re-retrieval",
}


def gate_table(judged: JudgedRecord, profile: str) -> Table:
    """Gates down, devices across; below each verdict the figure that decides it."""
    names = list(judged.verdicts)
    return Table(
        title="Which gates hold, by device",
        caption="Below each verdict the difference in NDCG@10 that decides it, nearest to failing "
        "or failing. A gate of several figures holds only if each does; all of them are in the "
        f"list below. {scope(judged)}",
        heads=("", "Gate"),
        columns=tuple(device_name(name, profile) for name in names),
        rows=tuple(
            Row(
                (gate, judged.title(gate)),
                tuple(_verdict_cell(judged, name, gate) for name in names),
            )
            for gate in judged.experiment.gates
        ),
        marked=names.index(profile) if profile in names else None,
    )


def payoff_table(judged: JudgedRecord, profile: str) -> Table:
    """Loss, what was bought back, its share, against structure; per device and setting."""
    return Table(
        title="What a stale snapshot costs and calibration buys back, by device, NDCG@10",
        caption="Loss: the snapshot taken as it is, at gap 0 minus at this gap. Bought back: "
        "calibrated minus cached as it is. Recovered: the share of what a device without words "
        "loses. Own score: over the same candidates. S1: the embedding is stale; S2: the "
        f"candidates too; device: what it really ranks. {scope(judged)}",
        heads=("Device", "Setting", "Gap"),
        columns=("Loss", "Bought back", "Recovered", "Calibrated − own score"),
        rows=tuple(
            Row(
                (device_name(name, profile), setting, str(gap)),
                _payoff(judged, name, setting, gap),
                group=name,
            )
            for name in judged.verdicts
            for setting, gap in judged.headline(name)
        ),
    )


def evidence_table(judged: JudgedRecord, profile: str) -> Table:
    """Every check of every gate that was asked, with the figure that decides it."""
    return Table(
        title="The figure that decides each check",
        caption="Of the figures a check looks at, the one nearest to failing it; where any one "
        "suffices, the best. A gate of no harm or no cost asks only that the interval does not "
        f"lie wholly below zero. {scope(judged)}",
        heads=("Device", "Gate", "Comparison"),
        columns=("Where", "Figure", "Relative", "Met"),
        rows=tuple(
            Row(
                (device_name(name, profile), gate, _comparison(judged, found)),
                (
                    TableCell(_where(found)),
                    _figure_cell(judged, found),
                    TableCell(_relative(found)),
                    TableCell("yes" if found.met else "no", sign=1 if found.met else -1),
                ),
                group=f"{name} {gate}",
            )
            for name, verdicts in judged.verdicts.items()
            for gate, verdict in verdicts.items()
            for found in verdict.evidence
        ),
    )


def device_table(judged: JudgedRecord, run: RunInfo) -> Table:
    """What each device may hold, and what one of this run's costs."""
    profiles = {name: PRESETS[name] for name in judged.verdicts if name in PRESETS}
    profiles[run.profile.name] = run.profile
    return Table(
        title="The devices and what one of this run’s costs",
        caption="Bytes, memory and time per request as measured in this run for its own profile; "
        "“scalrec profiles” measures bundles of the others.",
        heads=("Device",),
        columns=(
            "Sees, events", "Item table", "Ranks beside the cloud’s candidates", "Download",
            "Snapshot", "In memory", "Request p50", "p95",
        ),
        rows=tuple(
            Row(
                (device_name(name, run.profile.name),),
                (*_limits(profile), *_costs(run if name == run.profile.name else None)),
            )
            for name, profile in profiles.items()
        ),
    )  # fmt: skip


def decided_by(judged: JudgedRecord, profile: str, gate: str) -> str:
    """The figure that decides a gate, with the comparison it belongs to."""
    verdict = judged.verdicts[profile][gate]
    found = verdict.decisive
    if found is None:
        return verdict.reason
    return f"{_comparison(judged, found)}, {_where(found)}: {_figure(judged, found)}"


def scope(judged: JudgedRecord) -> str:
    """What the figures cover."""
    record = judged.record
    count = scored_steps(record.settings)
    steps = "" if count is None else f"last {count} steps of each user; "
    seeds = ", ".join(
        f"{name} {record.seeds(name)} of {record.planned}" for name in judged.verdicts
    )
    return (
        f"{steps.capitalize()}repeat policy {record.repeat_policy}; seeds: {seeds}; brackets: 95 % "
        f"intervals, bootstrap over users, {record.draws:,} draws."
    )


def device_name(name: str, profile: str) -> str:
    """The profile's name, the run's own marked."""
    return f"{name}, this run" if name == profile else name


def _payoff(judged: JudgedRecord, profile: str, setting: str, gap: int) -> tuple[TableCell, ...]:
    gained, recovered = (
        judged.named(profile, setting, gap, name) for name in ("calibration", "recovered")
    )
    return (
        difference_cell(judged.loss(profile, setting, gap), good=-1),
        difference_cell(gained),
        TableCell(text.percent(recovered.value), text.percent_interval(recovered)),
        difference_cell(judged.over_own(profile, setting, gap)),
    )


def _verdict_cell(judged: JudgedRecord, profile: str, gate: str) -> TableCell:
    verdict = judged.verdicts[profile][gate]
    found = verdict.decisive
    small = verdict.reason if found is None else _figure(judged, found)
    return TableCell(STATUS[verdict.status], small, _SIGNS[verdict.status])


def _figure(judged: JudgedRecord, found: DecidingFigure) -> str:
    cell = _figure_cell(judged, found)
    return f"{cell.text} {cell.interval}".strip()


def _figure_cell(judged: JudgedRecord, found: DecidingFigure) -> TableCell:
    figure = found.figure
    if read_key(found.key)["name"] in judged.experiment.ratios:
        return TableCell(text.percent(figure.value), text.percent_interval(figure))
    return TableCell(text.signed(figure.value), text.interval(figure, with_sign=True))


def _relative(found: DecidingFigure) -> str:
    if found.figure.relative is None:
        return text.NONE
    value = found.figure.relative[0]
    return f"{'+' if value > 0 else ''}{text.percent(value, 1)}"


def _where(found: DecidingFigure) -> str:
    at = read_key(found.key)
    return place_words(at | {"setting": _PLACES.get(at["setting"], at["setting"])})


def _comparison(judged: JudgedRecord, found: DecidingFigure) -> str:
    what = judged.experiment.label(read_key(found.key)["name"])
    return f"{what} ({found.figure.against})" if found.figure.against else what


def _limits(profile: DeviceProfile) -> tuple[TableCell, ...]:
    reach = ["own history"] if profile.unite_history else []
    if profile.local_candidates:
        reach.append(f"{profile.local_candidates} of its table")
    return (
        TableCell(str(profile.window)),
        TableCell(profile.table),
        TableCell(", ".join(reach) or text.NONE),
    )


def _costs(run: RunInfo | None) -> tuple[TableCell, ...]:
    found = None if run is None else run.device_figures
    if found is None:
        return tuple(TableCell(text.NONE) for _ in range(5))
    return (
        TableCell(text.kib(found.download_total)),
        TableCell(text.kib(found.snapshot)),
        TableCell(text.kib(found.model + found.state)),
        TableCell(f"{found.request_p50_us:,.0f}{text.NBSP}µs"),
        TableCell(f"{found.request_p95_us:,.0f}{text.NBSP}µs"),
    )
