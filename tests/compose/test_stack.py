"""`docker compose up`, a scenario, more replicas, down and up again; and what containers may do."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx2 as httpx
import pytest

from tests.support.compose import (
    SCENARIO,
    SCENARIO_S,
    Stack,
    assert_answered,
    cloud_metric,
    docker,
    inspected,
)

pytestmark = pytest.mark.compose

PROXIES = ("proxy-api", "proxy-redis", "proxy-embedder")
LONG_LIVED = ("redis", *PROXIES, "cloud", "fleet", "dashboard")
ONE_SHOT = ("secrets", "model", "prepare")
NO_OP_S = 15


def test_every_service_is_healthy_and_prepared_once(hashing_stack: Stack) -> None:
    for service in LONG_LIVED:
        [container] = hashing_stack.containers(service)
        assert container["State"]["Health"]["Status"] == "healthy", service
    for service in ONE_SHOT:
        [container] = hashing_stack.containers(service)
        assert container["State"]["ExitCode"] == 0, service


def test_only_the_dashboard_and_the_api_are_published_on_loopback(
    hashing_stack: Stack, stack_ports: dict[str, int]
) -> None:
    published = {
        (container["Config"]["Labels"]["com.docker.compose.service"], port, host["HostIp"])
        for container in hashing_stack.containers()
        for port, hosts in container["NetworkSettings"]["Ports"].items()
        for host in hosts or ()
    }
    assert published == {
        ("proxy-api", "8080/tcp", "127.0.0.1"),
        ("dashboard", "8090/tcp", "127.0.0.1"),
    }

    page = httpx.get(f"http://127.0.0.1:{stack_ports['dashboard']}/", trust_env=False)
    assert page.status_code == 200
    assert "<html" in page.text
    api = f"http://127.0.0.1:{stack_ports['api']}"
    assert httpx.get(f"{api}/healthz", trust_env=False).status_code == 200
    refused = httpx.get(f"{api}/v1/users/reader1/snapshot", trust_env=False)
    assert refused.status_code == 401  # no token, no snapshot
    assert httpx.get(f"{api}/metrics", trust_env=False).status_code == 404


def test_containers_are_hardened(hashing_stack: Stack) -> None:
    for container in hashing_stack.containers():
        name, host = container["Name"], container["HostConfig"]
        assert container["Config"]["User"].split(":")[0] not in ("", "0", "root"), name
        assert host["ReadonlyRootfs"], name
        assert host["CapDrop"] == ["ALL"], name
        assert not host["CapAdd"], name
        assert any("no-new-privileges" in option for option in host["SecurityOpt"]), name
        assert not host["Privileged"], name
        assert host["Memory"] > 0, name
        assert host["PidsLimit"] > 0, name
        assert not any("docker.sock" in bind for bind in host["Binds"] or ()), name


def test_processes_have_no_privileges_and_cannot_write_the_root(hashing_stack: Stack) -> None:
    probe = "id -u; grep CapEff /proc/self/status; touch /usr/local/x 2>&1 || echo refused"
    for service in LONG_LIVED:
        output = hashing_stack("exec", "-T", service, "sh", "-c", probe).split("\n")
        assert int(output[0]) > 0, service
        assert int(output[1].split()[1], 16) == 0, service
        assert "refused" in output, service


def test_secrets_stand_in_no_configuration(hashing_stack: Stack) -> None:
    """Random, in volumes of their readers, and nowhere a `docker inspect` or history shows."""
    listed = "cat /run/secrets/*"
    held = {
        service: hashing_stack("exec", "-T", service, "sh", "-c", listed)
        for service in ("redis", "cloud", "fleet", "dashboard")
    }
    # Each file's value is one word; a Redis address holds the password.
    [password] = held["redis"].split()
    assert len(password) >= 40
    assert password in held["cloud"]
    assert password not in held["fleet"] + held["dashboard"]
    parts = " ".join(held.values())
    words = {w for w in [password, *parts.replace("\n", " ").split()] if len(w) >= 20}
    containers = hashing_stack.containers()
    images = {container["Image"] for container in containers}
    shown = json.dumps(containers) + json.dumps(inspected(*images))
    shown += "".join(docker("history", "--no-trunc", "--quiet=false", image) for image in images)
    assert not [word[:4] for word in words if word in shown]
    assert password not in shown


def test_redis_takes_nobody_without_the_password(hashing_stack: Stack) -> None:
    def redis(*command: str) -> str:
        return hashing_stack("exec", "-T", "redis", "redis-cli", *command, check=False)

    assert "NOAUTH" in redis("ping")
    password = hashing_stack("exec", "-T", "redis", "cat", "/run/secrets/password").strip()
    known = ("--no-auth-warning", "--user", "scalrec", "--pass", password)
    assert "NOPERM" in redis(*known, "flushall")
    assert "NOPERM" in redis(*known, "get", "somebody-elses-key")
    assert "NOPERM" in redis(*known, "config", "get", "dir")
    assert "PONG" in redis(*known, "ping")


def test_up_again_does_nothing_in_a_few_seconds(hashing_stack: Stack) -> None:
    def kept() -> dict[str, str]:
        return {c["Name"]: c["State"]["StartedAt"] for c in map(one, LONG_LIVED)}

    def one(service: str) -> dict[str, Any]:
        [container] = hashing_stack.containers(service)
        return container

    before = kept()
    spent = []
    for _ in range(2):
        started = time.monotonic()
        hashing_stack("up", "--wait", "--scale", "vllm=0", timeout_s=300)
        spent.append(time.monotonic() - started)
    assert kept() == before
    assert min(spent) < NO_OP_S, spent
    for service in ("model", "prepare"):
        assert "nothing has changed" in hashing_stack("logs", "--tail=1", service)


def test_the_one_shot_services_alone_end_with_0(hashing_stack: Stack) -> None:
    """Without --wait, which waits for services that stay (deploy/README.md)."""
    hashing_stack("up", "--no-deps", *ONE_SHOT, timeout_s=120)
    for service in ONE_SHOT:
        [container] = hashing_stack.containers(service)
        assert container["State"]["ExitCode"] == 0, service


def test_a_scenario_is_answered_in_full_and_seen_on_the_page(
    hashing_stack: Stack, stack_ports: dict[str, int]
) -> None:
    output = hashing_stack("run", "--rm", "-T", "loadtest", *SCENARIO, timeout_s=SCENARIO_S)

    assert_answered(hashing_stack)
    state = httpx.get(f"http://127.0.0.1:{stack_ports['dashboard']}/state", trust_env=False).json()
    assert "periodic-outage" in json.dumps(state), output[-2000:]
    # The fleet has its turn again, under the policy that the environment names.
    deadline = time.monotonic() + 90
    while "accumulated-drift, budget = 0.3" not in (
        text := httpx.get(
            f"http://127.0.0.1:{stack_ports['dashboard']}/state", trust_env=False
        ).text
    ):
        assert time.monotonic() < deadline, f"the fleet does not replay any more: {text[:2000]}"
        time.sleep(1)


def test_more_replicas_share_the_work(hashing_stack: Stack) -> None:
    scale = ("--scale", "vllm=0", "--scale", "fleet=4", "--scale", "cloud=2")
    hashing_stack("up", "--wait", *scale, timeout_s=600)
    hashing_stack("run", "--rm", "-T", "loadtest", *SCENARIO, timeout_s=SCENARIO_S)

    assert_answered(hashing_stack)
    assert len(hashing_stack.containers("fleet")) == 4
    served = [
        cloud_metric(container, 'scalrec_snapshots_total{outcome="fresh"}')
        for container in hashing_stack.containers("cloud")
    ]
    assert len(served) == 2
    assert min(served) > 0, f"one replica got all the work: {served}"


def test_down_and_up_keeps_bundle_and_secrets(hashing_stack: Stack) -> None:
    def kept() -> tuple[str, str]:
        manifest = (
            "sha256sum /work/bundles/*/manifest.json; stat -c %Y /work/bundles/*/manifest.json"
        )
        return (
            hashing_stack("exec", "-T", "cloud", "sh", "-c", manifest),
            hashing_stack("exec", "-T", "redis", "sha256sum", "/run/secrets/password"),
        )

    before = kept()
    hashing_stack("down", "--timeout", "10")
    hashing_stack("up", "--wait", "--scale", "vllm=0", timeout_s=300)
    assert kept() == before
    assert "bundle" in hashing_stack("logs", "prepare")
    assert "training" not in hashing_stack("logs", "prepare")
