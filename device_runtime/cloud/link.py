"""CloudLink: one refresh over an unreliable network, within one deadline.

Order, outermost first: deadline -> circuit breaker -> retries (budget, full jitter) -> transport.
Only failures that may pass are retried: no connection, 5xx, 429. A refused token (401) is renewed
once. Any other refusal is final. Each refresh has an id, which goes to the cloud with every attempt
and into the log lines of both sides.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import secrets
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import NoReturn
from urllib.parse import quote

from pydantic import ValidationError

from device_runtime.cloud.breaker import BreakerState, CircuitBreaker, Ticket
from device_runtime.cloud.clock import Clock, MonotonicClock
from device_runtime.cloud.retry import (
    BACKOFF_BASE_S,
    BACKOFF_CAP_S,
    RetryBudget,
    full_jitter,
    retry_after_s,
)
from device_runtime.cloud.tokens import TokenSource, TokenUnavailable
from device_runtime.cloud.transport import CloudTransport, TransportError, TransportResponse
from device_runtime.settings import LinkSettings
from shared.errors import CloudUnavailable
from shared.schemas import (
    REFRESH_HEADER,
    REQUEST_ID_HEADER,
    STALE_HEADER,
    STORED_HEADER,
    ProblemType,
    SnapshotRequest,
)
from shared.snapshot import MEDIA_TYPE
from shared.tracing import Tracing

logger = logging.getLogger(__name__)

# Added to the transport's own timeouts, so that it is always the one deadline that fires.
_BACKSTOP_S = 1.0
UNSTORED = "unstored"  # reason of a fresh snapshot that the cloud could not keep


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshResult:
    """How one refresh went.

    Attributes:
        blob: the snapshot as it came, still to be verified; None when there is none.
        outcome: fresh | stale | deadline | refused | breaker | network | server | rejected.
        reason: what is behind the outcome, in a stable word: ``unstored`` of a fresh snapshot that
            the cloud could not keep; the problem's type (``bundle-mismatch``), else the status, of
            an answer that is no snapshot; ``token`` or ``snapshot`` of what the device itself
            could not use; "" if the outcome says it all.
        attempts: requests sent.
        request_bytes: bodies sent, all attempts together.
        response_bytes: bodies received.
        stale: the cloud could not compute a new snapshot and sent its last one.
        age_s: the cloud's Age header: seconds since the snapshot was computed.
        detail: what happened, for a log line.
        refresh_id: names this refresh in the logs of the device and of the cloud.
    """

    blob: bytes | None
    outcome: str
    attempts: int
    request_bytes: int
    response_bytes: int
    stale: bool = False
    age_s: float = 0.0
    detail: str = ""
    refresh_id: str = ""
    reason: str = ""


class RefreshFailed(CloudUnavailable):
    """CloudUnavailable that still says what was tried: ``result`` has no blob."""

    def __init__(self, result: RefreshResult, retry_after: float | None = None) -> None:
        super().__init__(result.detail, result.outcome, retry_after)
        self.result = result


@dataclass(slots=True)
class _Tally:
    """One refresh: who asks, and what it has cost so far, whatever ends it."""

    user: str
    refresh_id: str = field(default_factory=lambda: secrets.token_hex(8))
    token: str | None = None
    renewed: bool = False
    attempts: int = 0
    request_bytes: int = 0
    response_bytes: int = 0
    ticket: Ticket | None = None

    def fail(
        self, outcome: str, detail: str, retry_after: float | None = None, reason: str = ""
    ) -> NoReturn:
        raise RefreshFailed(
            RefreshResult(
                blob=None,
                outcome=outcome,
                attempts=self.attempts,
                request_bytes=self.request_bytes,
                response_bytes=self.response_bytes,
                detail=detail,
                refresh_id=self.refresh_id,
                reason=reason,
            ),
            retry_after,
        )


class CloudLink:
    """Shared by the devices of a process: one pool, one breaker, one retry budget.

    Args:
        transport: how bytes travel; closed with the link.
        settings: deadline, attempts, backoff, budget and breaker.
        clock: for the breaker; never goes back.
        rng: jitter. Waiting itself uses the event loop's own time.
        tokens: of the devices' users; None where the cloud asks for none.
        tracing: gets one span per refresh.
    """

    def __init__(
        self,
        transport: CloudTransport,
        settings: LinkSettings,
        clock: Clock | None = None,
        rng: Random | None = None,
        tokens: TokenSource | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self._tokens = tokens
        self._tracing = tracing or Tracing()
        self._transport = transport
        self._settings = settings
        self._clock = clock or MonotonicClock()
        self._rng = rng or Random()
        self._breaker = CircuitBreaker(settings.breaker_failures, settings.breaker_open_s)
        self._budget = RetryBudget(settings.retry_budget)

    @property
    def breaker_state(self) -> BreakerState:
        """State now, for records."""
        return self._breaker.state(self._clock.time())

    async def aclose(self) -> None:
        """Close the transport."""
        await self._transport.aclose()

    async def refresh(
        self,
        user: str,
        abstract: str,
        step: int,
        bundle_id: str,
        item_tokens: Sequence[Sequence[int]] | None = None,
    ) -> RefreshResult:
        """Ask the cloud for a snapshot of ``user`` as of ``step``.

        Args:
            user: as in shared.schemas.USER_PATTERN.
            abstract: the words of the device's AbstractWriter.
            step: events the abstract has seen (tau).
            bundle_id: the only bundle whose snapshot is of use.
            item_tokens: of the latest items, oldest first; None tells nothing but the abstract.

        Raises:
            RefreshFailed: (a CloudUnavailable) no snapshot within the deadline, with the reason.
            asyncio.CancelledError: the caller gave up; the link can be used again at once.
        """
        tally = _Tally(user)
        with self._tracing.span(
            "refresh", kind="client", attributes={"scalrec.refresh_id": tally.refresh_id}
        ) as span:
            try:
                result = await self._refresh(tally, abstract, step, bundle_id, item_tokens)
            except RefreshFailed as failure:
                logger.info(
                    "refresh %s failed after %d attempts: %s: %s",
                    tally.refresh_id,
                    tally.attempts,
                    failure.result.outcome,
                    failure.result.detail,
                )
                raise
            logger.debug("refresh %s: %s", tally.refresh_id, result.outcome)
            span.set("scalrec.outcome", result.outcome)
            return result

    async def _refresh(
        self,
        tally: _Tally,
        abstract: str,
        step: int,
        bundle_id: str,
        item_tokens: Sequence[Sequence[int]] | None,
    ) -> RefreshResult:
        told = None if item_tokens is None else [list(codes) for codes in item_tokens]
        try:
            body = SnapshotRequest(
                abstract=abstract, step=step, bundle_id=bundle_id, item_tokens=told
            )
        except ValidationError as error:
            tally.fail(
                "rejected", f"the request is not one the cloud accepts: {error}", reason="request"
            )
        content = body.model_dump_json(exclude_none=True).encode()
        path = f"/v1/users/{quote(tally.user, safe='')}/snapshot"
        self._budget.first_attempt()
        deadline = asyncio.get_running_loop().time() + self._settings.deadline_s
        try:
            async with asyncio.timeout_at(deadline):
                return await self._attempts(path, content, deadline, tally)
        except TimeoutError:
            if tally.ticket is not None:
                self._breaker.failure(tally.ticket, self._clock.time())
            tally.fail("deadline", f"no answer within {self._settings.deadline_s:g} s")
        finally:
            # Runs when cancelled, too: the breaker must get its probe's place back.
            if tally.ticket is not None:
                self._breaker.abandon(tally.ticket)

    async def _attempts(
        self, path: str, content: bytes, deadline: float, tally: _Tally
    ) -> RefreshResult:
        if self._tokens is not None:
            tally.token = await self._ask_token(self._tokens.token(tally.user), tally)
        while True:
            tally.ticket = self._breaker.acquire(self._clock.time())
            if tally.ticket is None:
                tally.fail("breaker", "the cloud did not answer lately; not asking it for a while")
            if tally.ticket.probe:
                await self._transport.rebuild()
            tally.attempts += 1
            tally.request_bytes += len(content)
            wait_at_least: float | None = None
            try:
                response = await self._transport.request(
                    "POST",
                    path,
                    headers=self._headers(tally),
                    content=content,
                    timeout_s=deadline - asyncio.get_running_loop().time() + _BACKSTOP_S,
                )
            except TransportError as error:
                self._breaker.failure(tally.ticket, self._clock.time())
                outcome, detail, reason = "network", f"the cloud cannot be reached: {error}", ""
            else:
                tally.request_bytes += len(content) * response.resent
                tally.response_bytes += len(response.content)
                if response.status == 200:
                    self._breaker.success(tally.ticket)
                    return _result(response, tally)
                outcome, detail, reason = _refusal(response)
                if outcome == "server":
                    self._breaker.failure(tally.ticket, self._clock.time())
                else:
                    # 4xx and 429: it refuses, so it is alive.
                    self._breaker.success(tally.ticket)
                if response.status == 401 and await self._renew(tally):
                    tally.ticket = None
                    continue
                if outcome == "rejected":
                    tally.fail(outcome, detail, reason=reason)
                wait_at_least = retry_after_s(response.headers.get("retry-after"))
            await self._wait_for_retry(outcome, detail, reason, wait_at_least, deadline, tally)

    def _headers(self, tally: _Tally) -> dict[str, str]:
        headers = {
            "Accept": MEDIA_TYPE,
            "Content-Type": "application/json",
            REFRESH_HEADER: tally.refresh_id,
            REQUEST_ID_HEADER: f"{tally.refresh_id}-{tally.attempts}",
            **self._tracing.headers(),
        }
        if tally.token is not None:
            headers["Authorization"] = f"Bearer {tally.token}"
        return headers

    async def _renew(self, tally: _Tally) -> bool:
        """Whether there is a new token to try; at most once per refresh."""
        if self._tokens is None or tally.token is None or tally.renewed:
            return False
        logger.info("refresh %s: the cloud refused the token; renewing it", tally.refresh_id)
        tally.renewed = True
        tally.token = await self._ask_token(self._tokens.renew(tally.user, tally.token), tally)
        return True

    @staticmethod
    async def _ask_token(asking: Awaitable[str], tally: _Tally) -> str:
        try:
            return await asking
        except TokenUnavailable as error:
            tally.fail("rejected", f"the device has no token to show: {error}", reason="token")

    async def _wait_for_retry(
        self,
        outcome: str,
        detail: str,
        reason: str,
        at_least: float | None,
        deadline: float,
        tally: _Tally,
    ) -> None:
        """Sleep before the next attempt, or give up when there may be none."""
        settings = self._settings
        pause = (at_least or 0.0) + full_jitter(
            tally.attempts,
            base_s=BACKOFF_BASE_S,
            cap_s=BACKOFF_CAP_S,
            rng=self._rng,
        )
        no_time = asyncio.get_running_loop().time() + pause >= deadline
        # A breaker that would refuse the retry leaves nothing to wait for, and no budget to spend.
        shut = self._breaker.state(self._clock.time() + pause) is BreakerState.OPEN
        if tally.attempts >= settings.attempts or no_time or shut or not self._budget.take():
            tally.fail(outcome, detail, at_least, reason)
        logger.debug(
            "refresh %s, attempt %d: %s; again in %.3f s",
            tally.refresh_id,
            tally.attempts,
            detail,
            pause,
        )
        tally.ticket = None
        await asyncio.sleep(pause)


def _result(response: TransportResponse, tally: _Tally) -> RefreshResult:
    stale = response.headers.get(STALE_HEADER.lower(), "").lower() in ("1", "true", "?1")
    return RefreshResult(
        blob=response.content,
        outcome="stale" if stale else "fresh",
        attempts=tally.attempts,
        request_bytes=tally.request_bytes,
        response_bytes=tally.response_bytes,
        stale=stale,
        age_s=_age_s(response.headers.get("age")),
        refresh_id=tally.refresh_id,
        reason="" if stale or response.headers.get(STORED_HEADER.lower()) != "false" else UNSTORED,
    )


def _refusal(response: TransportResponse) -> tuple[str, str, str]:
    """Outcome, words and reason for an answer that is no snapshot."""
    detail = f"the cloud answered {response.status}: {response.content[:200]!r}"
    if response.status == 429:
        return "refused", detail, _problem(response)
    if response.status == 408:  # the request reached the cloud too slowly: the network's doing
        return "network", detail, _problem(response)
    return ("server" if response.status >= 500 else "rejected"), detail, _problem(response)


def _problem(response: TransportResponse) -> str:
    """The type of a problem that is one of ours, else the status."""
    try:
        told = json.loads(response.content)["type"]
        return ProblemType(told).value.rpartition(":")[2]
    except (ValueError, LookupError, TypeError, RecursionError):
        return f"status {response.status}"


def _age_s(value: str | None) -> float:
    try:
        age_s = float(value or 0.0)
    except ValueError:
        return 0.0
    return max(0.0, age_s) if math.isfinite(age_s) else 0.0
