"""An engine, and the stack on it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from launch.ports import free_port
from tests.support.compose import ROOT, SMALL_LOG, Stack
from tests.support.small_log import small_log

TOOLS = "SCALREC_ENGINE_TOOLS"
ENGINE_SCRIPTS = ("host-setup.sh", "start-docker.sh", "make-base-images.sh")
BUILD_S = 1800


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of the shared stack come last: its fleets keep the machine busy until the end."""
    items.sort(key=lambda item: "hashing_stack" in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def engine() -> None:
    """A Docker engine with Compose, started if tools for that are named; in CI there must be one.

    With tools, the local stand-ins of the base images are made as well.
    """
    if tools := os.environ.get(TOOLS):
        for script in ENGINE_SCRIPTS:
            done = subprocess.run(
                ["bash", str(Path(tools) / script)], capture_output=True, text=True, timeout=600
            )
            assert done.returncode == 0, f"{script}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    elif reason := _no_engine():
        if os.environ.get("CI"):
            pytest.fail(f"no Docker engine with Compose v2, and {TOOLS} names no way to one")
        pytest.skip(f"needs a Docker engine with Compose v2: {reason}")
    # As `make up` does before it builds.
    subprocess.run([sys.executable, str(ROOT / "deploy" / "find_wheels.py")], check=True)


def _no_engine() -> str:
    for command in (["docker", "info"], ["docker", "compose", "version"]):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        except OSError as error:
            return str(error)
        if done.returncode != 0:
            return done.stderr.strip()[-300:]
    return ""


@pytest.fixture(scope="module")
def ports() -> dict[str, int]:
    return {"api": free_port(), "dashboard": free_port()}


@pytest.fixture(scope="module")
def env(ports: dict[str, int], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the compose file takes from the environment, for the small log."""
    return small_environment(ports, tmp_path_factory)


def small_environment(
    ports: Mapping[str, int], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """The small log in a folder of its own, and a small fleet on it."""
    folder = tmp_path_factory.mktemp("compose")
    folder.chmod(0o755)
    for file in small_log(folder):
        file.chmod(0o644)
    return {
        "SMALL_LOG": str(folder),
        "SCALREC_API_PORT": str(ports["api"]),
        "SCALREC_DASHBOARD_PORT": str(ports["dashboard"]),
        "SCALREC_REPLAY__USERS": "10",
        "SCALREC_REPLAY__DURATION_S": "30",
        "SCALREC_DEVICE__POLICY": "accumulated-drift",
        "SCALREC_DEVICE__BUDGET": "0.3",
        "SCALREC_DEVICE__BUDGET_SCOPE": "fleet",
    }


@pytest.fixture(scope="session")
def stack_ports() -> dict[str, int]:
    """Those of ``hashing_stack``."""
    return {name: free_port() for name in ("api", "dashboard", "prometheus")}


@pytest.fixture(scope="session")
def hashing_stack(
    engine: None, stack_ports: dict[str, int], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """The whole stack but vLLM, with the tests' embedder; built, up and healthy.

    One for all files, since it takes minutes: who changes it leaves it as it was.
    """
    env = small_environment(stack_ports, tmp_path_factory)
    env["SCALREC_PROMETHEUS_PORT"] = str(stack_ports["prometheus"])
    with up_without_vllm("scalrec-test", env) as stack:
        yield stack


@contextmanager
def up_without_vllm(
    name: str, env: Mapping[str, str], files: Sequence[Path] = (SMALL_LOG,)
) -> Iterator[Stack]:
    """A stack with the tests' embedder, removed at the end; arguments as for ``Stack``."""
    hashing = {"SCALREC_EMBEDDER__BACKEND": "hashing", "SCALREC_EMBEDDER__MODEL": "hashing-64"}
    stack = Stack(f"{name}-{os.getpid()}", {**env, **hashing}, files)
    try:
        stack(
            "build", "secrets", "model", "redis", timeout_s=BUILD_S
        )  # not vLLM's image, which is large
        stack("up", "--wait", "--scale", "vllm=0", timeout_s=BUILD_S)
        yield stack
    finally:
        stack.remove()
