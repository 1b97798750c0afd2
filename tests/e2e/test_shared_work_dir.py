"""Runs that share a work folder at the same time do not write over each other's."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from scalrec.folders import recipe_note
from shared.bundle import load_bundle
from tests.support.runs_of_cli import CliRun
from tests.support.small_run import QUICK, SmallRun


@pytest.mark.rest
@pytest.mark.slow
def test_exports_at_the_same_time(trained: SmallRun, tmp_path: Path) -> None:
    runs = trained.copy(tmp_path / "runs")
    # Two of the same recipe, beside the bundle of another.
    own = ["export", *trained.own, *QUICK, "--set", "cloud.candidates=7"]
    exports = [CliRun(own, runs), CliRun(own, runs)]
    for number, run in enumerate(exports):
        run.output = tmp_path / f"{number}.out"
    with ExitStack() as stack:
        started = [stack.enter_context(run.started()) for run in exports]
        assert [process.wait(240) for process in started] == [0, 0], [r.text() for r in exports]
    found = [load_bundle(path.parent) for path in (runs / "bundles").glob("*/manifest.json")]
    assert sorted(bundle.manifest.candidates for bundle in found) == [7, 100]
    assert all(recipe_note(bundle.path).exists() for bundle in found)
    # A hidden lock per bundle is all that is left beside them and their notes.
    names = sorted(path.name for path in (runs / "bundles").iterdir())
    assert len(names) == 6
    assert len([name for name in names if name.startswith(".") and name.endswith(".lock")]) == 2
