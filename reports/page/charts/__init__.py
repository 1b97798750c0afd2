"""The report's charts as Vega-Lite specifications."""

from reports.page.charts.calls import call_rate_chart
from reports.page.charts.degradation import degradation_chart
from reports.page.charts.frame import Chart, Spec
from reports.page.charts.gates import gate_charts
from reports.page.charts.latency import latency_cdf_chart, latency_chart
from reports.page.charts.paper import paper_charts
from reports.page.charts.replay import replay_charts
from reports.page.charts.stages import stage_chart

__all__ = [
    "Chart",
    "Spec",
    "call_rate_chart",
    "degradation_chart",
    "gate_charts",
    "latency_cdf_chart",
    "latency_chart",
    "paper_charts",
    "replay_charts",
    "stage_chart",
]
