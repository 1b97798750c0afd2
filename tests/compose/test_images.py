"""Images by themselves: from a private checkout, under any user, all in one command."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from launch.ports import free_port
from tests.compose.conftest import BUILD_S
from tests.support.compose import ROOT, docker, inspected

pytestmark = pytest.mark.compose

# As a platform runs it that gives users of its own: no entry in /etc/passwd, group 0.
SOMEBODY = "1234560000:0"
CONFINED = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--tmpfs=/tmp")
WAIT_S = 600


def built(folder: Path, target: str) -> str:
    """An image of a checkout's target; its name, for tests alone."""
    name = f"scalrec-test-{target}"
    file = str(folder / "deploy" / "Dockerfile")
    docker(
        "build", "--target", target, "--file", file, "--tag", name, str(folder), timeout_s=BUILD_S
    )
    return name


@pytest.fixture(scope="module")
def private_checkout(engine: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What git has of this checkout, cloned under umask 077."""
    folder = tmp_path_factory.mktemp("clone") / "scalrec"
    clone = f"umask 077 && git clone -q {ROOT} {folder}"
    subprocess.run(["sh", "-c", clone], check=True, timeout=120)
    assert (folder / "deploy" / "bin" / "once.py").stat().st_mode & 0o077 == 0
    # Read by root alone, in the build; so the layers of packages are those of other builds.
    subprocess.run(["chmod", "-R", "u=rwX,go=rX", str(folder / "requirements")], check=True)
    return folder


def test_images_of_a_private_checkout_start_under_any_user(private_checkout: Path) -> None:
    image = built(private_checkout, "runtime")
    look = "find /usr/local/lib/scalrec /etc/scalrec ! -perm -0444; python -m scalrec --help"
    for user in ("10001:10001", SOMEBODY):
        shown = docker("run", "--rm", "--user", user, *CONFINED, image, "sh", "-c", look)
        assert shown.strip().startswith("Usage"), shown
    write = "touch /work/a /cache/a /runs/a && python -c 'import getpass; getpass.getuser()'"
    docker("run", "--rm", "--user", SOMEBODY, image, "sh", "-c", write)


def test_redis_of_a_private_checkout_starts_and_wants_its_password(private_checkout: Path) -> None:
    image = built(private_checkout, "redis")
    said = subprocess.run(
        ["docker", "run", "--rm", *CONFINED, image], capture_output=True, text=True, timeout=60
    )
    assert "/run/secrets/password" in said.stderr  # it could read its script, and there is none
    assert "Permission denied" not in said.stderr


@pytest.fixture(scope="module")
def playground(engine: None) -> Iterator[tuple[str, int]]:
    """The playground as the README starts it, but confined and under somebody's number."""
    image, port = built(ROOT, "playground"), free_port()
    name = f"scalrec-test-playground-{os.getpid()}"
    options = ("--detach", "--init", "--name", name, "--user", SOMEBODY, *CONFINED)
    docker("run", *options, "--publish", f"127.0.0.1:{port}:8090", image)
    try:
        yield name, port
    finally:
        docker("rm", "--force", name)


def test_the_playground_shows_devices_that_are_answered(playground: tuple[str, int]) -> None:
    name, port = playground
    deadline = time.monotonic() + WAIT_S
    state: dict[str, Any] = {}
    while not answered(state):
        [container] = inspected(name)
        assert container["State"]["Running"], docker("logs", name)[-4000:]
        assert time.monotonic() < deadline, docker("logs", name)[-4000:]
        time.sleep(1)
        try:
            address = f"http://127.0.0.1:{port}"
            state = httpx.get(f"{address}/state", trust_env=False).json()
        except (httpx.TransportError, ValueError):
            continue
    page = httpx.get(f"http://127.0.0.1:{port}/", trust_env=False)
    assert page.status_code == 200
    assert "<html" in page.text


def test_the_playground_holds_no_secret_and_stops_in_order(playground: tuple[str, int]) -> None:
    name, _ = playground
    [container] = inspected(name)
    [image] = inspected(container["Image"])
    assert image["Config"]["User"] == "10001"
    described = json.dumps(image["Config"]) + docker("history", "--no-trunc", container["Image"])
    assert "KEY" not in described
    assert "TOKEN" not in described
    docker("stop", "--time", "40", name)
    [container] = inspected(name)
    assert container["State"]["ExitCode"] in (0, 143), docker("logs", name)[-2000:]


def answered(state: dict[str, Any]) -> bool:
    """Whether the live view's run has ranked with what the cloud sent."""
    return bool(state.get("answered", 0) and state["total"]["from_snapshot"])
