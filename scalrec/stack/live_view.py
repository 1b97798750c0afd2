"""The live view of a run: served by this process, or told to one that many processes share."""

from __future__ import annotations

import asyncio
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

import msgspec
from rich.console import Console

from device_runtime.refresh.names import policy_text, ranking_text
from device_runtime.settings import BUDGETED
from loadtest.dashboard.app import LiveView
from loadtest.dashboard.bins import bin_width_s
from loadtest.dashboard.feed import Feed, Sink
from loadtest.dashboard.hub import Hub
from loadtest.dashboard.messages import Facts
from loadtest.dashboard.preparation import Preparation, ShownProgress
from loadtest.dashboard.push import HttpSink
from loadtest.dashboard.server import LiveServer
from loadtest.timing.schedule import build_schedule
from reports.marked import marked
from scalrec.settings import Settings
from shared.addresses import has_http_form, masked_address
from shared.bundle import Manifest
from shared.errors import ConfigError
from shared.interactions import InteractionLog
from shared.progress import Progress
from shared.split import Split


class Live:
    """Where a run is shown; ``feed`` is for the replay, ``end`` when the report is there.

    Args:
        preparation: what a page shows before the replay, if this process serves it.
    """

    def __init__(
        self, settings: Settings, sink: Sink, url: str, preparation: Preparation | None = None
    ) -> None:
        self._settings = settings
        self._sink = sink
        self._feed: Feed | None = None
        self._preparation = preparation
        self.url = url

    def progress(self, console: Progress) -> Progress:
        """Where to tell what is done before the replay: on the page, too, if it is served here."""
        if self._preparation is None:
            return console
        return ShownProgress(self._preparation, console)

    def feed(
        self,
        log: InteractionLog,
        split: Split,
        manifest: Manifest,
        run_dir: Path,
        started: datetime,
        *,
        scenario: str | None = None,
    ) -> Feed:
        """What watches this process's replay.

        Args:
            scenario: whose script says when the cloud is there; None: the settings say.
        """
        run = run_name(self._settings, run_dir)
        facts = facts_of(self._settings, log, split, manifest, run, started)
        if scenario is not None:
            facts = msgspec.structs.replace(facts, availability=f"scenario {scenario}")
        shard = _name(f"{socket.gethostname()}-{os.getpid()}")
        self._feed = Feed(facts, shard, self._sink)
        return self._feed

    def end(self) -> None:
        """The run is over and its report written."""
        if self._feed is not None:
            self._feed.end("finished")
            self._feed = None

    async def stay(self, console: Console) -> None:
        """Keep a page that only this process serves, until Ctrl-C, where somebody may look."""
        if (
            self._preparation is None
            or not console.is_terminal
            or not self._settings.dashboard.stay
        ):
            return
        console.print(marked("[green]✓[/] still to be seen at {}; Ctrl-C ends it", self.url))
        # Ctrl-C cancels the wait, and everything there was to do is done.
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    def stopped(self) -> None:
        """The run was cut short, if it has not ended."""
        if self._feed is not None:
            self._feed.end("stopped")


@contextmanager
def live_view(settings: Settings, console: Console) -> Iterator[Live | None]:
    """The live view that ``dashboard`` asks for; None if it asks for none.

    Raises:
        ConfigError: the address cannot be listened on, or a shared view lacks its token.
    """
    options = settings.dashboard
    if options.push_url is not None:
        shown = masked_address(options.push_url)
        if not has_http_form(options.push_url):
            raise ConfigError(f"dashboard.push_url is no address of a live view: {shown!r}")
        if options.token is None:
            raise ConfigError(
                f"the live view at {shown} takes news only with its token; set "
                "dashboard.token (SCALREC_DASHBOARD__TOKEN) on both sides"
            )
        sink = HttpSink(options.push_url, options.token.get_secret_value())
        live = Live(settings, sink, options.push_url)
        try:
            yield live
        finally:
            live.stopped()
            sink.close()
    elif options.port is not None:
        hub = Hub()
        page = LiveView(hub, settings.work_dir, hosts=_hosts(settings))
        with LiveServer(page, options.host, options.port) as server:
            console.print(
                marked("[green]✓[/] live view at [bold]{}[/]", server.url), highlight=False
            )
            live = Live(settings, hub, server.url, hub.preparation)
            try:
                yield live
            finally:
                live.stopped()
    else:
        yield None


def serve_dashboard(settings: Settings, token: str, port: int) -> LiveServer:
    """A live view that other processes report to with ``token``."""
    page = LiveView(
        Hub(),
        settings.work_dir,
        ingest_token=token,
        hosts=_hosts(settings),
    )
    return LiveServer(page, settings.dashboard.host, port)


def run_name(settings: Settings, run_dir: Path) -> str:
    """What the page calls a run; all its processes say the same."""
    return settings.dashboard.run or _name(run_dir.name)


def facts_of(
    settings: Settings,
    log: InteractionLog,
    split: Split,
    manifest: Manifest,
    run: str,
    started: datetime,
) -> Facts:
    """What the page says about a run besides its figures."""
    device, replay = settings.device, settings.replay
    window_s = replay.duration_s
    if replay.speed_up is not None:
        window_s = build_schedule(log, split, replay, seed=settings.seed).window_s
    return Facts(
        run=run,
        started=started.timestamp(),
        log=log.name[:300],
        policy=policy_text(device),
        profile=f"{manifest.profile.name} device",
        availability=f"cloud {replay.availability.kind}",
        clock=replay.clock,
        window_s=window_s,
        width_s=bin_width_s(window_s),
        calibrate=device.calibrate if device.ranking == "semantic" else None,
        ranking=ranking_text(device, manifest.collaboration),
        controllable=replay.clock == "wall",
        k=device.k if device.policy == "every-k" else None,
        budget=device.budget if device.policy in BUDGETED else None,
    )


def _hosts(settings: Settings) -> tuple[str, ...]:
    return (settings.dashboard.host, *settings.dashboard.allow_hosts)


def _name(text: str) -> str:
    """``text`` as a name that addresses can hold."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", text).lstrip(".-")[:100] or "run"
