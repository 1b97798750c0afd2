"""Runs that are cut short leave nothing, or say so."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from loadtest.replay.run_info import read_run_info, write_run_info
from scalrec.jobs.run_folder import CUT_SHORT, run_folder
from shared.errors import LaunchError
from tests.support.runs import invented_info

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def cut_short(
    work_dir: Path, error: BaseException, *, logs: bool = False, run: bool = False
) -> None:
    """A run that ends with ``error`` after it has written what is named."""

    def work() -> None:
        with run_folder(work_dir, "a", NOW) as run_dir:
            (run_dir / "logs").mkdir()
            if logs:
                (run_dir / "logs" / "vllm.log").write_text("starting")
            if run:
                write_run_info(run_dir, invented_info())
            raise error

    with pytest.raises(type(error)):
        work()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), asyncio.CancelledError(), LaunchError("x")])
def test_a_run_that_wrote_nothing_leaves_no_folder(tmp_path: Path, error: BaseException) -> None:
    cut_short(tmp_path, error)
    assert list(tmp_path.iterdir()) == []


def test_logs_stay_and_a_line_says_what_happened(tmp_path: Path) -> None:
    cut_short(tmp_path, LaunchError("vLLM did not start"), logs=True)
    [folder] = tmp_path.iterdir()
    assert "vLLM did not start" in (folder / CUT_SHORT).read_text()


def test_a_run_with_records_is_marked(tmp_path: Path) -> None:
    cut_short(tmp_path, KeyboardInterrupt(), run=True)
    [folder] = tmp_path.iterdir()
    assert read_run_info(folder).run_failures == ("the run did not come to its end: interrupted",)


def test_a_run_that_ends_well_is_left_as_it_is(tmp_path: Path) -> None:
    with run_folder(tmp_path, "a", NOW) as run_dir:
        write_run_info(run_dir, invented_info())
    assert read_run_info(run_dir).run_failures == ()
