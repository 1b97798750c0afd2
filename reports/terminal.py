"""The summary on a terminal: the few tables a person wants to see right after a run."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from loadtest.records.outcomes import in_words
from reports import text
from reports.marked import marked
from reports.names import CACHED
from reports.page import verdict
from reports.page.spoken import spoken
from reports.page.tables.table import full_name
from reports.summary.model import FullSection, PaperSection, RunScope, Summary, SystemSection
from shared.statistics import Estimate


def print_summary(summary: Summary, console: Console) -> None:
    """Print what was measured, one table per mode, and the result in a sentence each."""
    run = summary.run
    fallback = f", instead of {text.backend(run.requested_backend)}" if run.fell_back else ""
    console.print(
        f"{run.log.get('log', 'log')}: {run.embedder.model} served by "
        f"{text.backend(run.embedder.backend)}{fallback}; {run.profile.name} device",
        style="bold",
        highlight=False,
    )
    console.print(
        f"split {text.split_told(run.trained_after, run.split)}", style="dim", highlight=False
    )
    if summary.full is not None:
        console.print(_full(summary.full))
    if summary.paper is not None:
        console.print(_paper(summary.paper))
    if summary.system is not None:
        console.print(_system(summary.system))
        console.print(_operation(summary.system))
    if (said := spoken(summary)) is not None:
        console.print(marked("[bold]{}[/]", said), highlight=False)
    for sentence in verdict.sentences(summary):
        console.print(sentence, highlight=False)


def _full(full: FullSection) -> Table:
    table = _table("Whole catalogue at gap 0", full.scope)
    table.add_column("last steps")
    _figures(table, "NDCG@10", "95 %", "HR@10", "NDCG@10 returns", "discoveries")
    rows = {(r.scorer, r.part): r.metrics for r in full.scores if r.steps == "last steps"}
    for scorer in dict.fromkeys(scorer for scorer, _ in rows):
        everything = rows[scorer, "all"]
        table.add_row(
            full_name(scorer),
            *_score(everything["ndcg@10"]),
            text.score(everything["hr@10"].value),
            text.score(rows[scorer, "returns"]["ndcg@10"].value),
            text.score(rows[scorer, "discoveries"]["ndcg@10"].value),
        )
    return table


def _paper(paper: PaperSection) -> Table:
    table = _table("Controlled staleness, NDCG@10", paper.scope)
    table.add_column("setting")
    _figures(table, "gap", CACHED, "calibrated", "own score", "bought back", "recovered")
    scores = {
        (r.setting, r.gap, r.scorer): r.metrics["ndcg@10"] for r in paper.scores if r.part == "all"
    }
    stale = {(r.setting, r.gap): r for r in paper.staleness}
    for setting, gap in dict.fromkeys((setting, gap) for setting, gap, _ in scores):
        row = stale.get((setting, gap))
        table.add_row(
            setting,
            str(gap),
            *(
                text.score(scores[setting, gap, scorer].value)
                for scorer in ("uncalibrated", "calibrated", "structure")
            ),
            _difference(row.bought_back) if row else "",
            text.percent(row.recovered.value) if row else "",
        )
    return table


def _system(system: SystemSection) -> Table:
    said = [system.policy, f"cloud {system.availability}"]
    if system.collaborative:
        said.insert(1, f"ranking {system.ranking}")
    table = _table(f"The replay ({'; '.join(said)})", system.scope)
    table.add_column("NDCG@10")
    scores = {(r.by, r.group, r.scorer): r.metrics["ndcg@10"] for r in system.scores}
    third = "alone" if any(r.scorer == "alone" for r in system.scores) else "structure"
    own = "without any cloud" if third == "alone" else "own score"
    _figures(table, "requests", "answered", "95 %", CACHED, own, "decayed")
    for by, group in dict.fromkeys((r.by, r.group) for r in system.scores):
        label = f"{group} events old" if by == "delta" else group
        shown = [
            scores[by, group, scorer] for scorer in ("answered", "uncalibrated", third, "decayed")
        ]
        table.add_row(
            label,
            f"{shown[0].count:,}",
            *_score(shown[0]),
            *(text.score(e.value) for e in shown[1:]),
        )
    return table


def _operation(system: SystemSection) -> Table:
    table = Table(title="Latency and cloud use", box=box.SIMPLE_HEAD, title_justify="left")
    table.add_column("milliseconds")
    _figures(table, "count", "p50", "p90", "p95", "p99", "max")
    for row in system.latency:
        values = (row.p50, row.p90, row.p95, row.p99, row.max)
        table.add_row(row.what, f"{row.count:,}", *(text.milliseconds(v) for v in values))
    cloud = system.cloud
    table.caption = (
        f"{cloud.calls:,} cloud calls for {cloud.requests:,} requests "
        f"({text.saved(cloud.saved)}), "
        f"{text.number(cloud.refreshes_per_request, 3)} refreshes per request"
        f"{'' if system.budget is None else f' (budget {system.budget:g})'}, "
        f"{text.number(cloud.answered_per_request, 3)} answered, "
        f"{text.size(cloud.bytes_up)} up, "
        f"{text.size(cloud.bytes_down)} down, {cloud.refused:,} refused\n"
        f"refreshes ended: {in_words(cloud.outcomes)}\n"
        f"per 1,000 requests: {text.cost(cloud.cost)}"
    )
    table.caption_justify = "left"
    return table


def _table(title: str, scope: RunScope) -> Table:
    return Table(
        title=title,
        caption=text.scope(scope),
        box=box.SIMPLE_HEAD,
        title_justify="left",
        caption_justify="left",
    )


def _figures(table: Table, *names: str) -> None:
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)


def _score(estimate: Estimate) -> tuple[str, str]:
    return text.score(estimate.value), text.interval(estimate)


def _difference(estimate: Estimate) -> Text:
    return Text(text.difference(estimate), style={1: "green", -1: "red"}.get(estimate.sign, ""))
