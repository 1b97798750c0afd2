"""Tables of frontiers: one row per profile and scorer."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.frontiers import AREA, AREA_GAIN, GAIN, NEEDED, at_level, key
from experiments.record import Figure, Record
from experiments.spec import Experiment, TableSpec
from reports.markdown import markdown, plain, share, signed
from reports.text import NONE


def frontier_table(experiment: Experiment, table: TableSpec, records: Sequence[Record]) -> str:
    """Area, gain at the baseline's calls, and calls needed for the baseline's quality.

    Empty where no record has the table's frontier.
    """
    name = str(table.frontier)
    frontier = experiment.frontiers[name]
    levels = frontier.levels
    head = ["log"] if table.together else []
    head += ["profile", "policy", "area", "area gained"]
    head += [f"NDCG@10 gained at {level:.0%}".replace("%", " %") for level in levels]
    head += [f"calls needed for {level:.0%}".replace("%", " %") for level in levels]
    rows = []
    for record in records:
        for profile in record.profiles:
            for variant in experiment.variants:
                scorers = table.names or _scorers(record, profile, variant, name)
                for scorer in scorers:
                    found = _figures(record, (profile, variant, name, scorer))
                    if AREA in found:
                        row = [record.log] if table.together else []
                        rows.append([*row, profile, scorer, *_cells(found, levels)])
    return markdown(head, rows) if rows else ""


def frontier_note(experiment: Experiment, table: TableSpec) -> str:
    """What the columns mean."""
    frontier = experiment.frontiers[str(table.frontier)]
    return (
        f"Against {frontier.baseline}, {frontier.label}. Area: mean NDCG@10 over a logarithmic "
        "axis of calls per request from 1 to 100 %. Gained: at as many realised calls as the "
        "baseline. Calls needed: for the NDCG@10 that the baseline has at that rate, as a share of "
        "the baseline's calls; below 1 saves calls, and where nothing reaches it a call at every "
        "request counts; a dash where the baseline's calls are not sure to buy anything."
    )


def _figures(record: Record, place: tuple[str, str, str, str]) -> dict[str, Figure]:
    start = key(*place, "")
    return {k.removeprefix(start): f for k, f in record.frontiers.items() if k.startswith(start)}


def _scorers(record: Record, profile: str, variant: str, frontier: str) -> list[str]:
    start = key(profile, variant, frontier, "", "").removesuffix("/").removesuffix("/") + "/"
    names = (
        k.removeprefix(start).partition("/")[0] for k in record.frontiers if k.startswith(start)
    )
    return list(dict.fromkeys(names))


def _cells(found: dict[str, Figure], levels: Sequence[float]) -> list[str]:
    gains = [signed(found.get(at_level(GAIN, level))) for level in levels]
    needed = [share(found.get(at_level(NEEDED, level))) or NONE for level in levels]
    area = plain(found[AREA], interval=True)
    return [area, signed(found.get(AREA_GAIN)), *gains, *needed]
