"""What `scalrec experiment` says and refuses."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from experiments import provenance, spec
from experiments.cells import Cell, Resolve
from experiments.jobs import StageProgress
from experiments.record import read_record
from scalrec.cli import build_app
from scalrec.jobs.cell_overview import CellOverview, spoken
from scalrec.jobs.experimenting import (
    Outcome,
    Request,
    refuse_changed_code,
    resolver,
    run_experiment,
)
from shared.errors import ConfigError
from tests.support.small_log import small_log

STUDY = "tests.support.fake_study:run_cell"


def test_the_list_names_every_experiment_and_what_is_done(tmp_path: Path) -> None:
    arguments = ["experiment", "list", "--work-dir", str(tmp_path), "--results", str(tmp_path)]
    result = CliRunner().invoke(build_app(), arguments)
    assert result.exit_code == 0, result.output
    for name in spec.names():
        assert name in result.output
    assert "nothing yet" in result.output


def test_wrong_options_say_what_is_right(tmp_path: Path) -> None:
    def complaint(*arguments: str) -> str:
        result = CliRunner().invoke(build_app(), ["experiment", "run", *arguments])
        assert isinstance(result.exception, ConfigError)
        return str(result.exception)

    assert "no experiment is called 'gate': one of gates" in complaint("gate", "--log", "redial")
    assert "no such file" in complaint("gates", "--log", "redial=/nowhere.csv")
    huge = complaint("gates", "--log", "redial", "--profiles", "huge", "--allow-dirty")
    assert "no profile 'huge': one of tiny, small, full" in huge
    odd = complaint("embedders", "--log", "redial", "--variants", "minilm", "--allow-dirty")
    assert "no variant 'minilm': one of minilm-mean, minilm-last, minilm-lora" in odd


def test_changed_code_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "changed_code", lambda: [f"training/{i}.py" for i in range(7)])
    with pytest.raises(ConfigError, match=r"training/0\.py.* and 2 more.*--allow-dirty"):
        refuse_changed_code()
    monkeypatch.setattr(provenance, "changed_code", list)
    refuse_changed_code()


class Run:
    """The gates experiment on a small log, one profile and seed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._log, self._items = small_log(folder)
        self.resolve = self.at(folder / "runs")

    def at(self, work_dir: Path) -> Resolve:
        """Settings with another place for cells."""
        return resolver(
            "loans", str(self._log), "user=who,item=what,time=when", self._items, "hashing",
            work_dir, ["embedder.model=hashing-16"],
        )  # fmt: skip

    async def __call__(self, **options: object) -> tuple[Outcome, str]:
        sink = io.StringIO()
        request = Request(
            log="loans",
            seeds=1,
            results=self.folder / "results",
            study=STUDY,
            **{"allow_dirty": True, "profiles": ("tiny",), **options},  # type: ignore[arg-type]
        )
        console = Console(file=sink, width=200)
        outcome = await run_experiment(spec.load("gates"), request, self.resolve, console)
        return outcome, sink.getvalue()


@pytest.mark.slow
async def test_changed_code_is_noticed_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path)
    outcome, text = await run()
    assert "1 cell to compute" in text
    assert outcome.failed == {}
    assert read_record(outcome.path).runs == outcome.record.runs
    outcome, text = await run()
    assert "nothing to compute: 1 finished before" in text
    assert outcome.changed == []  # the same record, the same pages
    monkeypatch.setattr(provenance, "code_hash", lambda study: "other")
    outcome, text = await run(keep_outdated=True)
    assert "computed by other code (now other): 1 finished before; they are kept" in text
    assert "nothing to compute: 1 finished before" in text
    outcome, text = await run()
    assert "those asked for are computed again" in text
    assert [r.code for r in outcome.record.runs] == ["other"]


@pytest.mark.slow
async def test_a_record_grows_with_what_is_computed_elsewhere(tmp_path: Path) -> None:
    outcome, _ = await Run(tmp_path)()
    (tiny,) = outcome.record.runs
    elsewhere = Run(tmp_path)
    elsewhere.resolve = elsewhere.at(tmp_path / "elsewhere")
    outcome, _ = await elsewhere(profiles=("small",), add=True)
    assert [run.profile for run in outcome.record.runs] == ["tiny", "small"]
    assert outcome.record.runs[0] == tiny
    assert {key.split("/")[0] for key in outcome.record.estimates} == {"tiny", "small"}
    outcome, _ = await elsewhere(profiles=("small",))
    assert [run.profile for run in outcome.record.runs] == ["small"]


async def test_a_quick_run_leaves_the_committed_results_alone(tmp_path: Path) -> None:
    outcome, _ = await Run(tmp_path)(quick=True)
    assert not (tmp_path / "results").exists()
    assert outcome.path.is_relative_to(tmp_path / "runs")
    assert outcome.compared == []


def test_the_overview_tells_what_is_left() -> None:
    sink, now = io.StringIO(), [0.0]
    overview = CellOverview(
        Console(file=sink, width=120), total=4, reused=2, processes=2, clock=lambda: now[0]
    )
    cells = [Cell("redial", "tiny", "base", seed) for seed in range(2)]
    with overview:
        for cell in cells:
            overview.started(cell)
        now[0] = 61.0
        overview.stage(cells[0], StageProgress(label="training", done=3, total=8))
        overview.stage(cells[0], StageProgress(label="training", done=4, total=8))  # too soon after
        overview.finished(cells[0], 600.0)
        overview.failed(cells[1], "exit code 137")
    text = sink.getvalue()
    assert "4 cells to compute, 2 finished before; 2 at a time" in text
    assert "redial tiny base seed 0: training 3/8" in text
    assert "training 4/8" not in text
    assert "1/4 cells, about 15 min left" in text
    assert "2/4 cells, about 10 min left" in text
    assert "exit code 137" in text
    assert [spoken(s) for s in (40, 700, 12_000)] == ["40 s", "12 min", "3 h 20 min"]
