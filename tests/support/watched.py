"""A real wall-clock replay of the tiny bundle with the live view on it, while a block lasts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any

from loadtest.dashboard.app import LiveView
from loadtest.dashboard.bins import bin_width_s
from loadtest.dashboard.feed import Feed
from loadtest.dashboard.hub import Hub
from loadtest.dashboard.messages import Facts
from loadtest.dashboard.server import LiveServer
from loadtest.records.recorder import Recorder
from loadtest.replay.replay import ReplayResult, replay
from loadtest.timing.clock import WallClock
from scalrec.settings import Settings
from shared.bundle import Bundle
from shared.progress import NullProgress
from shared.split import split_log
from tests.support.replays import in_process
from tests.support.staleness import make_log


def facts_of(settings: Settings, run: str, **other: Any) -> Facts:
    """Facts of a run with these settings."""
    device, window_s = settings.device, settings.replay.duration_s
    return Facts(
        run=run,
        started=1_700_000_000.0,
        log="invented",
        policy=device.policy,
        profile="small device",
        availability="always up",
        clock="wall",
        window_s=window_s,
        width_s=bin_width_s(window_s),
        calibrate=device.calibrate,
        controllable=other.pop("controllable", True),
        k=device.k if device.policy == "every-k" else None,
        **other,
    )


@dataclass
class Watched:
    """A replay in a thread of its own, and the page that shows it."""

    url: str
    run: str
    run_dir: Path
    results: list[ReplayResult] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)

    def wait(self, timeout_s: float = 60.0) -> ReplayResult:
        """The replay's result, once it is over."""
        give_up = time.monotonic() + timeout_s
        while not self.results:
            if self.errors:
                raise self.errors[0]
            assert time.monotonic() < give_up, "the replay did not end in time"
            time.sleep(0.05)
        return self.results[0]


@contextmanager
def watched_replay(folder: Path, bundle: Bundle, settings: Settings) -> Iterator[Watched]:
    """Start the replay and its page; the page stays until the block is left."""
    hub, run = Hub(), "watched"
    run_dir = folder / run
    with LiveServer(LiveView(hub, folder), "127.0.0.1", 0) as server:
        watched = Watched(server.url, run, run_dir)

        async def live() -> ReplayResult:
            clock = WallClock()
            feed = Feed(facts_of(settings, run), "one", hub)
            log = make_log(users=60, events=30)
            async with in_process(bundle, settings)(clock) as connect:
                with Recorder(run_dir, feed) as recorder:
                    result = await replay(
                        log,
                        split_log(log, test_steps=10),
                        bundle,
                        settings,
                        connect,
                        clock=clock,
                        recorder=recorder,
                        progress=NullProgress(),
                        on_tick=feed.tick,
                        on_start=feed.start,
                    )
            (run_dir / "report.html").write_text(
                "<!doctype html><title>Report</title><h1>Done</h1>"
            )
            feed.end("finished")
            return result

        def work() -> None:
            try:
                watched.results.append(asyncio.run(live()))
            except Exception as error:  # noqa: BLE001 - raised again where the test waits
                watched.errors.append(error)

        thread = Thread(target=work, daemon=True)
        thread.start()
        try:
            yield watched
        finally:
            thread.join(60)
            if watched.errors:
                raise watched.errors[0]
