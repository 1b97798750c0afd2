"""Builds comparison.html: the replays of several runs side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reports.page.build import environment_of_page
from reports.page.charts.comparison import RUN_COLORS, comparison_charts
from reports.page.tables.comparison import answers_table, costs_table
from reports.summary.build import build_summary
from reports.summary.model import Summary, SystemSection
from shared.errors import ConfigError, DataError
from shared.files import write_whole

COMPARISON_FILE = "comparison.html"


def build_comparison(run_dirs: Sequence[Path], path: Path) -> Path:
    """Compare the replays in the given run folders; writes ``path`` and returns it.

    Raises:
        ConfigError: fewer than two runs, one of them twice, or more than can be told apart.
        DataError: a folder holds no run, no replay, or records that cannot be read.
    """
    if not 2 <= len(run_dirs) <= len(RUN_COLORS):
        raise ConfigError(f"compare 2 to {len(RUN_COLORS)} runs, not {len(run_dirs)}")
    names = [folder.resolve().name for folder in run_dirs]
    if len(set(names)) < len(names):
        raise ConfigError("a run is named twice, or two run folders have the same name")
    runs: dict[str, tuple[Summary, SystemSection]] = {}
    for name, folder in zip(names, run_dirs, strict=True):
        summary = build_summary(folder)
        if summary.system is None:
            raise DataError("holds no replay to compare", folder)
        runs[name] = summary, summary.system
    return write_whole(path, render_comparison(runs))


def render_comparison(runs: dict[str, tuple[Summary, SystemSection]]) -> str:
    """The page; the same summaries give the same bytes."""
    environment, assets = environment_of_page()
    systems = {name: system for name, (_, system) in runs.items()}
    return environment.get_template("comparison.html.j2").render(
        runs=runs,
        tables=[answers_table(systems), costs_table(systems)],
        charts=comparison_charts(systems),
        warnings=differences([summary for summary, _ in runs.values()]),
        **assets,
    )


def differences(summaries: Sequence[Summary]) -> list[str]:
    """What else differs between the runs, so that their figures are compared with care."""
    facts: dict[str, list[Any]] = {
        "log": [s.run.log for s in summaries],
        "model bundle": [s.run.bundle_id for s in summaries],
        "device profile": [s.run.profile.name for s in summaries],
        "seed": [s.run.settings.get("seed") for s in summaries],
        "text model's server": [s.run.embedder.backend for s in summaries],
        "clock": [s.system.clock for s in summaries if s.system is not None],
        "number of requests": [s.system.scope.requests for s in summaries if s.system is not None],
    }
    found = [
        f"The {what} differs."
        for what, values in facts.items()
        if values.count(values[0]) < len(values)
    ]
    if any(s.system is not None and s.system.changes for s in summaries):
        found.append("At least one run was changed by hand while it ran.")
    return found
