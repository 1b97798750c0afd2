from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from launch.environments import EnvironmentMissing
from launch.vllm_server import VllmOptions, VllmServer
from shared.errors import LaunchError

PYTHON = Path("/env/bin/python")


def test_cpu_command_and_environment() -> None:
    options = VllmOptions(
        Path("/m"), "minilm", number_format="bfloat16", extra_args=("--max-num-seqs", "8")
    )
    command = options.command(PYTHON, 4711)
    assert command[:3] == [str(PYTHON), "-m", "vllm.entrypoints.openai.api_server"]
    settings = dict(pairwise(command))
    assert settings["--pooler-config"] == '{"pooling_type": "MEAN"}'
    assert settings["--host"] == "127.0.0.1"
    assert settings["--port"] == "4711"
    assert settings["--served-model-name"] == "minilm"
    assert settings["--dtype"] == "bfloat16"
    assert "--enforce-eager" in command
    assert command[-2:] == ["--max-num-seqs", "8"]
    environ = {"PATH": "/bin", "PYTHONPATH": "/ours", "OMP_NUM_THREADS": "1"}
    env = options.environment(environ)
    assert env["PATH"] == "/bin"
    assert "PYTHONPATH" not in env
    assert "OMP_NUM_THREADS" not in env
    assert env["VLLM_CPU_KVCACHE_SPACE"] == "1"
    assert env["VLLM_CPU_NUM_OF_RESERVED_CPU"] == "0"
    assert env["HF_HUB_OFFLINE"] == "1"
    assert "VLLM_API_KEY" not in env


def test_gpu_sends_nothing_of_the_cpu_settings() -> None:
    options = VllmOptions(Path("/m"), "llama", device="gpu", pooling="LAST", api_key="secret")
    command = options.command(PYTHON, 1)
    assert "--enforce-eager" not in command
    assert "--dtype" not in command
    assert '{"pooling_type": "LAST"}' in command
    env = options.environment({})
    assert not any(name.startswith("VLLM_CPU") for name in env)
    assert env["VLLM_API_KEY"] == "secret"
    assert not any("secret" in part for part in command)


async def test_start_names_what_is_missing(tmp_path: Path) -> None:
    absent = VllmOptions(tmp_path, "m", python=tmp_path / "absent")
    with pytest.raises(EnvironmentMissing, match="not an executable file"):
        await VllmServer(absent, log=tmp_path / "log").start()
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho no vllm here; exit 3\n")
    python.chmod(0o755)
    no_model = VllmOptions(tmp_path, "m", python=python)
    with pytest.raises(LaunchError, match=r"no config\.json"):
        await VllmServer(no_model, log=tmp_path / "log").start()
    (tmp_path / "config.json").write_text("{}")
    server = VllmServer(no_model, log=tmp_path / "log")
    with pytest.raises(LaunchError, match=r"exit code 3[\s\S]*no vllm here[\s\S]*transformers"):
        await server.start()
    assert server.process is not None
    assert not server.process.running
