"""Cells in real processes: several at a time, killed, cancelled, resumed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from experiments import spec
from experiments.cell_store import CellStore
from experiments.cells import Cell, PlannedCell, expand, plan
from experiments.jobs import StageProgress
from experiments.runner import Runner
from experiments.servers import SharedServers
from scalrec.jobs.experimenting import resolver
from scalrec.settings import Settings
from shared.errors import LaunchError
from tests.support.embedding_server import EmbeddingServer
from tests.support.fake_study import KILL_FILE, SLOW, TEXT
from tests.support.small_log import small_log
from tests.support.text_models import WIDTH, tiny_model

STUDY = "tests.support.fake_study:run_cell"


class Seen:
    """An Overview that remembers."""

    def __init__(self) -> None:
        self.running: set[Cell] = set()
        self.most = 0
        self.stages: list[str] = []
        self.done: list[Cell] = []
        self.reasons: dict[Cell, str] = {}

    def started(self, cell: Cell) -> None:
        self.running.add(cell)
        self.most = max(self.most, len(self.running))

    def stage(self, cell: Cell, stage: StageProgress) -> None:
        self.stages.append(stage.label)

    def finished(self, cell: Cell, seconds: float) -> None:
        assert seconds > 0
        self.running.remove(cell)
        self.done.append(cell)

    def failed(self, cell: Cell, reason: str) -> None:
        self.running.remove(cell)
        self.reasons[cell] = reason


@asynccontextmanager
async def no_server(settings: Settings) -> AsyncIterator[str]:
    raise LaunchError("there is no server here")
    yield ""


class Bench:
    """Three cells of the gates experiment on a small log."""

    def __init__(self, folder: Path, *assignments: str, backend: str = "hashing") -> None:
        log, items = small_log(folder)
        model = ["embedder.model=hashing-16"] if backend == "hashing" else []
        resolve = resolver(
            "loans", str(log), "user=who,item=what,time=when", items, backend,
            folder / "runs", [*model, *assignments],
        )  # fmt: skip
        experiment = spec.load("gates")
        cells = list(expand(experiment, "loans", profiles=["tiny"], seeds=3))
        self.planned: list[PlannedCell] = plan(experiment, cells, resolve, "data")
        self.cells = cells
        self.store = CellStore(folder / "cells")
        self.scratch = folder / "scratch"
        self.seen = Seen()

    async def run(self, serve: object = no_server, processes: int = 2) -> dict[Cell, str]:
        todo = [p for p in self.planned if self.store.find(p) is None]
        runner = Runner(
            store=self.store,
            experiment="gates",
            study=STUDY,
            servers=SharedServers(serve),  # type: ignore[arg-type]
            overview=self.seen,
            processes=processes,
            threads=1,
            revision="abc",
            code="c0de",
            scratch=self.scratch,
        )
        return await runner.run(todo)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def test_a_killed_cell_loses_only_itself_and_is_resumed(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill = tmp_path / "kill"
    kill.touch()
    monkeypatch.setenv(KILL_FILE, str(kill))
    failed = await bench.run()
    first, second, third = bench.cells
    assert list(failed) == [second]
    assert "exit code 137" in failed[second]
    assert set(bench.seen.done) == {first, third}
    assert bench.seen.most == 2
    assert "pretending to train" in bench.seen.stages
    kill.unlink()
    bench.seen = Seen()
    assert await bench.run() == {}
    assert bench.seen.done == [second]  # the others were not computed again
    found = bench.store.find(bench.planned[1])
    assert found is not None
    run = found.info.run
    assert (run.seed, run.revision, run.code, run.threads) == (1, "abc", "c0de", 1)
    assert found.info.extras == {"mean_r": 0.81, "dim": 0.0}  # a NaN is no figure
    assert found.scores().height > 1000


async def test_cancelling_stops_every_process(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SLOW, "60")
    running = asyncio.create_task(bench.run())
    while "pretending to train" not in bench.seen.stages:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    started = time.monotonic()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert time.monotonic() - started < 15
    command = str(bench.scratch).encode()
    left = [p for p in Path("/proc").glob("[0-9]*/cmdline") if command in _read(p)]
    assert left == []
    assert bench.store.count("gates") == {}


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


async def test_a_study_that_fails_is_reported_with_its_words(bench: Bench) -> None:
    planned = bench.planned[0]
    missing = planned.settings.model_copy(
        update={"log": planned.settings.log.model_copy(update={"path": Path("/nowhere.csv")})}
    )
    bench.planned = [PlannedCell(planned.cell, missing, planned.key)]
    failed = await bench.run()
    assert "DataError" in failed[planned.cell]
    assert "/nowhere.csv" in failed[planned.cell]


async def test_a_cell_gets_the_server_it_asks_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "my-model"
    model.mkdir()
    (model / "config.json").write_text('{"hidden_size": 16}')
    monkeypatch.setenv(TEXT, "a new text")
    monkeypatch.setenv("SCALREC_EMBEDDER__API_KEY", "s3cret")
    bench = Bench(tmp_path, f"embedder.model={model}", backend="vllm")
    starts = []
    async with EmbeddingServer(model="my-model", dim=16).up() as server:

        @asynccontextmanager
        async def serve(settings: Settings) -> AsyncIterator[str]:
            starts.append(settings.embedder.model)
            yield server.url

        assert await bench.run(serve) == {}
    assert len(starts) == 1  # shared by all cells
    found = bench.store.find(bench.planned[0])
    assert found is not None
    assert found.info.extras["dim"] == 16
    # The key travels in the environment alone.
    assert not any(b"s3cret" in p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())


async def test_a_cell_embeds_inside_its_process_where_that_gives_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model(tmp_path / "my-model", ["a", "new", "text"])
    monkeypatch.setenv(TEXT, "a new text")
    bench = Bench(tmp_path, f"embedder.model={model}", backend="vllm")
    bench.planned = bench.planned[:1]
    assert await bench.run(no_server) == {}
    found = bench.store.find(bench.planned[0])
    assert found is not None
    assert found.info.extras["dim"] == WIDTH


async def test_no_server_fails_the_cell_that_needs_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "my-model"
    model.mkdir()
    (model / "config.json").write_text('{"hidden_size": 16}')
    monkeypatch.setenv(TEXT, "a new text")
    bench = Bench(tmp_path, f"embedder.model={model}", backend="vllm")
    bench.planned = bench.planned[:1]
    failed = await bench.run()
    assert "there is no server here" in next(iter(failed.values()))
