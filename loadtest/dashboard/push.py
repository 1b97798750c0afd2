"""HttpSink: sends a process's updates to a live view elsewhere, from a thread of its own."""

from __future__ import annotations

import logging
import time
from threading import Condition, Thread

import httpx2 as httpx
import msgspec

from loadtest.dashboard.bins import Bin
from loadtest.dashboard.messages import TOKEN_HEADER, Reply, Update
from shared.addresses import masked, masked_address

logger = logging.getLogger(__name__)

TIMEOUT_S = 3.0
PAUSE_S = 0.5
LAST_WORDS_S = 5.0


class HttpSink:
    """A live view that is away costs nothing but news: what it missed is sent when it is back.

    Args:
        url: of the live view.
        token: what it asks of fleet processes.
    """

    def __init__(self, url: str, token: str) -> None:
        self._url = f"{url.rstrip('/')}/ingest"
        self._headers = {TOKEN_HEADER: token, "content-type": "application/json"}
        self._change = Condition()
        self._waiting: Update | None = None
        self._reply: Reply | None = None
        self._closed_at: float | None = None
        self._complaint = ""
        self._thread = Thread(target=self._run, name="live view push", daemon=True)
        self._thread.start()

    def offer(self, update: Update) -> Reply | None:
        with self._change:
            self._waiting = _later(self._waiting, update)
            reply, self._reply = self._reply, None
            self._change.notify()
        return reply

    def close(self) -> None:
        with self._change:
            self._closed_at = time.monotonic()
            self._change.notify()
        self._thread.join(LAST_WORDS_S + TIMEOUT_S)

    def _run(self) -> None:
        with httpx.Client(timeout=TIMEOUT_S, trust_env=False, headers=self._headers) as client:
            while (update := self._next()) is not None:
                if not self._send(client, update):
                    with self._change:
                        self._waiting = _later(update, self._waiting)
                        self._change.wait(PAUSE_S)

    def _next(self) -> Update | None:
        """The next update to send; None when there will be none, or no time for it."""
        with self._change:
            while self._waiting is None:
                if self._closed_at is not None:
                    return None
                self._change.wait()
            if self._closed_at is not None and time.monotonic() > self._closed_at + LAST_WORDS_S:
                return None
            update, self._waiting = self._waiting, None
            return update

    def _send(self, client: httpx.Client, update: Update) -> bool:
        try:
            response = client.post(self._url, content=msgspec.json.encode(update))
            response.raise_for_status()
            reply = msgspec.json.decode(response.content, type=Reply)
        except httpx.HTTPStatusError as error:
            self._complain(f"{error.response.status_code} {error.response.text[:200]}")
            return False
        except (httpx.HTTPError, httpx.InvalidURL, msgspec.MsgspecError, RecursionError) as error:
            self._complain(str(error))
            return False
        self._complaint = ""
        with self._change:
            self._reply = reply
        return True

    def _complain(self, reason: str) -> None:
        """Once per reason, not once per second."""
        if reason != self._complaint:
            self._complaint = reason
            logger.warning(
                "the live view at %s takes no news: %s", masked_address(self._url), masked(reason)
            )


def _later(older: Update | None, newer: Update | None) -> Update:
    """One update that says what both say."""
    if older is None or newer is None:
        both = older or newer
        assert both is not None  # noqa: S101 - one of them was just made
        return both
    bins: dict[int, Bin] = {**older.bins, **newer.bins}
    return msgspec.structs.replace(newer, bins=bins, whole=older.whole or newer.whole)
