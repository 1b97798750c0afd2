"""Each part killed, frozen, swapped or given another key, in each command: the run says so.

Exit code, the note on the terminal and the report's words are asserted: a result that is wrong must
not look like one that is right.
"""

from __future__ import annotations

import asyncio
import html
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from launch.ports import free_port
from launch.redis_server import RedisServer
from reports.summary.build import read_summary
from shared.tokens import new_key
from tests.support.bundles import make_bundle
from tests.support.embedder_process import embedder_process
from tests.support.harm import freeze, kill, program_of
from tests.support.runs_of_cli import CliRun
from tests.support.small_log import small_log
from tests.support.small_run import QUICK, SmallRun, naming
from tests.support.tiers import first_quick

USERS = ["--users", "12"]
PAPER = ["--set", "paper.steps=1", "--set", "paper.gaps=[0,2]"]
WINDOW = ["--duration", "8"]
SCENARIO = """\
name: short
description: Nothing is planned to happen, for eight seconds.
seed: 3
duration_s: 8
users: 12
steps: 4
device: {policy: every-k, k: 1}
"""
WRONG = re.compile(r"(?m)^wrong ")
HARMS: dict[str, Callable[[int], None]] = {"kill": kill, "freeze": freeze}
# What is said of a part that is gone: of a child by its owner, of others by the cloud.
CHILD = {
    ("cloud", "kill"): "is not running, exit code 137",
    ("cloud", "freeze"): "stands still",
    ("store", "kill"): "redis-server is not running, exit code 137",
    ("store", "freeze"): "redis-server stands still",
}
SAID = {
    "cloud": "does not answer",
    "store": "its store is not ready",
    "embedder": "its embedder is not ready",
}


@dataclass
class Served:
    """A trained folder whose text model is served by a process of its own."""

    small: SmallRun
    port: int

    @property
    def use(self) -> list[str]:
        return [*QUICK, *_at(self.port)]


def _at(port: int) -> list[str]:
    sets = ("backend=vllm", f"url=http://127.0.0.1:{port}", "deadline_s=1")
    return [part for setting in sets for part in ("--set", f"embedder.{setting}")]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    """Trained with an embedding server over HTTP, which cells then start anew at the same port."""
    folder, port = tmp_path_factory.mktemp("served"), free_port()
    own = naming(*small_log(folder))
    with embedder_process(port):
        CliRun(["export", *own, *QUICK, *_at(port)], folder / "runs").finish(timeout_s=240)
    return Served(SmallRun(folder, own), port)


@contextmanager
def serve(folder: Path, bundle: Path, port: int, *more: str) -> Iterator[CliRun]:
    """`scalrec serve` that is ready; killed in the end if it has not ended."""
    use = ["--bundle", str(bundle), "--set", "cloud.admin_port=0", *QUICK, *more]
    run = CliRun(["serve", "--port", str(port), *use], folder, env=_own_cache(folder.parent))
    with run.started() as process:
        run.wait_for("API at /docs", process, timeout_s=90)
        yield run


def _own_cache(folder: Path) -> dict[str, str]:
    return {"SCALREC_CACHE": str(folder / "cache")}


def fleet(folder: Path, small: SmallRun, port: int, *more: str) -> CliRun:
    to = ["--cloud", f"http://127.0.0.1:{port}", "--bundle", str(small.bundle), *small.own]
    arguments = ["fleet", *to, *QUICK, *USERS, *WINDOW, "--set", "device.k=1", *more]
    return CliRun(arguments, folder / "fleet", env=_own_cache(folder))


def ends_wrong(run: CliRun, harm: Callable[[], None], *words: str) -> None:
    """Start ``run``, do the harm once it replays, and hold what it says in the end to ``words``."""
    with run.started() as process:
        run.wait_for("· Replay", process, timeout_s=180)
        harm()
        code = process.wait(120)
    told = " ".join(run.text().split())
    assert code == 1, run.text()[-4000:]
    assert "Traceback" not in told
    assert WRONG.search(run.text())
    latest = run.work_dir / "latest"
    report = html.unescape((latest / "report.html").read_text())
    assert "This run did not go as planned" in report
    summary = read_summary(latest)
    assert summary.system is not None
    assert summary.system.cloud.saved is None
    assert "% saved" not in told
    for word in words:
        assert word in told, run.text()[-6000:]
        assert any(word in failure for failure in summary.run.run_failures)
        assert word in report


@pytest.mark.parametrize(("part", "harm"), first_quick([("cloud", "kill"), ("store", "freeze")]))
def test_a_child_of_a_simulation(part: str, harm: str, trained: SmallRun, tmp_path: Path) -> None:
    run = simulation(trained, tmp_path, *QUICK)
    ends_wrong(run, lambda: HARMS[harm](program_of(run, part)), CHILD[part, harm])
    assert run.left_over() == []
    if part == "cloud":
        system = read_summary(run.work_dir / "latest").system
        assert system is not None
        assert "cloud down" in {score.group for score in system.scores}


def simulation(small: SmallRun, folder: Path, *use: str) -> CliRun:
    runs = small.copy(folder / "runs")
    more = [*USERS, *WINDOW, *PAPER, "--set", "device.k=1"]
    return CliRun(["simulate", *small.own, *use, *more], runs, env=_own_cache(folder))


@pytest.mark.rest
@pytest.mark.slow
def test_an_embedder_that_a_simulation_was_given(served: Served, tmp_path: Path) -> None:
    with embedder_process(served.port) as process:
        run = simulation(served.small, tmp_path, *served.use)
        ends_wrong(run, lambda: freeze(process.pid), SAID["embedder"])


@pytest.mark.slow
@pytest.mark.parametrize(("part", "harm"), [("cloud", "freeze"), ("store", "kill")])
def test_a_child_of_a_load_test(part: str, harm: str, trained: SmallRun, tmp_path: Path) -> None:
    run = load_test(trained, tmp_path, *QUICK)
    ends_wrong(run, lambda: HARMS[harm](program_of(run, part)), CHILD[part, harm])


def load_test(small: SmallRun, folder: Path, *use: str) -> CliRun:
    scenario = folder / "short.yaml"
    scenario.write_text(SCENARIO)
    own = [*small.own, "--bundle", str(small.bundle), *use]
    arguments = ["loadtest", "run", str(scenario), *own]
    return CliRun(arguments, folder / "runs", env=_own_cache(folder))


@pytest.mark.rest
@pytest.mark.slow
def test_an_embedder_that_a_load_test_was_given(served: Served, tmp_path: Path) -> None:
    with embedder_process(served.port) as process:
        run = load_test(served.small, tmp_path, *served.use)
        ends_wrong(run, lambda: kill(process.pid), SAID["embedder"])


@pytest.mark.rest
@pytest.mark.slow
def test_what_a_scenario_does_on_purpose_is_not_held_against_the_run(
    trained: SmallRun, tmp_path: Path
) -> None:
    run = load_test(trained, tmp_path, *QUICK)
    faults = """\
faults:
  - {target: cloud, kind: kill, at_s: 1, for_s: 2}
  - {target: redis, kind: restart, at_s: 1, for_s: 2}
"""
    (tmp_path / "short.yaml").write_text(
        SCENARIO.replace("duration_s: 8", "duration_s: 20") + faults
    )
    assert not WRONG.search(run.finish(timeout_s=180))


@pytest.mark.parametrize(("part", "harm"), first_quick(CHILD))
def test_a_part_of_the_cloud_that_a_fleet_uses(
    part: str, harm: str, trained: SmallRun, tmp_path: Path
) -> None:
    port = free_port()
    with serve(tmp_path / "cloud", trained.bundle, port) as cloud:
        run = fleet(tmp_path, trained, port)
        ends_wrong(run, lambda: HARMS[harm](program_of(cloud, part)), SAID[part])
    if part == "store" and harm == "kill":
        assert "unstored" in run.text()


@pytest.mark.slow
@pytest.mark.parametrize("harm", [*HARMS, "swap"])
def test_an_embedder_behind_the_cloud_of_a_fleet(harm: str, served: Served, tmp_path: Path) -> None:
    port = free_port()
    with ExitStack() as stack:
        process = stack.enter_context(embedder_process(served.port))
        cloud = serve(tmp_path / "cloud", served.small.bundle, port, *_at(served.port))
        stack.enter_context(cloud)
        run = fleet(tmp_path, served.small, port, *_at(served.port))

        def do() -> None:
            if harm in HARMS:
                HARMS[harm](process.pid)
                return
            process.kill()
            process.wait()
            stack.enter_context(embedder_process(served.port, dim=16))

        ends_wrong(run, do, SAID["embedder"])


@pytest.mark.slow
def test_another_redis_at_the_same_address(trained: SmallRun, tmp_path: Path) -> None:
    port, place = free_port(), free_port()
    first, second = (RedisServer(tmp_path / name, port=place) for name in ("one", "two"))
    url = asyncio.run(first.start()).get_secret_value()

    def swap() -> None:
        asyncio.run(first.stop())
        asyncio.run(second.start())

    try:
        given = ["--set", f"cloud.redis_url={url}"]
        with serve(tmp_path / "cloud", trained.bundle, port, *given):
            ends_wrong(fleet(tmp_path, trained, port), swap, SAID["store"])
    finally:
        for server in (first, second):
            asyncio.run(server.stop())


@pytest.mark.rest
@pytest.mark.slow
def test_a_bundle_replaced_under_a_simulation(trained: SmallRun, tmp_path: Path) -> None:
    other = make_bundle(tmp_path / "other", text_dim=64).path
    run = simulation(trained, tmp_path, *QUICK)

    def swap() -> None:
        [manifest] = (run.work_dir / "bundles").glob("*/manifest.json")
        shutil.rmtree(manifest.parent)
        shutil.copytree(other, manifest.parent)

    ends_wrong(run, swap, "its bundle is not ready")


@pytest.mark.rest
@pytest.mark.slow
@pytest.mark.parametrize("swapped", ["bundle", "key"])
def test_another_cloud_at_the_same_address(swapped: str, trained: SmallRun, tmp_path: Path) -> None:
    port = free_port()
    other = make_bundle(tmp_path / "other", text_dim=64).path
    with ExitStack() as stack:
        cloud = stack.enter_context(serve(tmp_path / "cloud", trained.bundle, port))
        # A short deadline and a breaker that soon tries again: the other cloud takes seconds.
        link = ["device.link.deadline_s=1", "device.link.breaker_open_s=0.5"]
        sets = [part for setting in link for part in ("--set", setting)]
        run = fleet(tmp_path, trained, port, *sets, "--duration", "40", "--set", "replay.steps=4")

        def swap() -> None:
            kill(program_of(cloud, "cloud"))
            bundle = other if swapped == "bundle" else trained.bundle
            key = ["--set", f"cloud.auth_keys={new_key('other')}"] if swapped == "key" else []
            stack.enter_context(serve(tmp_path / "cloud2", bundle, port, *key))

        words = {"bundle": "serves bundle", "key": "does not accept the devices' tokens"}
        ends_wrong(run, swap, words[swapped])


def refused(run: CliRun, *words: str) -> None:
    """It ends before anything is replayed, in a line that holds ``words``."""
    with run.started() as process:
        assert process.wait(120) == 2, run.text()[-3000:]
    told = " ".join(run.text().split())
    assert "Traceback" not in told
    for word in words:
        assert word in told


@pytest.mark.slow
def test_a_key_that_is_not_the_clouds_is_refused_before_the_run(
    trained: SmallRun, tmp_path: Path
) -> None:
    port, other = free_port(), ["--set", f"cloud.auth_keys={new_key('other')}"]
    with serve(tmp_path / "cloud", trained.bundle, port):
        refused(fleet(tmp_path, trained, port, *other), "does not accept", "auth_keys")
        test = load_test(trained, tmp_path, *QUICK, *other)
        address = ["--cloud", f"http://127.0.0.1:{port}"]
        given = CliRun([*test.arguments, *address], tmp_path / "given", env=_own_cache(tmp_path))
        refused(given, "does not accept", "auth_keys")


@pytest.mark.slow
def test_a_load_test_refuses_a_cloud_of_another_bundle(trained: SmallRun, tmp_path: Path) -> None:
    port, other = free_port(), make_bundle(tmp_path / "other", text_dim=64)
    with serve(tmp_path / "cloud", other.path, port):
        test = load_test(trained, tmp_path, *QUICK)
        address = ["--cloud", f"http://127.0.0.1:{port}"]
        given = CliRun([*test.arguments, *address], tmp_path / "given", env=_own_cache(tmp_path))
        refused(given, other.id, "--bundle")


@pytest.mark.slow
def test_a_key_file_that_a_killed_cloud_left_behind_is_not_trusted(
    trained: SmallRun, tmp_path: Path
) -> None:
    port = free_port()
    with serve(tmp_path / "cloud", trained.bundle, port) as cloud:
        kill(program_of(cloud, "cloud"))
    left = tmp_path / "cache" / "serve" / f"{port}.keys"
    assert left.exists()
    with serve(
        tmp_path / "cloud2", trained.bundle, port, "--set", f"cloud.auth_keys={new_key('b')}"
    ):
        refused(fleet(tmp_path, trained, port), str(left), "left behind", "auth_keys_file")


@pytest.mark.slow
def test_a_fleet_that_finds_no_cloud_ends_wrong(trained: SmallRun, tmp_path: Path) -> None:
    run = fleet(tmp_path, trained, free_port(), "--set", "cloud.auth=off")
    ends_wrong(run, lambda: None, "no refresh brought a snapshot", "does not answer")
    assert "cloud up" not in run.text()
