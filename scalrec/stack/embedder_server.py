"""The embedder a run uses: a server that is there, one we start, or the fallback, and which."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr
from rich.console import Console

from cloud_service.embedding.base import Embedder, model_name
from cloud_service.embedding.factory import create_embedder
from cloud_service.settings import EmbedderSettings
from experiments.lazy_embedder import lazy_embedder
from launch.environments import EnvironmentMissing, find_vllm_python
from launch.model_files import resolve_model
from launch.process import ChildProcess
from launch.vllm_server import VllmOptions, VllmServer
from reports.marked import marked
from scalrec.settings import Settings
from shared.errors import ConfigError
from shared.progress import Progress
from shared.tracing import Tracing
from training.settings import Recipe


@dataclass(frozen=True)
class ServedEmbedder:
    """What was found or started.

    Attributes:
        settings: as asked for, with the server's address filled in and, after a fallback, the
            back end that is really used.
        model_dir: local folder of the model; None when a server of somebody else holds it.
        fallback_reason: why another back end than the one asked for is used; "" if it is not.
        seconds_to_ready: how long the server took to start.
        process: the server, if it was started here.
    """

    settings: EmbedderSettings
    model_dir: Path | None
    fallback_reason: str = ""
    seconds_to_ready: float = 0.0
    process: ChildProcess | None = None

    def connect(self, threads: int | None = None, tracing: Tracing | None = None) -> Embedder:
        """A client of it (or, without a server, the model inside this process)."""
        if self.settings.backend == "transformers":
            _without_progress_bars()
        return create_embedder(
            self.settings, model_dir=self.model_dir, threads=threads, tracing=tracing
        )


@asynccontextmanager
async def served_embedder(
    settings: Recipe,
    *,
    logs: Path,
    progress: Progress,
    console: Console,
    allow_fallback: bool,
) -> AsyncIterator[ServedEmbedder]:
    """Yield the embedder of the settings, starting vLLM if need be; it is stopped on leaving.

    Args:
        logs: folder for the server's log.
        allow_fallback: use transformers, and say so, where vLLM is not installed.

    Raises:
        EnvironmentMissing: vLLM is not installed and there is no fallback.
        LaunchError: it did not start; carries the tail of its log.
        ConfigError: the model cannot be had, or is still to be tuned.
    """
    wanted = settings.embedder
    if wanted.lora is not None:
        raise ConfigError(
            "embedder.lora is for commands that train on a log; here, name the folder of the tuned "
            "model with --model (`scalrec tune-embedder` makes it)"
        )
    if not wanted.needs_model:
        yield ServedEmbedder(wanted, None)
        return
    model_dir = resolve_model(wanted.model, cache=settings.cache)
    reason = ""
    if wanted.backend == "vllm":
        try:
            python = find_vllm_python(wanted.python, cache=settings.cache)
        except EnvironmentMissing as missing:
            if not allow_fallback:
                raise
            reason = str(missing)
            console.print(
                marked("[yellow]vLLM is not available, using transformers instead:[/] {}", reason)
            )
        else:
            async with _vllm(wanted, model_dir, python, logs, progress) as served:
                yield served
            return
    yield ServedEmbedder(
        wanted.model_copy(update={"backend": "transformers"}), model_dir, fallback_reason=reason
    )


@asynccontextmanager
async def lazily_served(
    settings: Settings, *, logs: Path, progress: Progress, console: Console
) -> AsyncIterator[Embedder]:
    """Yield a client whose server starts when a text is first asked for, and stops on leaving.

    Raises:
        ConfigError: the model cannot be had. The client raises what ``served_embedder`` does.
    """
    async with AsyncExitStack() as stack:

        async def start(_: Path) -> Embedder:
            served = await stack.enter_async_context(
                served_embedder(
                    settings, logs=logs, progress=progress, console=console, allow_fallback=False
                )
            )
            return served.connect(settings.training.threads)

        # The client is closed before the server it talks to is stopped.
        async with aclosing(lazy_embedder(settings, start)) as client:
            yield client


@asynccontextmanager
async def _vllm(
    wanted: EmbedderSettings, model_dir: Path, python: Path, logs: Path, progress: Progress
) -> AsyncIterator[ServedEmbedder]:
    options = VllmOptions(
        model_dir=model_dir,
        served_name=model_name(wanted.model),
        python=python,
        pooling=wanted.pooling,
        device=wanted.device,
        api_key=_reveal(wanted.api_key),
        extra_args=wanted.extra_args,
    )
    server = VllmServer(options, log=logs / "vllm.log")
    try:
        with progress.task(f"vLLM serves {model_name(wanted.model)}") as task:
            await server.start(on_wait=lambda s: task.advance(0, f"starting, {s:.0f} s"))
        served = wanted.model_copy(update={"url": server.url})
        yield ServedEmbedder(
            served,
            model_dir,
            seconds_to_ready=server.seconds_to_ready,
            process=server.process,
        )
    finally:
        await server.stop()


def _without_progress_bars() -> None:
    """Those that transformers draw while they load would tear our own."""
    with suppress(ImportError):  # the embedder says what is missing, once it is asked
        from transformers.utils import logging

        logging.disable_progress_bar()


def _reveal(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
