"""A secret in every address that can be set, and then in nothing that is printed or written."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import httpx2 as httpx
import pytest

from launch.ports import free_port
from tests.support.bundles import make_bundle
from tests.support.runs_of_cli import CliRun
from tests.support.small_run import QUICK, SmallRun

CANARY = "canary7d1fe2"


def planted(scheme: str, path: str = "") -> str:
    """An address where nobody listens, with the canary before its host and in its query."""
    return f"{scheme}://ann:{CANARY}@127.0.0.1:{free_port()}{path}?key={CANARY}#{CANARY}"


def every_address() -> list[str]:
    settings = {
        "cloud.redis_url": f"redis://ann:{CANARY}@127.0.0.1:{free_port()}/0?client_name={CANARY}",
        "embedder.backend": "vllm",
        "embedder.url": planted("http", "/v1"),
        "device.link.url": planted("http"),
        "dashboard.push_url": planted("http"),
        "dashboard.token": CANARY,
    }
    return [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]


@pytest.mark.slow
def test_the_service_tells_none(tmp_path: Path) -> None:
    port, admin = free_port(), free_port()
    bundle = make_bundle(tmp_path / "bundle", text_dim=64)
    run = CliRun(
        ["serve", "--bundle", str(bundle.path), "--port", str(port), *QUICK, *every_address(),
         "--set", f"cloud.admin_port={admin}", "--set", "cloud.auth=off"],
        tmp_path / "cloud",
    )  # fmt: skip
    told = []
    with run.started() as process, httpx.Client(trust_env=False, timeout=20) as http:
        run.wait_for("API at /docs", process, timeout_s=60)
        time.sleep(1)  # the message comes just before the service listens
        body = {"abstract": "reads novels", "step": 1}
        public, inner = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{admin}"
        ready = http.get(f"{public}/readyz")
        why = http.get(f"{inner}/readyz")
        told = [ready, why, http.post(f"{public}/v1/users/ann/snapshot", json=body)]
        told += [
            http.get(f"{public}/v1/users/ann/snapshot"),
            http.get(f"{public}/nowhere?{CANARY}"),
        ]
        told += [http.get(f"{inner}/{page}") for page in ("metrics", "docs", "openapi.json")]
        process.send_signal(signal.SIGTERM)
        process.wait(20)
    assert ready.json()["checks"] | {"service": "ok"} == {
        "store": "not ready", "embedder": "not ready", "bundle": "ok", "service": "ok",
    }  # fmt: skip
    assert "127.0.0.1" in why.json()["detail"]
    assert [answer.status_code for answer in told[2:4]] == [503, 503]
    assert all("127.0.0.1" not in answer.text for answer in [ready, *told[2:4]])
    everything = run.text() + "".join(f"{answer.headers} {answer.text}" for answer in told)
    assert "redis" in everything
    assert CANARY not in everything
    assert CANARY not in written(tmp_path / "cloud")
    assert "Traceback" not in run.text()


@pytest.mark.slow
def test_a_run_and_the_doctor_tell_none(trained: SmallRun, tmp_path: Path) -> None:
    small = ["--users", "4", "--duration", "2", "--set", "cloud.auth=off"]
    use = ["--bundle", str(trained.bundle), *trained.own, *QUICK]
    fleet = CliRun(["fleet", *use, *every_address(), *small], tmp_path / "fleet")
    with fleet.started() as process:
        process.wait(120)
    doctor = CliRun(["doctor", *every_address()], tmp_path / "doctor")
    with doctor.started() as process:
        process.wait(120)
    assert list((tmp_path / "fleet").glob("*/run.json")), fleet.text()
    for text in (fleet.text(), doctor.text(), written(tmp_path / "fleet")):
        assert CANARY not in text, text[max(0, text.index(CANARY) - 300) :][:600]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--set", f"device.link.url=http://ann:{CANARY}/x@host:port"],
        ["--set", f"device.link.url=ftp://ann:{CANARY}@host"],
        ["--set", f"device.link.url=http://ann:{CANARY} {CANARY}@host:99999999"],
        ["--cloud", f"ann:{CANARY}@host:80"],
    ],
)
@pytest.mark.slow
def test_an_address_that_is_none_is_refused_without_its_secret(
    arguments: list[str], trained: SmallRun, tmp_path: Path
) -> None:
    use = ["--bundle", str(trained.bundle), *trained.own, *QUICK, "--set", "cloud.auth=off"]
    run = CliRun(["fleet", *use, *arguments, "--users", "2", "--duration", "2"], tmp_path / "f")
    with run.started() as process:
        assert process.wait(60) == 2, run.text()
    assert "device.link.url" in run.text()
    assert CANARY not in run.text()
    assert "Traceback" not in run.text()


def written(folder: Path) -> str:
    """All files of a run as text."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return "".join(path.read_bytes().decode("latin-1") for path in files)
