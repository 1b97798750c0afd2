"""One self-contained HTML page per run, every figure of it from summary.json."""

from loadtest.report.build import REPORT_FILE, build_report

__all__ = ["REPORT_FILE", "build_report"]
