"""`scalrec fleet --ray` on real Ray clusters of this machine: two nodes by address, and local."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from cloud_service.app import create_app
from cloud_service.embedding.hashing import HashingEmbedder
from cloud_service.store.snapshot_store import MemorySnapshotStore
from loadtest.dashboard.app import LiveView
from loadtest.dashboard.hub import Hub, Run
from loadtest.history import invariants
from loadtest.history.history import Expected, RunHistory
from loadtest.replay.run_info import read_run_info
from loadtest.replay.shards.merge import shard_dir
from loadtest.replay.shards.outcome import read_outcomes
from reports.summary.build import read_summary
from shared.bundle import Bundle
from shared.interactions import InteractionLog
from shared.profile import DEFAULT
from tests.support.bundles import make_bundle
from tests.support.cloud import cloud_settings, quiet
from tests.support.histories import check_history
from tests.support.replays import records
from tests.support.runs_of_cli import CliRun
from tests.support.servers import serving
from tests.support.staleness import make_log

USERS, STEPS = 12, 5
ITEMS = 10  # one digit each, so that a log read from a file has them in the same order
TOKEN = "of this fleet"
# Two nodes of one CPU each; lives until its standard input closes.
CLUSTER = """
import sys
from ray.cluster_utils import Cluster
alone = {"num_cpus": 1, "include_dashboard": False}
cluster = Cluster(initialize_head=True, head_node_args=alone)
cluster.add_node(num_cpus=1)
print("address", cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[str]:
    """Address of a cluster; fails, with what to install, where Ray is missing."""
    with subprocess.Popen(
        [sys.executable, "-c", CLUSTER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | QUIET,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("address "):
                break
        else:
            pytest.fail("no Ray cluster; is Ray there? python3 scripts/bootstrap.py ray")
        yield line.split()[1]
        process.communicate("", timeout=60)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return make_bundle(tmp_path / "bundle", n_items=ITEMS, profile=DEFAULT)


@pytest.fixture
def options(tmp_path: Path, bundle: Bundle) -> list[str]:
    """Options of a short fleet over a log in a file."""
    log = make_log(users=USERS, events=25, n_items=ITEMS)
    items = tmp_path / "items.csv"
    rows = (f"{i},{t}" for i, t in zip(log.catalogue.ids, log.catalogue.texts, strict=True))
    items.write_text("\n".join(["item_id,title", *rows]) + "\n")
    path = tmp_path / "log.csv"
    path.write_text("who,what,when\n" + "".join(_rows(log)))
    settings = (
        "cloud.auth=off", f"training.test_steps={STEPS}", f"replay.steps={STEPS}", "device.k=2",
        "replay.availability.kind=always", "paper.bootstrap=100",
    )  # fmt: skip
    return [
        "--log", str(path), "--items", str(items), "--columns", "user=who,item=what,time=when",
        "--bundle", str(bundle.path), "--users", str(USERS), "--duration", "3",
        *(part for setting in settings for part in ("--set", setting)),
    ]  # fmt: skip


def _rows(log: InteractionLog) -> Iterator[str]:
    assert log.time is not None
    for user, item, when in zip(log.user, log.item, log.time, strict=True):
        yield f"{log.user_ids[user]},{log.catalogue.ids[item]},{when}\n"


def cloud_of(bundle: Bundle):  # type: ignore[no-untyped-def]
    return serving(
        create_app(
            cloud_settings(),
            bundle=bundle,
            embedder=HashingEmbedder(bundle.manifest.embedder.dim),
            store=MemorySnapshotStore(),
            telemetry=quiet()[0],
        )
    )


@pytest.mark.slow
async def test_two_workers_are_one_fleet(
    tmp_path: Path, bundle: Bundle, options: list[str], two_nodes: str
) -> None:
    hub = Hub()
    view = LiveView(hub, tmp_path, ingest_token=TOKEN)
    pushing = {"SCALREC_DASHBOARD__TOKEN": TOKEN}
    async with cloud_of(bundle) as url, serving(view.app, lifespan="auto") as page:
        to = ["--cloud", url, "--set", f"dashboard.push_url={page}"]
        fleet = CliRun(
            ["fleet", "--ray", two_nodes, "--shards", "2", *to, *options],
            tmp_path / "runs",
            QUIET | pushing,
        )
        text = await _finish(fleet)
    run_dir = (tmp_path / "runs" / "latest").resolve()
    requests, refreshes = records(run_dir)
    assert requests.height == USERS * STEPS
    assert refreshes.height > 0
    check_history(requests, refreshes, gamma_max=bundle.manifest.calibration.gamma_max)
    _check_devices(requests, refreshes, bundle)
    for name, merged in (("requests.parquet", requests), ("refreshes.parquet", refreshes)):
        parts = [pl.read_parquet(shard_dir(run_dir, number) / name) for number in (0, 1)]
        assert not set(parts[0]["user"]) & set(parts[1]["user"])
        assert all(part.height for part in parts)
        order = ["user", "step", "finished_s"]
        assert pl.concat(parts).sort(order).equals(merged.sort(order))
    first, second = read_outcomes(run_dir)
    assert (first.answered, second.answered) == (30, 30)
    assert first.seed != second.seed
    assert first.started is not None
    assert second.started is not None
    assert abs(first.started - second.started) < 1.0
    system = read_summary(run_dir).system
    assert system is not None
    assert system.scope.requests == USERS * STEPS
    assert (run_dir / "report.html").stat().st_size > 10_000
    assert "failed" not in text
    assert hub.look(_seen) == ({"shard-0": 30, "shard-1": 30}, "finished")


@pytest.mark.slow
async def test_a_shard_that_dies_is_told_and_the_others_go_on(
    tmp_path: Path, bundle: Bundle, options: list[str]
) -> None:
    async with cloud_of(bundle) as url:
        fleet = CliRun(
            ["fleet", "--ray", "local", "--shards", "2", "--cloud", url, *options,
             "--duration", "8"],
            tmp_path / "runs",
            QUIET,
        )  # fmt: skip
        with pytest.raises(AssertionError, match="exit code 1"):
            await _finish(fleet, kill_one=True)
    run_dir = (tmp_path / "runs" / "latest").resolve()
    outcomes = read_outcomes(run_dir)
    [dead] = [o for o in outcomes if o.error]
    [alive] = [o for o in outcomes if not o.error]
    assert (alive.answered, alive.unanswered) == (30, 0)
    assert (dead.due, dead.unanswered) == (30, 30)
    assert pl.read_parquet(run_dir / "requests.parquet").height == 30
    [note] = read_run_info(run_dir).run_failures
    assert "30 of 30 requests of its 6 users were not answered" in note
    assert note in " ".join(fleet.text().split())
    assert "This run did not go as planned" in (run_dir / "report.html").read_text()
    assert fleet.left_over(grace_s=15.0) == []


def test_without_ray_the_extra_is_named(tmp_path: Path, options: list[str]) -> None:
    (tmp_path / "absent" / "ray").mkdir(parents=True)
    (tmp_path / "absent" / "ray" / "__init__.py").write_text("raise ImportError('none here')\n")
    fleet = CliRun(
        ["fleet", "--ray", "local", "--cloud", "http://127.0.0.1:1", *options],
        tmp_path / "runs",
        {"PYTHONPATH": str(tmp_path / "absent")},
    )
    with pytest.raises(AssertionError) as told:
        fleet.finish(timeout_s=60)
    assert "scalrec[ray]" in str(told.value)


async def _finish(fleet: CliRun, *, kill_one: bool = False) -> str:
    """As CliRun.finish, beside the servers of this loop."""
    import asyncio
    import signal

    def work() -> str:
        with fleet.started() as process:
            if kill_one:
                victim = _worker_of(fleet, process)
                time.sleep(2.0)
                os.kill(victim, signal.SIGKILL)
            code = process.wait(150)
        assert code == 0, f"exit code {code}\n{fleet.text()[-6000:]}"
        return fleet.text()

    return await asyncio.to_thread(work)


def _worker_of(fleet: CliRun, process: subprocess.Popen[bytes]) -> int:
    """Process id of a shard of this run, once it replays."""
    give_up = time.monotonic() + 120
    while time.monotonic() < give_up and process.poll() is None:
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                named = (folder / "cmdline").read_bytes().startswith(b"ray::Shard")
                if named and fleet.tag.encode() in (folder / "environ").read_bytes():
                    return int(folder.name)
            except OSError:
                continue
        time.sleep(0.2)
    raise AssertionError(f"no shard began\n{fleet.text()[-4000:]}")


def _check_devices(requests: pl.DataFrame, refreshes: pl.DataFrame, bundle: Bundle) -> None:
    """The checker's invariants of what devices record themselves."""
    expected = Expected(
        due=dict.fromkeys(range(USERS), STEPS),
        bundle_id=bundle.id,
        gamma_max=bundle.manifest.calibration.gamma_max,
        deadline_s=3.0,
        breaker_open_s=1.0,
    )
    history = RunHistory(
        requests=requests, refreshes=refreshes, attempts=pl.DataFrame(), writes=pl.DataFrame()
    )
    for rule in (
        invariants.every_request_answered,
        invariants.gap_is_true,
        invariants.versions_never_go_back,
        invariants.correction_is_bounded,
        invariants.newest_snapshot_is_used,
    ):
        assert list(rule(history, expected)) == []


def _seen(run: Run, now: float) -> tuple[dict[str, int], str]:
    return {name: shard.last.answered for name, shard in run.shards.items()}, run.status
