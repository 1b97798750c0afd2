"""A part that is gone while a run lasts is noticed, one that is away on purpose is not."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from launch.process import ChildProcess
from scalrec.stack import watch as module
from scalrec.stack.readiness import Readiness
from scalrec.stack.watch import Watch, always, nothing_started
from tests.support.servers import free_port, serving

PROGRAM = "import time; print('last words', flush=True); time.sleep(60)"


async def until(holds: Callable[[], object]) -> None:
    """Wait for what processes do; nothing tells of it but looking."""
    while not holds():  # noqa: ASYNC110
        await asyncio.sleep(0.005)


@asynccontextmanager
async def child(folder: Path) -> AsyncIterator[ChildProcess]:
    """A program that has written its log and waits."""
    process = ChildProcess("the part", [sys.executable, "-c", PROGRAM], log=folder / "log")

    async def probe() -> str | None:
        return None if "last words" in process.log_tail() else "not yet"

    async with process:
        await process.wait_ready(probe, 60)
        yield process


@pytest.mark.parametrize(
    ("harm", "words"),
    [(signal.SIGKILL, "is not running, exit code 137"), (signal.SIGSTOP, "stands still")],
)
async def test_a_child_that_dies_or_is_stopped_is_told_with_its_last_words(
    tmp_path: Path, harm: signal.Signals, words: str
) -> None:
    async with child(tmp_path) as process:
        pid = process.pids[0]
        async with Watch(lambda: {"cloud": process}) as watch:
            assert watch.cloud_there()
            os.kill(pid, harm)
            await until(lambda: not watch.cloud_there())
            [trouble] = watch.troubles
        assert words in trouble
        assert "last words" in trouble
        assert str(tmp_path / "log") in trouble
        assert watch.troubles == [trouble]


async def test_harm_just_before_the_end_is_seen_by_the_last_look(tmp_path: Path) -> None:
    async with child(tmp_path) as process:
        async with Watch(lambda: {"store": process}) as watch:
            await asyncio.sleep(0)  # the first look is over, and there will be no second one
            os.kill(process.pids[0], signal.SIGKILL)
            await until(lambda: not process.running)
        assert "exit code 137" in watch.troubles[0]


async def test_a_stop_that_ends_again_was_one(tmp_path: Path) -> None:
    async with child(tmp_path) as process:
        pid = process.pids[0]
        async with Watch(lambda: {"cloud": process}) as watch:
            os.kill(pid, signal.SIGSTOP)
            await until(lambda: not watch.cloud_there())
            os.kill(pid, signal.SIGCONT)
            await until(lambda: watch.cloud_there())
        assert "stands still" in watch.troubles[0]


async def test_what_is_done_on_purpose_is_not_told(tmp_path: Path) -> None:
    async with child(tmp_path) as process:
        async with Watch(lambda: {"cloud 0": process}, None, lambda part: part == "cloud 0"):
            pass
        async with Watch(lambda: {"cloud 0": process}, None, always) as watch:
            os.kill(process.pids[0], signal.SIGKILL)
            await until(lambda: not process.running)
        assert watch.troubles == []


class Cloud:
    """A cloud whose answers a test decides; the real one's are in tests/e2e."""

    def __init__(self) -> None:
        self.checks = {"store": "ok", "embedder": "ok"}
        self.bundle = "b1"

    @property
    def app(self) -> Starlette:
        async def alive(_: Request) -> Response:
            return JSONResponse({"status": "ok"})

        async def ready(_: Request) -> Response:
            status = 200 if set(self.checks.values()) == {"ok"} else 503
            return Response(json.dumps({"checks": self.checks}), status_code=status)

        async def bundle(_: Request) -> Response:
            return Response(json.dumps({"bundle_id": self.bundle}))

        routes = {"/healthz": alive, "/readyz": ready, "/v1/bundle": bundle}
        return Starlette(routes=[Route(path, answer) for path, answer in routes.items()])


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("ALIVE_S", 0.05), ("READY_S", 0.05), ("PATIENCE_S", 0.4)):
        monkeypatch.setattr(module, name, seconds)
    monkeypatch.setattr(module, "LAST_LOOK_S", 1.0)


async def told(watch: Watch) -> str:
    """The first trouble, once there is one."""
    await until(lambda: watch.troubles)
    return watch.troubles[0]


async def test_what_the_cloud_says_of_its_parts_is_told_after_a_while() -> None:
    cloud = Cloud()
    async with serving(cloud.app, lifespan="off") as url, Readiness(url, "b1") as readiness:
        async with Watch(nothing_started, readiness) as watch:
            cloud.checks["store"] = "does not answer"
            assert "its store is not ready: does not answer" in await told(watch)
            assert watch.cloud_there()
        cloud.checks["store"] = "ok"
        async with Watch(nothing_started, readiness, lambda part: part == "store") as watch:
            cloud.checks["store"] = "does not answer"
        assert watch.troubles == []
        async with Watch(nothing_started, readiness) as watch:
            pass
        assert "at the end of the replay" in watch.troubles[0]


async def test_another_bundle_is_told_at_once() -> None:
    cloud = Cloud()
    async with (
        serving(cloud.app, lifespan="off") as url,
        Readiness(url, "b1") as readiness,
        Watch(nothing_started, readiness) as watch,
    ):
        cloud.bundle = "b2"
        assert "serves bundle b2, the devices hold b1" in await told(watch)


async def test_what_an_odd_cloud_says_can_be_shown_and_written() -> None:
    """Endless, steering a terminal, or no text at all: run.json and the report take it."""
    cloud = Cloud()
    async with serving(cloud.app, lifespan="off") as url, Readiness(url, "b1") as readiness:
        cloud.bundle = "\ud800\x1b[31m" + "x" * 300_000
        cloud.checks = {f"part {n}\ud801" + "y" * 300: "\udfff" + "z" * 3_000 for n in range(99)}
        problems = await readiness.problems()
    assert "bundle" in problems
    for words in (*problems, *problems.values()):
        assert words.isprintable()
        assert len(words) < 800
        words.encode()
    assert len(problems) < 20


@pytest.mark.parametrize("bundle", [None, 5, {"a": 1}])
async def test_a_cloud_that_names_no_bundle_is_not_taken_for_the_one(bundle: Any) -> None:
    cloud = Cloud()
    cloud.bundle = bundle
    async with serving(cloud.app, lifespan="off") as url, Readiness(url, "b1") as readiness:
        assert "does not say which bundle it serves" in (await readiness.problems())["cloud"]


async def test_a_cloud_that_answers_nobody_is_not_there() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    async with Readiness(url, "b1") as readiness:
        async with Watch(nothing_started, readiness) as watch:
            assert not watch.cloud_there()
            assert f"the cloud at {url} does not answer" in await told(watch)
        async with Watch(nothing_started, readiness, always) as watch:
            pass
        assert watch.troubles == []
