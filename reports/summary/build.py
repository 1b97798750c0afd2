"""summary.json: built from a run's records alone."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from device_runtime.settings import DeviceSettings
from loadtest.replay.run_info import RUN_FILE, read_run_info
from loadtest.settings import ReplaySettings
from reports.summary.full_section import full_section
from reports.summary.model import Summary
from reports.summary.paper_section import paper_section
from reports.summary.system_section import system_section
from shared.cost import CostSettings
from shared.errors import DataError
from shared.files import write_whole
from shared.paper_settings import PaperSettings

SUMMARY_FILE = "summary.json"


def build_summary(run_dir: Path) -> Summary:
    """Every figure of a run; the same records give the same summary.

    Raises:
        DataError: no run there, no records, or records that cannot be read or paired.
    """
    info = read_run_info(run_dir)
    try:
        # Section by section: reading all Settings would mix in this process's environment.
        paper = PaperSettings.model_validate(info.settings["paper"], extra="ignore")
        replay = ReplaySettings.model_validate(info.settings["replay"], extra="ignore")
        device = DeviceSettings.model_validate(info.settings["device"], extra="ignore")
        prices = CostSettings.model_validate(
            info.settings.get("cost", {}),
            extra="ignore",  # younger than runs
        )
    except (KeyError, ValidationError) as error:
        raise DataError(f"lacks the settings of the run: {error}", run_dir / RUN_FILE) from error
    summary = Summary(
        run=info,
        paper=paper_section(run_dir, info, paper),
        full=full_section(run_dir, info, paper),
        system=system_section(run_dir, info, paper, replay, device, prices),
    )
    if summary.paper is None and summary.full is None and summary.system is None:
        raise DataError("holds no records; run `scalrec simulate` to make some", run_dir)
    return summary


def write_summary(run_dir: Path) -> Summary:
    """Build the summary and write summary.json in one step; returns the summary."""
    summary = build_summary(run_dir)
    write_whole(run_dir / SUMMARY_FILE, summary.model_dump_json(indent=2) + "\n")
    return summary


def read_summary(run_dir: Path) -> Summary:
    """Read summary.json; raises DataError naming the file."""
    path = run_dir / SUMMARY_FILE
    try:
        return Summary.model_validate_json(path.read_text())
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise DataError(f"not a summary: {error}", path) from error
