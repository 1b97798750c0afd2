"""Cloud: the way from devices to a cloud service, somewhere else or inside this process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, aclosing
from typing import Any, Self, TypeVar

from device_runtime.cloud.link import CloudLink
from device_runtime.cloud.tokens import CarriedTokens, TokenSource
from device_runtime.cloud.transport import (
    AsgiTransport,
    CloudTransport,
    HttpTransport,
    cloud_url,
)
from scalrec.api.options import Assignments, PathLike, console_for, settings_for
from scalrec.api.running import loop_runs
from scalrec.api.trained import Trained, bundle_of
from scalrec.settings import Settings
from shared.bundle import Bundle
from shared.errors import ConfigError
from shared.progress import NullProgress

T = TypeVar("T")
_Open = Callable[[AsyncExitStack], Awaitable[CloudLink]]


class Cloud:
    """A cloud that devices refresh against; all of them share one link with its circuit breaker.

    Open it before use: ``async with Cloud(url) as cloud`` for ``await device.refresh(cloud)``, or a
    plain ``with`` for ``device.refresh_now(cloud)``.

    Args:
        url: of the service, e.g. http://127.0.0.1:8080.
        token: that the cloud's operator gave this user (`scalrec token issue`); None: made from
            the key in ``cloud.auth_keys_file``, or from that of a `scalrec serve` on this machine.
        settings: by full names, e.g. ``{"device.link.deadline_s": 2}``.

    Raises:
        ConfigError: the address is malformed, or the cloud asks for tokens and there is neither
            token nor key.
    """

    def __init__(
        self, url: str, *, token: str | None = None, settings: Assignments | None = None
    ) -> None:
        cloud_url(url)  # refuses what is no address now, not on opening
        chosen = settings_for({}, settings, {})
        tokens = _tokens(chosen, url) if token is None else _carried(token)

        async def opened(stack: AsyncExitStack) -> CloudLink:
            return await _linked(stack, HttpTransport(url), chosen, tokens)

        self._setup(opened)

    @classmethod
    def in_process(
        cls, bundle: PathLike | Bundle | Trained, *, settings: Assignments | None = None
    ) -> Self:
        """The same service inside this process, without sockets or Redis: for trials and tests.

        Snapshots are kept in memory until it is closed.

        Args:
            bundle: that it serves, with the text model that the bundle was made with.
            settings: by full names.

        Raises:
            BundleError, ConfigError: the bundle or a setting is wrong; on opening also
                EmbedderError and LaunchError, where the text model cannot be had.
        """
        served = bundle_of(bundle)
        made_with = served.manifest.embedder.model_dump(include={"backend", "model", "pooling"})
        usual = {f"embedder.{name}": value for name, value in made_with.items()}
        usual["cloud.log_level"] = "warning"
        chosen = settings_for({}, {**usual, **(settings or {})}, {})
        self = cls.__new__(cls)

        async def opened(stack: AsyncExitStack) -> CloudLink:
            return await _started(stack, chosen, served)

        self._setup(opened)
        return self

    def _setup(self, opened: _Open) -> None:
        self._open = opened
        self._link: CloudLink | None = None
        self._stack = AsyncExitStack()
        self._runner: asyncio.Runner | None = None

    @property
    def link(self) -> CloudLink:
        """The open link; raises ConfigError before it is opened, and after it was closed."""
        if self._link is None:
            raise ConfigError("the cloud is not open: use it inside `async with` or `with`")
        return self._link

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self._link = await self._open(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *error: object) -> None:
        self._link = None
        await self._stack.aclose()

    def __enter__(self) -> Self:
        if loop_runs():
            raise ConfigError(
                "an event loop runs here, as in a notebook: write `async with` and "
                "`await device.refresh(cloud)`"
            )
        runner = asyncio.Runner()
        try:
            runner.run(self.__aenter__())
        except BaseException:
            runner.close()
            raise
        self._runner = runner
        return self

    def __exit__(self, *error: object) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            with runner:
                runner.run(self.__aexit__())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of ``work`` on the loop that a plain ``with`` opened."""
        if self._runner is None:
            work.close()
            raise ConfigError("open the cloud by a plain `with`, or await `device.refresh(cloud)`")
        return self._runner.run(work)


async def _linked(
    stack: AsyncExitStack,
    transport: CloudTransport,
    settings: Settings,
    tokens: TokenSource | None,
) -> CloudLink:
    link = CloudLink(transport, settings.device.link, tokens=tokens)
    return await stack.enter_async_context(aclosing(link))


async def _started(stack: AsyncExitStack, settings: Settings, bundle: Bundle) -> CloudLink:
    """A service of ``bundle`` in this process, its text model, and a link to it."""
    # Here, not above: devices and links do without what a service needs.
    from cloud_service.app import create_app
    from cloud_service.store.snapshot_store import MemorySnapshotStore
    from scalrec.stack.cloud_keys import token_source, with_keys
    from scalrec.stack.embedder_server import served_embedder

    settings = with_keys(settings)
    served = await stack.enter_async_context(
        served_embedder(
            settings,
            logs=settings.work_dir / "serve",
            progress=NullProgress(),
            console=console_for(False),
            allow_fallback=False,
        )
    )
    client = await stack.enter_async_context(aclosing(served.connect()))
    app = create_app(settings, bundle=bundle, embedder=client, store=MemorySnapshotStore())
    await stack.enter_async_context(app.router.lifespan_context(app))
    tokens = token_source(settings, time.time)
    return await _linked(stack, AsgiTransport(app), settings, tokens)


def _tokens(settings: Settings, url: str) -> TokenSource | None:
    """Made from a key that is set, or that a service on this machine has left for us."""
    if settings.cloud.auth == "off":
        return None
    # Here, not above: a device that carries its token, or needs none, does without what makes them.
    from scalrec.stack.cloud_keys import token_source, with_local_keys

    return token_source(with_local_keys(settings, url), time.time)


def _carried(token: str) -> TokenSource:
    async def issue(_: str) -> str:
        return token

    return CarriedTokens(issue)
