"""Builds report.html: summary in, one file out that needs no network and no other file."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib import resources
from pathlib import Path

import jinja2
import vl_convert

from reports import text
from reports.page import cards, verdict
from reports.page import gates as gate_words
from reports.page.charts.calls import call_rate_chart
from reports.page.charts.degradation import degradation_chart
from reports.page.charts.frame import Chart, Spec
from reports.page.charts.gates import gate_charts
from reports.page.charts.latency import latency_cdf_chart, latency_chart
from reports.page.charts.paper import paper_charts
from reports.page.charts.replay import replay_charts
from reports.page.charts.stages import stage_chart
from reports.page.judged import JudgedRecord, NoRecord
from reports.page.spoken import spoken
from reports.page.tables import full as full_tables
from reports.page.tables import gates as gate_tables
from reports.page.tables import paper as paper_tables
from reports.page.tables import system as system_tables
from reports.summary.build import write_summary
from reports.summary.model import Summary, SystemSection
from shared.files import write_whole

REPORT_FILE = "report.html"
FALLBACK_WIDTH = 720
_TABLES = {
    "paper": paper_tables, "gates": gate_tables, "system": system_tables, "full": full_tables,
}  # fmt: skip


def build_report(run_dir: Path, gates: JudgedRecord | NoRecord | None = None) -> Path:
    """Compute summary.json from the records and draw report.html beside it; returns its path.

    Args:
        gates: what is known of the log by device profile; None leaves that section out.

    Raises:
        DataError: the folder holds no run, or records that cannot be read.
    """
    summary = write_summary(run_dir)
    return write_whole(run_dir / REPORT_FILE, render(summary, gates))


def render(summary: Summary, gates: JudgedRecord | NoRecord | None = None) -> str:
    """The page; the same summary and gates give the same bytes."""
    environment, assets = environment_of_page()
    page = environment.get_template("report.html.j2")
    paper, full, system = summary.paper, summary.full, summary.system
    judged = gates if isinstance(gates, JudgedRecord) else None
    return page.render(
        summary=summary,
        run=summary.run,
        text=text,
        tables=_TABLES,
        card_groups=cards.card_groups(summary),
        spoken=spoken(summary),
        sentences=verdict.sentences(summary),
        facts=cards.facts(summary),
        paper_charts=paper_charts(paper, full) if paper else [],
        gates=judged,
        gates_missing=gates if isinstance(gates, NoRecord) else None,
        gate_words=gate_words,
        gate_charts=gate_charts(judged, summary.run.profile.name) if judged else [],
        replay_charts=_of_replay(system) if system else [],
        latency_charts=_drawn(latency_chart(system), latency_cdf_chart(system)) if system else [],
        stage_chart=stage_chart(summary.run) if summary.run.stages else None,
        **assets,
    )


def _of_replay(system: SystemSection) -> list[Chart]:
    return [*replay_charts(system), *_drawn(call_rate_chart(system), degradation_chart(system))]


def _drawn(*charts: Chart | None) -> list[Chart]:
    return [chart for chart in charts if chart is not None]


def environment_of_page() -> tuple[jinja2.Environment, dict[str, str]]:
    """Where templates come from, and the styles and scripts that every page carries inside."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("reports.page", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["spec"] = _embedded_json
    environment.filters["static_svg"] = _static_svg
    assets = {"style": _asset("report.css"), "script": _asset("charts.js"), "vega": _vega_script()}
    return environment, assets


def _asset(name: str) -> str:
    return (resources.files("reports.page") / "templates" / name).read_text(encoding="utf-8")


@cache  # bundling takes a second and depends on nothing but the installed version
def _vega_script() -> str:
    """vega-embed with everything it needs, as one script."""
    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return bundle.replace("</script", "<\\/script")


def _embedded_json(spec: Spec) -> str:
    """JSON that cannot end the script element it stands in."""
    data = json.dumps(spec, separators=(",", ":"), ensure_ascii=False)
    return data.replace("<", "\\u003c")


def _static_svg(chart: Chart) -> str:
    """The chart as SVG for readers without scripts."""
    svg = vl_convert.vegalite_to_svg({**chart.spec, "width": FALLBACK_WIDTH})
    # Clip paths are numbered per process: give them names that are stable and unique in the page.
    numbers: dict[str, str] = {}
    svg = re.sub(
        r"(?<=[\"#])clip\d+",
        lambda match: numbers.setdefault(match[0], f"{chart.id}-clip{len(numbers)}"),
        svg,
    )
    return svg
