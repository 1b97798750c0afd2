"""The report's charts as Vega-Lite specifications."""

from loadtest.report.charts.calls import call_rate_chart
from loadtest.report.charts.degradation import degradation_chart
from loadtest.report.charts.frame import Chart, Spec
from loadtest.report.charts.gates import gate_charts
from loadtest.report.charts.latency import latency_cdf_chart, latency_chart
from loadtest.report.charts.paper import paper_charts
from loadtest.report.charts.replay import replay_charts
from loadtest.report.charts.stages import stage_chart

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
