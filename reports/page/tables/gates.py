"""Tables of the gates, by device profile."""

from __future__ import annotations

from loadtest.run_info import RunInfo
from reports import text
from reports.page.gates import DeviceGates, Evidence, GateRecord, GateVerdict
from reports.page.tables.table import Cell, Row, Table, difference_cell
from shared.profile import PRESETS, DeviceProfile
from shared.statistics import Estimate

STATUS = {"holds": "holds", "fails": "fails", "not applicable": "not asked"}
_SIGNS = {"holds": 1, "fails": -1, "not applicable": 0}


def gate_table(record: GateRecord, profile: str) -> Table:
    """Gates down, devices across; below each verdict the figure that decides it."""
    first = record.devices[0].verdicts
    return Table(
        "Which gates hold, by device",
        "Below each verdict the difference in NDCG@10 that decides it, nearest to failing or "
        "failing. A gate of several figures holds only if each does; all of them are in the list "
        f"below. {scope(record)}",
        ("", "Gate"),
        tuple(device_name(device, profile) for device in record.devices),
        tuple(
            Row(
                (verdict.gate, verdict.title),
                tuple(_verdict_cell(device.verdicts[at]) for device in record.devices),
            )
            for at, verdict in enumerate(first)
        ),
        marked=_marked(record, profile),
    )


def payoff_table(record: GateRecord, profile: str) -> Table:
    """Loss, what was bought back, its share, against structure; per device and setting."""
    return Table(
        "What a stale snapshot costs and calibration buys back, by device, NDCG@10",
        "Loss: uncalibrated fusion at gap 0 minus at this gap. Bought back: calibrated minus "
        "uncalibrated. Recovered: their ratio, where the loss is above zero. S1: the embedding is "
        f"stale; S2: the candidates too. {scope(record)}",
        ("Device", "Setting", "Gap"),
        ("Loss", "Bought back", "Recovered", "Calibrated − structure"),
        tuple(
            Row(
                (device_name(device, profile), found.setting, str(found.gap)),
                (
                    difference_cell(found.loss, good=-1),
                    difference_cell(found.bought_back),
                    Cell(
                        text.percent(found.recovered.value), text.percent_interval(found.recovered)
                    ),
                    difference_cell(found.over_structure),
                ),
                group=device.profile,
            )
            for device in record.devices
            for found in device.headline
        ),
    )


def evidence_table(record: GateRecord, profile: str) -> Table:
    """Every check of every gate that was asked, with the figure that decides it."""
    return Table(
        "The figure that decides each check",
        "Of the figures a check looks at, the one nearest to failing it; where any one suffices, "
        "the best. A gate of no harm or no cost asks only that the interval does not lie wholly "
        f"below zero. {scope(record)}",
        ("Device", "Gate", "Comparison"),
        ("Where", "Figure", "Relative", "Met"),
        tuple(
            Row(
                (device_name(device, profile), verdict.gate, _comparison(found)),
                (
                    Cell(found.where),
                    _figure_cell(found),
                    Cell(_relative(found)),
                    Cell("yes" if found.met else "no", sign=1 if found.met else -1),
                ),
                group=f"{device.profile} {verdict.gate}",
            )
            for device in record.devices
            for verdict in device.verdicts
            for found in verdict.evidence
        ),
    )


def device_table(record: GateRecord, run: RunInfo) -> Table:
    """What each device may hold, and what one of this run's costs."""
    profiles = {d.profile: PRESETS[d.profile] for d in record.devices if d.profile in PRESETS}
    profiles[run.profile.name] = run.profile
    return Table(
        "The devices and what one of this run’s costs",
        "Bytes, memory and time per request as measured in this run for its own profile; "
        "“scalrec profiles” measures bundles of the others.",
        ("Device",),
        (
            "Sees, events", "Item table", "Ranks beside the cloud’s candidates", "Download",
            "Snapshot", "In memory", "Request p50", "p95",
        ),
        tuple(
            Row(
                (_named(name, run.profile.name),),
                (*_limits(profile), *_costs(run if name == run.profile.name else None)),
            )
            for name, profile in profiles.items()
        ),
    )  # fmt: skip


def decided_by(verdict: GateVerdict) -> str:
    """The figure that decides a gate, with the comparison it belongs to."""
    found = verdict.decisive
    return (
        verdict.reason
        if found is None
        else f"{_comparison(found)}, {found.where}: {_figure(found)}"
    )


def scope(record: GateRecord) -> str:
    """What the figures cover."""
    steps = "" if record.steps is None else f"last {record.steps} steps of each user; "
    seeds = ", ".join(f"{d.profile} {d.seeds} of {record.planned}" for d in record.devices)
    return (
        f"{steps.capitalize()}repeat policy {record.repeat_policy}; seeds: {seeds}; brackets: 95 % "
        f"intervals, bootstrap over users, {record.draws:,} draws."
    )


def device_name(device: DeviceGates, profile: str) -> str:
    """The profile's name, the run's own marked."""
    return _named(device.profile, profile)


def _named(name: str, profile: str) -> str:
    return f"{name}, this run" if name == profile else name


def _marked(record: GateRecord, profile: str) -> int | None:
    names = [device.profile for device in record.devices]
    return names.index(profile) if profile in names else None


def _verdict_cell(verdict: GateVerdict) -> Cell:
    found = verdict.decisive
    small = verdict.reason if found is None else _figure(found)
    return Cell(STATUS[verdict.status], small, _SIGNS[verdict.status])


def _figure(found: Evidence) -> str:
    cell = _figure_cell(found)
    return f"{cell.text} {cell.interval}".strip()


def _figure_cell(found: Evidence) -> Cell:
    estimate: Estimate = found.estimate
    if found.share:
        return Cell(text.percent(estimate.value), text.percent_interval(estimate))
    return Cell(text.signed(estimate.value), text.interval(estimate, with_sign=True))


def _relative(found: Evidence) -> str:
    if found.relative is None:
        return text.NONE
    sign = "+" if found.relative > 0 else ""
    return f"{sign}{text.percent(found.relative, 1)}"


def _comparison(found: Evidence) -> str:
    return f"{found.what} ({found.against})" if found.against else found.what


def _limits(profile: DeviceProfile) -> tuple[Cell, ...]:
    reach = ["own history"] if profile.unite_history else []
    if profile.local_candidates:
        reach.append(f"{profile.local_candidates} of its table")
    return (
        Cell(str(profile.window)),
        Cell(profile.table),
        Cell(", ".join(reach) or text.NONE),
    )


def _costs(run: RunInfo | None) -> tuple[Cell, ...]:
    found = None if run is None else run.device_figures
    if found is None:
        return tuple(Cell(text.NONE) for _ in range(5))
    return (
        Cell(text.kib(found.download_total)),
        Cell(text.kib(found.snapshot)),
        Cell(text.kib(found.model + found.state)),
        Cell(f"{found.request_p50_us:,.0f}{text.NBSP}µs"),
        Cell(f"{found.request_p95_us:,.0f}{text.NBSP}µs"),
    )
