"""A vLLM embedding server as a child process, in the environment of its own that vLLM needs."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import httpx2 as httpx

from launch.environments import find_vllm_python
from launch.ports import LOOPBACK, claim_port
from launch.process import ChildProcess, OnWait
from shared.errors import LaunchError
from shared.number_format import NumberFormat, cpu_number_format

HEALTH_TIMEOUT_S = 2.0
FIRST_EMBEDDING_TIMEOUT_S = 60.0
# Not `vllm serve`: the CPU build is a distribution of another name, which that command looks up.
MODULE = "vllm.entrypoints.openai.api_server"


@dataclass(frozen=True)
class VllmOptions:
    """How to start the server.

    Attributes:
        model_dir: local folder of the model (see ``model_files.resolve_model``).
        served_name: the name clients ask for.
        python: interpreter of vLLM's environment; None: the one the bootstrap made.
        port: None or 0 picks a free one.
        pooling: ``MEAN`` as in the paper (no prefix caching), or ``LAST`` (prefix caching).
        max_model_len: tokens of the longest text the server takes.
        device: ``cpu``, or ``gpu`` (unverified): then nothing of the CPU's settings is sent.
        number_format: of weights and products on a CPU; None: what this one is quickest in.
        kv_cache_gib: memory for the key/value cache on a CPU.
        api_key: clients must send it as a bearer token; None: the loopback server is open.
        extra_args: appended to the command line, so they win.
    """

    model_dir: Path
    served_name: str
    python: Path | None = None
    port: int | None = None
    pooling: Literal["MEAN", "LAST"] = "MEAN"
    max_model_len: int = 512
    device: Literal["cpu", "gpu"] = "cpu"
    number_format: NumberFormat | None = None
    kv_cache_gib: int = 1
    api_key: str | None = None
    extra_args: tuple[str, ...] = ()

    def command(self, python: Path, port: int) -> list[str]:
        """The command line of the server."""
        options = {
            "--model": str(self.model_dir),
            "--served-model-name": self.served_name,
            "--host": LOOPBACK,
            "--port": str(port),
            "--runner": "pooling",
            "--pooler-config": json.dumps({"pooling_type": self.pooling}),
            "--max-model-len": str(self.max_model_len),
        }
        flags = ["--disable-uvicorn-access-log"]
        if self.device == "cpu":
            options["--dtype"] = self.number_format or cpu_number_format()
            flags.append("--enforce-eager")  # compiling takes minutes and gains little here
        pairs = [part for pair in options.items() for part in pair]
        return [str(python), "-m", MODULE, *pairs, *flags, *self.extra_args]

    def environment(self, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
        """The server's environment: the inherited one, offline, without statistics."""
        # PYTHONPATH of our environment must not leak into vLLM's; a thread limit meant for us
        # would slow it down.
        unwanted = {"PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE"}
        unwanted |= {"OMP_NUM_THREADS", "OMP_WAIT_POLICY"}
        env = {name: value for name, value in environ.items() if name not in unwanted}
        env |= {
            "HF_HUB_OFFLINE": "1",
            "TRANSFORMERS_OFFLINE": "1",
            "VLLM_NO_USAGE_STATS": "1",
            "DO_NOT_TRACK": "1",
        }
        if self.device == "cpu":
            env["VLLM_CPU_KVCACHE_SPACE"] = str(self.kv_cache_gib)
            env.setdefault("VLLM_CPU_NUM_OF_RESERVED_CPU", "0")  # else one core stays idle
        if self.api_key is not None:
            env["VLLM_API_KEY"] = self.api_key
        return env


class VllmServer:
    """vLLM's OpenAI-compatible server on a loopback port; ready means it has embedded a text.

    Args:
        options: what to start.
        log: file for the server's output.
        start_timeout_s: for the first embedding to arrive; compiling or a cold disk need more.
    """

    def __init__(self, options: VllmOptions, *, log: Path, start_timeout_s: float = 300.0) -> None:
        self.options = options
        self._log = log
        self._start_timeout_s = start_timeout_s
        self.port = 0
        self.dimension = 0
        self.seconds_to_ready = 0.0
        self.process: ChildProcess | None = None
        self._scratch: Path | None = None

    @property
    def url(self) -> str:
        """``http://127.0.0.1:port``; set once started."""
        return f"http://{LOOPBACK}:{self.port}"

    async def start(self, *, on_wait: OnWait | None = None) -> str:
        """Start and wait for the first embedding; returns the URL. Port stays over restarts.

        Raises:
            EnvironmentMissing: vLLM is not installed; names the command that does it.
            LaunchError: port taken, model folder missing, or the server did not come up; carries
                the log's tail.
        """
        python = find_vllm_python(self.options.python)
        if not (self.options.model_dir / "config.json").is_file():
            raise LaunchError(f"{self.options.model_dir} has no config.json: not a model folder")
        if self.process is not None and not self.process.running:
            await self.stop()  # releases what a server that ended by itself has left
        self.port = claim_port(self.port or self.options.port)
        # Of its own, since vLLM leaves rendezvous files behind; short, since sockets go in there.
        self._scratch = Path(tempfile.mkdtemp(prefix="scalrec-vllm-"))
        self.process = ChildProcess(
            "vLLM server",
            self.options.command(python, self.port),
            log=self._log,
            env=self.options.environment() | {"TMPDIR": str(self._scratch)},
            hint="To do without vLLM, set embedder.backend (EMBEDDER) to transformers.",
        )
        try:
            self.process.start()
            self.seconds_to_ready = await self.process.wait_ready(
                self._probe, self._start_timeout_s, on_wait=on_wait
            )
        except BaseException:
            await self.stop()
            raise
        return self.url

    async def stop(self) -> None:
        """End the server and its workers; safe to call twice."""
        try:
            if self.process is not None:
                await self.process.stop()
        finally:
            if self._scratch is not None:
                shutil.rmtree(self._scratch, ignore_errors=True)
                self._scratch = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.stop()

    async def _probe(self) -> str | None:
        key = self.options.api_key
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        body = {"model": self.options.served_name, "input": "ready?"}
        # verify: without TLS, reading root certificates at every poll would be work for nothing.
        async with httpx.AsyncClient(
            base_url=self.url,
            headers=headers,
            timeout=HEALTH_TIMEOUT_S,
            trust_env=False,
            verify=False,
        ) as client:
            try:
                health = await client.get("/health")
                if health.status_code != 200:
                    return f"/health answers {health.status_code}"
                answer = await client.post(
                    "/v1/embeddings", json=body, timeout=FIRST_EMBEDDING_TIMEOUT_S
                )
            except httpx.HTTPError as error:
                return str(error) or repr(error)
        if answer.status_code != 200:
            return f"/v1/embeddings answers {answer.status_code}: {answer.text[:200]}"
        self.dimension = len(answer.json()["data"][0]["embedding"])
        return None
