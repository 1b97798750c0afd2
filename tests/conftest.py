"""Test-wide set-up: threads, Hypothesis profiles, groups of tests, the run's text model."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling, Scheduling

from launch.model_files import resolve_model
from launch.vllm_server import VllmOptions, VllmServer
from scalrec.settings import load_settings
from shared.paths import default_cache_dir
from tests.support.tiers import FULL, QUICK, group_of

# As in scalrec/__main__.py: before anything loads torch.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers share the cores. Programs under test inherit it; vLLM's server is spared.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# No deadline for an example: it would tell of the machine's other work.
settings.register_profile("full", max_examples=FULL, deadline=None)
settings.register_profile("quick", max_examples=QUICK, deadline=None)
settings.load_profile("full")


class _Together(LoadScopeScheduling):
    """As ``--dist loadfile``, with some files in one group.

    Not ``loadgroup``: pytest-xdist 3.8 does not see groups under pytest 9.2.
    """

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling | None:
    return _Together(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.fixture(scope="session")
def minilm_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmServer]:
    """The run's one vLLM server of MiniLM, behind a key; its end must leave no process.

    The files that use it share a worker (``TOGETHER``).
    """
    folder = resolve_model("minilm", cache=default_cache_dir())
    python = load_settings().embedder.python
    options = VllmOptions(folder, "minilm", python=python, api_key="key-of-the-tests")
    server = VllmServer(options, log=tmp_path_factory.mktemp("vllm") / "vllm.log")
    asyncio.run(server.start())
    assert server.process is not None
    pids = server.process.pids
    yield server
    asyncio.run(server.stop())
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
