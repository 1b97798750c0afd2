"""The small embedding server as a process of its own, to be killed and frozen like a real one."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2 as httpx

from tests.support.embedding_server import EmbeddingServer


@contextmanager
def embedder_process(port: int, *, dim: int = 64) -> Iterator[subprocess.Popen[bytes]]:
    """An embedding server at ``port`` until the block ends; whoever kills it must not mind."""
    command = [sys.executable, "-m", "tests.support.embedder_process", str(port), str(dim)]
    process = subprocess.Popen(command)
    try:
        give_up = time.monotonic() + 60
        while not _answers(port):
            assert process.poll() is None, "the embedding server ended"
            assert time.monotonic() < give_up, "the embedding server does not start"
            time.sleep(0.05)
        yield process
    finally:
        process.kill()
        process.wait()


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/v1/models", trust_env=False).is_success
    except httpx.HTTPError:
        return False


async def _serve(port: int, dim: int) -> None:
    async with EmbeddingServer(dim=dim, port=port, model="hashing-64").up():
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), int(sys.argv[2])))
