"""`scalrec doctor`: is everything here that a run needs, and if not, what to do."""

from __future__ import annotations

import asyncio
import platform
import socket
import sys
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from cloud_service.embedding.factory import create_embedder
from cloud_service.store.snapshot_store import STORE_DEADLINE_S, RedisSnapshotStore
from launch.environments import find_vllm_python
from launch.redis_server import find_redis_server
from reports.marked import as_shown, marked
from scalrec.console import make_console
from scalrec.extras import extra_of
from scalrec.machine import WANTED_PYTHON, in_checkout
from scalrec.options import EmbedderOption, ModelOption, SetOption, settings_from
from scalrec.settings import Settings
from shared.addresses import masked_address
from shared.bundle import load_bundle
from shared.errors import ScalrecError

PROBE_TIMEOUT_S = 3.0


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report; ``advice`` is what to do when it is not ok."""

    name: str
    ok: bool
    found: str
    advice: str = ""


def doctor(
    bundle: Annotated[
        Path | None, typer.Option(help="Also verify this bundle (default: all under work_dir).")
    ] = None,
    embedder: EmbedderOption = None,
    model: ModelOption = None,
    assignments: SetOption = None,
) -> None:
    """Check environment, port, Redis, embedder and bundles; exit 1 if something is missing."""
    settings = settings_from(embedder=embedder, model=model, assignments=assignments)
    checks = [
        check_python(),
        *check_packages(),
        check_port(settings.cloud.host, settings.cloud.port),
        asyncio.run(check_redis(settings)),
        check_embedder(settings),
        check_deadlines(settings),
        *check_bundles(settings, bundle),
        check_writable("work_dir", settings.work_dir),
        check_writable("cache", settings.cache),
    ]
    table = Table(box=None, show_header=False)
    for check in checks:
        mark = marked("[green]✓[/]" if check.ok else "[red]✗[/]")
        advice = () if check.ok else (marked("\n[yellow]→ {}[/]", check.advice),)
        table.add_row(mark, check.name, Text.assemble(as_shown(check.found), *advice))
    make_console().print(table)
    if not all(check.ok for check in checks):
        raise typer.Exit(1)


def check_python() -> Finding:
    first, last = WANTED_PYTHON
    ok = first <= sys.version_info[:2] <= last
    found = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    wanted = " to ".join(".".join(map(str, one)) for one in WANTED_PYTHON)
    return Finding("python", ok, found, f"make an environment with one of Python {wanted}")


def check_packages() -> list[Finding]:
    """Versions of the large packages; what an installation was made without is no mistake."""
    checks = [Finding("scalrec", True, version("scalrec"))]
    for package in ("onnxruntime", "fastapi", "redis", "polars", "torch", "transformers"):
        try:
            checks.append(Finding(package, True, version(package)))
        except PackageNotFoundError:
            extra = extra_of(package)
            told = f"not installed; what needs it: pip install 'scalrec[{extra}]'"
            checks.append(Finding(package, not in_checkout(), told, "run `make env`"))
    return checks


def check_port(host: str, port: int) -> Finding:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return Finding(
                "cloud port",
                False,
                f"{host}:{port} {error.strerror}",
                "stop what listens there or choose another with --set cloud.port=N (0: any free)",
            )
    return Finding("cloud port", True, f"{host}:{port} is free")


async def check_redis(settings: Settings) -> Finding:
    url = settings.cloud.redis_url
    if url is None:
        return _attempt(
            "redis",
            lambda: f"{find_redis_server()}, started as a child when needed",
            "install redis-server, or set REDIS_URL",
        )
    try:
        store = RedisSnapshotStore(url.get_secret_value(), ttl_s=1, deadline_s=PROBE_TIMEOUT_S)
        async with aclosing(store):
            await store.ping()
    except ScalrecError as error:
        return Finding("redis", False, "cannot keep snapshots", str(error))
    return Finding("redis", True, "takes, gives and removes what snapshots need")


def check_embedder(settings: Settings) -> Finding:
    backend = settings.embedder.backend
    name = f"embedder ({backend}, {settings.embedder.model})"
    if url := settings.embedder.url:
        return asyncio.run(_probe_embedder(name, settings, url))
    if backend != "vllm":
        return Finding(name, True, "runs inside the process")
    return _attempt(
        name,
        lambda: f"vLLM in {find_vllm_python(settings.embedder.python, cache=settings.cache)}",
        "run `make env`, or use EMBEDDER=transformers",
    )


async def _probe_embedder(name: str, settings: Settings, url: str) -> Finding:
    embedder = create_embedder(settings.embedder, model_dir=None, url=url)
    try:
        await embedder.ready()
        return Finding(
            name, True, f"{masked_address(url)} answers with {embedder.identity.dim} dims"
        )
    except ScalrecError as error:
        return Finding(name, False, str(error), "start the server, or unset embedder.url")
    finally:
        await embedder.aclose()


def check_deadlines(settings: Settings) -> Finding:
    """A device must wait longer than the cloud, or stale-if-error answers come too late."""
    cloud = settings.embedder.deadline_s + STORE_DEADLINE_S
    device = settings.device.link.deadline_s
    return Finding(
        "deadlines",
        cloud < device,
        f"cloud {cloud:g} s (embedder and store), device {device:g} s",
        "raise device.link.deadline_s above embedder.deadline_s and the store's",
    )


def check_bundles(settings: Settings, bundle: Path | None) -> list[Finding]:
    paths = [bundle] if bundle else sorted((settings.work_dir / "bundles").glob("*/manifest.json"))
    folders = [p if p == bundle else p.parent for p in paths]
    if not folders:
        return [Finding("bundle", True, "none yet; `scalrec export` makes one")]
    return [
        _attempt(
            f"bundle {folder.name}",
            lambda folder=folder: f"{load_bundle(folder).id}, every file matches its manifest",  # type: ignore[misc]
            "run `scalrec export` again",
        )
        for folder in folders
    ]


def check_writable(name: str, folder: Path) -> Finding:
    probe = folder / ".scalrec-doctor"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        return Finding(name, False, f"{folder}: {error.strerror}", f"choose another {name}")
    return Finding(name, True, f"{folder.absolute()} is writable")


def _attempt(name: str, probe: Callable[[], str], advice: str) -> Finding:
    try:
        return Finding(name, True, probe())
    except ScalrecError as error:
        return Finding(name, False, str(error), advice)
