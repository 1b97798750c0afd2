"""The commands one by one, as somebody with a cloud and devices of their own would use them."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import httpx2 as httpx
import polars as pl
import pytest

from launch.ports import free_port
from reports.summary.build import read_summary
from tests.support.bundles import make_bundle
from tests.support.runs_of_cli import CliRun
from tests.support.small_run import QUICK, SmallRun


def test_a_fleet_uses_a_served_cloud(trained: SmallRun, tmp_path: Path) -> None:
    port, admin_port = free_port(), free_port()
    use = ["--bundle", str(trained.bundle), "--set", f"cloud.admin_port={admin_port}", *QUICK]
    serve = CliRun(["serve", "--port", str(port), *use], tmp_path / "cloud")
    cloud_url = f"http://127.0.0.1:{port}"
    small = ["--users", "10", "--duration", "4"]
    fleet = CliRun(["fleet", "--cloud", cloud_url, *trained.own, *small, *use], tmp_path / "fleet")
    asks = ["policy=expected-gain", "budget=0.5", "budget_scope=fleet"]
    sets = [part for setting in asks for part in ("--set", f"device.{setting}")]
    sparing = CliRun([*fleet.arguments, *sets, "--set", "cost.currency=EUR"], tmp_path / "sparing")
    with serve.started() as cloud:
        serve.wait_for("API at /docs", cloud, timeout_s=60)
        fleet.finish(timeout_s=120)
        shown = " ".join(sparing.finish(timeout_s=120).split())
        metrics = httpx.get(f"http://127.0.0.1:{admin_port}/metrics", trust_env=False).text
        assert 'scalrec_snapshots_total{outcome="fresh"}' in metrics
        assert httpx.get(f"{cloud_url}/metrics", trust_env=False).status_code == 404
        # The fleet found the key that the cloud made for itself; others have none.
        nobody = httpx.get(f"{cloud_url}/v1/users/ada/snapshot", trust_env=False)
        assert nobody.status_code == 401
        cloud.send_signal(signal.SIGTERM)
        cloud.wait(20)
    assert serve.left_over() == []
    records = tmp_path / "fleet" / "latest"
    assert pl.read_parquet(records / "requests.parquet").height == 10 * 4
    # What training learned of refreshes came with the bundle.
    system = read_summary(tmp_path / "sparing" / "latest").system
    assert system is not None
    assert system.policy == "expected-gain, budget = 0.5 of the fleet's requests"
    assert system.cloud.refreshes == pytest.approx(0.5 * 40, abs=4)
    assert f"{system.cloud.refreshes_per_request:.3f} refreshes per request (budget 0.5)" in shown
    assert system.cloud.cost is not None
    assert system.cloud.cost.money > 0
    assert "EUR" in shown
    outcomes = pl.read_parquet(records / "refreshes.parquet")["outcome"].to_list()
    assert outcomes.count("fresh") == len(outcomes) > 0
    assert (records / "report.html").stat().st_size > 10_000


@pytest.mark.slow
def test_the_report_is_made_anew_from_the_records(trained: SmallRun, tmp_path: Path) -> None:
    small = ["--users", "8", "--set", "paper.steps=1", "--set", "paper.gaps=[0,2]"]
    small += ["--set", "device.policy=expected-gain", "--set", "device.budget=0.3"]
    runs = trained.copy(tmp_path / "runs")
    run = CliRun(["simulate", *trained.own, *QUICK, *small, "--clock", "virtual"], runs)
    run.finish(timeout_s=240)
    latest = runs / "latest"
    before = (latest / "summary.json").read_bytes()
    assert b'"policy": "expected-gain, budget = 0.3"' in before
    (latest / "summary.json").unlink()
    (latest / "report.html").unlink()
    CliRun(["report"], runs).finish(timeout_s=60)
    assert (latest / "summary.json").read_bytes() == before
    assert (latest / "report.html").exists()


def test_a_taken_port_is_refused_in_one_line(trained: SmallRun, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        run = CliRun(
            ["serve", "--bundle", str(trained.bundle), "--port", str(port), *QUICK], tmp_path / "r"
        )
        with run.started() as process:
            assert process.wait(60) == 2
    assert f"{port}" in run.text()
    assert "Traceback" not in run.text()
    assert run.left_over() == []


def test_an_altered_bundle_is_refused_by_name(trained: SmallRun, tmp_path: Path) -> None:
    copy = tmp_path / "bundle"
    copy.mkdir()
    for file in trained.bundle.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    (copy / "projector.onnx").write_bytes(b"other")
    run = CliRun(["serve", "--bundle", str(copy), *QUICK], tmp_path / "r")
    with run.started() as process:
        assert process.wait(60) == 2
    assert "projector.onnx" in run.text()
    assert "scalrec export" in run.text()


def test_a_fleet_refuses_a_cloud_of_another_bundle(trained: SmallRun, tmp_path: Path) -> None:
    port = free_port()
    other = make_bundle(tmp_path / "other", text_dim=64)
    use = ["--bundle", str(other.path), "--set", "cloud.admin_port=0", *QUICK]
    serve = CliRun(["serve", "--port", str(port), *use], tmp_path / "c")
    to = ["--cloud", f"http://127.0.0.1:{port}", "--bundle", str(trained.bundle)]
    fleet = CliRun(["fleet", *to, *trained.own, *QUICK], tmp_path / "fleet")
    with serve.started() as cloud:
        serve.wait_for("API at /docs", cloud, timeout_s=60)
        with fleet.started() as process:
            assert process.wait(60) == 2
        cloud.send_signal(signal.SIGTERM)
        cloud.wait(20)
    assert other.id in fleet.text()
    assert list((tmp_path / "fleet").glob("*-fleet")) == []


@pytest.mark.slow
def test_two_fleets_are_one_run_on_one_page(trained: SmallRun, tmp_path: Path) -> None:
    secret, port = {"SCALREC_DASHBOARD__TOKEN": "of these fleets"}, free_port()
    page = f"http://127.0.0.1:{port}"
    view = CliRun(["dashboard", "--port", str(port)], tmp_path / "view", env=secret)
    nobody = ["--cloud", f"http://127.0.0.1:{free_port()}", "--set", "cloud.auth=off"]
    nobody += ["--bundle", str(trained.bundle), *trained.own, *QUICK]
    fleets = [
        CliRun(
            ["fleet", *nobody, "--users", "5", "--duration", "4", "--seed", str(seed)],
            tmp_path / f"fleet{seed}",
            env=secret | {"SCALREC_DASHBOARD__PUSH_URL": page, "SCALREC_DASHBOARD__RUN": "both"},
        )
        for seed in range(2)
    ]
    with view.started() as dashboard:
        view.wait_for(page, dashboard, timeout_s=60)
        with fleets[0].started() as first, fleets[1].started() as second:
            # Nobody answers at that address, and a fleet whose cloud is not there says so.
            assert (first.wait(120), second.wait(120)) == (1, 1), fleets[0].text()
        state = httpx.get(f"{page}/state", trust_env=False).json()
        dashboard.send_signal(signal.SIGTERM)
        assert dashboard.wait(20) == 0
    assert state["status"] == "finished"
    assert state["processes"] == 2
    assert state["facts"]["run"] == "both"
    assert state["total"]["requests"] == state["answered"] == state["due"] == 2 * 5 * 4
    assert state["total"]["from_snapshot"] == 0
    assert "of these fleets" not in view.text() + fleets[0].text() + fleets[1].text()
