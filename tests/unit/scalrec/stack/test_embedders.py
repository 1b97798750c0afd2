"""What embeds for training, and the server that starts beside it where devices will ask."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from launch.environments import EnvironmentMissing
from scalrec.settings import Settings, load_settings
from scalrec.stack.embedders import Embedders, embedders
from shared.errors import LaunchError
from shared.progress import NullProgress
from tests.support.text_models import WIDTH, tiny_model
from tests.support.vllm_stand_in import vllm_stand_in


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("models") / "tiny", ["heat", "fargo"])


def opened(
    folder: Path,
    model: Path,
    *,
    serves: bool = True,
    fallback: bool = False,
    said: io.StringIO | None = None,
    **embedder: Any,
) -> AbstractAsyncContextManager[Embedders]:
    given = {"backend": "vllm", "model": str(model), "python": "/nowhere"} | embedder
    settings: Settings = load_settings(embedder=given, cache=folder, work_dir=folder)
    console = Console(file=said or io.StringIO(), width=200)
    return embedders(
        settings, serves=serves, logs=folder, progress=NullProgress(), console=console,
        allow_fallback=fallback,
    )  # fmt: skip


async def test_training_alone_needs_no_vllm(tmp_path: Path, model: Path) -> None:
    async with opened(tmp_path, model, serves=False) as found:
        assert await found.serving() is found.training
        async with aclosing(found.training.connect(1)) as client:
            vectors = await client.embed(["heat", "fargo"])
    assert vectors.shape == (2, WIDTH)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    assert not np.allclose(vectors[0], vectors[1], atol=0.01)


async def test_a_missing_vllm_is_said_before_training_not_after(
    tmp_path: Path, model: Path
) -> None:
    with pytest.raises(EnvironmentMissing, match="/nowhere"):
        async with opened(tmp_path, model):
            pytest.fail("training began")


async def test_the_fallback_is_said_before_training_too(tmp_path: Path, model: Path) -> None:
    said = io.StringIO()
    async with opened(tmp_path, model, fallback=True, said=said) as found:
        assert "using transformers instead" in said.getvalue()
        assert found.training.fallback_reason == ""
        served = await found.serving()
    assert served.settings.backend == "transformers"
    assert "/nowhere" in served.fallback_reason


async def test_the_server_starts_beside_training_and_ends_with_the_run(
    tmp_path: Path, model: Path
) -> None:
    python = vllm_stand_in(tmp_path)
    async with opened(tmp_path, model, python=str(python)) as found:
        assert found.training.settings.backend == "transformers"
        assert found.training.process is None
        served = await found.serving()
        assert served.settings.backend == "vllm"
        assert served.settings.url is not None
        assert served.process is not None
        assert served.process.running
        assert await found.serving() is served
    assert not served.process.running


async def test_a_run_that_ends_early_leaves_no_server(tmp_path: Path, model: Path) -> None:
    python = vllm_stand_in(tmp_path)
    with suppress(ZeroDivisionError):
        async with opened(tmp_path, model, python=str(python)) as found:
            starting = found.starting
            await asyncio.sleep(0.05)
            raise ZeroDivisionError
    assert starting is not None
    assert starting.done()
    commands = [_read(path) for path in Path("/proc").glob("[0-9]*/cmdline")]
    assert not [command for command in commands if str(python).encode() in command]


async def test_a_server_that_does_not_start_fails_whoever_needs_it(
    tmp_path: Path, model: Path
) -> None:
    python = vllm_stand_in(tmp_path)
    python.write_text("#!/bin/sh\necho no such processor; exit 3\n")
    async with opened(tmp_path, model, python=str(python)) as found:
        await asyncio.sleep(0.05)  # training
        with pytest.raises(LaunchError, match="no such processor"):
            await found.serving()


async def test_where_training_is_served_both_are_one(tmp_path: Path, model: Path) -> None:
    python = vllm_stand_in(tmp_path)
    async with opened(tmp_path, model, python=str(python), bulk="served") as found:
        assert found.training.settings.backend == "vllm"
        assert await found.serving() is found.training


@pytest.fixture(autouse=True)
async def nothing_left() -> AsyncIterator[None]:
    yield
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
