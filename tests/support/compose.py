"""A stack of docker-compose.yml under a project name of its own."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SMALL_LOG = ROOT / "tests" / "compose" / "small-log.yml"
# The small log has 45 readers, so the scenario's fleet has to be smaller.
SCENARIO = ("periodic-outage", "--users", "40")
SCENARIO_S = 600


class Stack:
    """Compose commands of one project.

    Args:
        project: name of containers, networks and volumes.
        env: variables of the compose file.
        files: beside docker-compose.yml.
    """

    def __init__(
        self, project: str, env: Mapping[str, str], files: Sequence[Path] = (SMALL_LOG,)
    ) -> None:
        self.project = project
        self._env = os.environ | dict(env)
        self._files = (ROOT / "docker-compose.yml", *files)

    def __call__(self, *arguments: str, timeout_s: float = 120, check: bool = True) -> str:
        """Run `docker compose ARGUMENTS`; its output. Fails with the services' logs."""
        named = [part for file in self._files for part in ("--file", str(file))]
        command = ["docker", "compose", "--project-name", self.project, *named, *arguments]
        code, output = _run(command, timeout_s, self._env)
        if check and code != 0:
            _, logs = _run([*command[: -len(arguments)], "logs", "--tail=25"], 60, self._env)
            shown = f"{' '.join(arguments)}: exit code {code}\n{output[-4000:]}\n{logs[-12000:]}"
            raise AssertionError(shown)
        return output

    def with_file(self, file: Path) -> Stack:
        """The same project under one more file."""
        return Stack(self.project, self._env, (*self._files[1:], file))

    def containers(self, service: str = "") -> list[dict[str, Any]]:
        """`docker inspect` of the containers, ended ones included."""
        listed = self("ps", "--all", "--quiet", *([service] if service else ())).split()
        return inspected(*listed)

    def remove(self) -> None:
        """Containers, networks and volumes; images stay."""
        self("--profile", "*", "down", "--volumes", "--remove-orphans", "--timeout", "5")


def assert_answered(stack: Stack) -> None:
    """The newest scenario's verdict: every request answered, and a history that holds."""
    newest = "cat $(ls -td /runs/*periodic-outage*/scenario.json | head -1)"
    verdict = json.loads(stack("exec", "-T", "fleet", "sh", "-c", newest))
    assert verdict["answered"] == verdict["due"] > 0, verdict
    assert not verdict["violations"], verdict


def cloud_metric(container: Mapping[str, Any], series: str) -> float:
    """Sum over one cloud process's metrics that begin with ``series``, by its admin port."""
    read = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8081/metrics').read().decode())"
    text = docker("exec", container["Id"], "python", "-c", read)
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(series))


def inspected(*names: str) -> list[dict[str, Any]]:
    """`docker inspect` of containers, images or volumes."""
    found: list[dict[str, Any]] = json.loads(docker("inspect", *names))
    return found


def docker(*arguments: str, timeout_s: float = 60) -> str:
    """Output of a docker command; AssertionError if it fails."""
    code, output = _run(["docker", *arguments], timeout_s, os.environ)
    assert code == 0, output
    return output


def _run(command: Sequence[str], timeout_s: float, env: Mapping[str, str]) -> tuple[int, str]:
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=timeout_s,
        env=env,
        check=False,
    )
    return done.returncode, done.stdout
