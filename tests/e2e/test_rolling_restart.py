"""Stopping a service: it says so first, serves on for a while, and loses no request."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path

import httpx2 as httpx
import pytest

from launch.ports import free_port
from launch.redis_server import RedisServer
from tests.support.balancer import Balancer
from tests.support.bundles import make_bundle
from tests.support.guarded import guarded
from tests.support.runs_of_cli import CliRun
from tests.support.small_run import QUICK

DRAIN_S = 1.5


def replica(tmp_path: Path, name: str, port: int, *options: str) -> CliRun:
    bundle = tmp_path / "bundle"
    if not bundle.exists():
        make_bundle(bundle, text_dim=64)
    sets = ["cloud.admin_port=0", "cloud.auth=off", *options]
    arguments = ["serve", "--bundle", str(bundle), "--port", str(port), *QUICK]
    return CliRun([*arguments, *(p for s in sets for p in ("--set", s))], tmp_path / name)


@pytest.mark.slow
async def test_no_request_is_lost_when_replicas_are_restarted_in_turn(tmp_path: Path) -> None:
    ports = [free_port(), free_port()]
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    answers: list[tuple[int, str]] = []
    done = asyncio.Event()

    async def load(user: str, http: httpx.AsyncClient) -> None:
        step = 0
        while not done.is_set():
            step += 1
            body = {"abstract": f"reads novels, {step}", "step": step}
            path = f"/v1/users/{user}/snapshot"
            both = await http.post(path, json=body), await http.get(path)
            answers.extend((answer.status_code, answer.text[:300]) for answer in both)
            await asyncio.sleep(0.02)

    async with RedisServer(tmp_path / "redis") as redis:
        options = [
            f"cloud.redis_url={redis.url.get_secret_value()}",
            f"cloud.drain_s={DRAIN_S}",
            "cloud.device_requests_per_minute=0",
        ]
        runs = [replica(tmp_path, f"cloud{n}", port, *options) for n, port in enumerate(ports)]
        processes = [run.start() for run in runs]
        try:
            async with (
                Balancer(urls) as balancer,
                guarded(balancer.app) as (_, port),
                httpx.AsyncClient(
                    base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=15
                ) as http,
            ):
                await balancer.until_ready(2)
                loads = [asyncio.create_task(load(f"u{n}", http)) for n in range(8)]
                for n in range(2):
                    processes[n].send_signal(signal.SIGTERM)
                    assert await asyncio.to_thread(processes[n].wait, 30) == 0
                    processes[n] = runs[n].start()
                    await balancer.until_ready(2)
                done.set()
                await asyncio.gather(*loads)
        finally:
            for process in processes:
                process.kill()
                process.wait()
    assert [answer for answer in answers if answer[0] != 200] == []
    assert len(answers) > 200
    assert all("Traceback" not in run.text() for run in runs)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_that_it_goes_and_serves_on_and_ends_quietly(
    number: signal.Signals, tmp_path: Path
) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    run = replica(tmp_path, "cloud", port, f"cloud.drain_s={DRAIN_S}")
    with run.started() as process, httpx.Client(trust_env=False, base_url=url, timeout=5) as http:
        run.wait_for("API at /docs", process, timeout_s=60)
        for _ in range(100):
            if httpx.get(f"{url}/readyz", trust_env=False, timeout=5).status_code == 200:
                break
            time.sleep(0.05)
        http.get("/healthz")
        process.send_signal(number)
        signalled = time.monotonic()
        answer = http.get("/readyz")
        while answer.status_code == 200:
            answer = http.get("/readyz")
        assert answer.status_code == 503
        assert answer.headers["Connection"] == "close"
        problem = answer.json()
        assert problem["type"] == "urn:scalrec:not-ready"
        assert "the service is stopping" in problem["detail"]
        served = http.post("/v1/users/ann/snapshot", json={"abstract": "reads", "step": 1})
        assert served.status_code == 200
        assert process.wait(20) == 0
        assert time.monotonic() - signalled >= DRAIN_S
    text = run.text()
    assert "Traceback" not in text
    assert "stopped" in text.splitlines()[-1]


@pytest.mark.slow
def test_a_second_signal_ends_the_wait(tmp_path: Path) -> None:
    run = replica(tmp_path, "cloud", free_port(), "cloud.drain_s=300")
    with run.started() as process:
        run.wait_for("API at /docs", process, timeout_s=60)
        time.sleep(1)  # the message comes just before the service listens
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert run.left_over() == []
