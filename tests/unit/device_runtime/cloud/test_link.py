import asyncio
import json
from random import Random

import pytest

from device_runtime.cloud.breaker import BreakerState
from device_runtime.cloud.link import CloudLink, RefreshFailed
from device_runtime.cloud.retry import BACKOFF_CAP_S
from device_runtime.cloud.transport import TransportError, TransportResponse
from device_runtime.settings import LinkSettings
from loadtest.timing.clock import VirtualClock
from loadtest.timing.virtual_loop import run_virtual
from shared.schemas import SnapshotRequest
from shared.snapshot import MEDIA_TYPE
from tests.support.transports import ScriptedTransport

OK = TransportResponse(200, {"age": "4", "scalrec-stale": "false"}, b"blob")
STALE = TransportResponse(200, {"scalrec-stale": "true"}, b"old blob")
LOST = TransportError("connection refused")


def overloaded(retry_after: str | None = None) -> TransportResponse:
    return TransportResponse(429, {} if retry_after is None else {"retry-after": retry_after})


def settings(**changes) -> LinkSettings:
    return LinkSettings(**({"retry_budget": 1.0, "breaker_failures": 10_000} | changes))


def run(transport, changes=None, *, times=1, pause_s=0.0, user="ann"):
    """Outcomes of refreshes one after another, and the virtual seconds each of them took."""

    async def main():
        loop = asyncio.get_running_loop()
        link = CloudLink(transport, settings(**(changes or {})), VirtualClock(), Random(1))
        results = []
        for _ in range(times):
            started = loop.time()
            try:
                result = await link.refresh(user, "likes drama", 7, "b" * 16)
            except RefreshFailed as failure:
                result = failure.result
            results.append((result, loop.time() - started, link.breaker_state))
            await asyncio.sleep(pause_s)
        await link.aclose()
        return results

    return run_virtual(main)


def test_the_request_is_what_the_cloud_accepts_and_the_answer_is_passed_on():
    transport = ScriptedTransport([OK])
    ((result, _, _),) = run(transport, user="ann@home/x")
    (sent,) = transport.sent
    assert (sent.method, sent.path) == ("POST", "/v1/users/ann%40home%2Fx/snapshot")
    assert sent.headers["Accept"] == MEDIA_TYPE
    body = SnapshotRequest.model_validate_json(sent.content)
    assert (body.abstract, body.step, body.bundle_id) == ("likes drama", 7, "b" * 16)
    assert (result.blob, result.outcome, result.stale, result.age_s) == (b"blob", "fresh", False, 4)
    assert (result.attempts, result.request_bytes) == (1, len(sent.content))
    assert result.response_bytes == 4
    assert transport.closed


def test_a_stale_answer_is_told_from_a_fresh_one():
    ((result, _, _),) = run(ScriptedTransport([STALE]))
    assert (result.outcome, result.stale, result.blob) == ("stale", True, b"old blob")


@pytest.mark.parametrize("age", ["inf", "nan", "-5", "soon", ""])
def test_an_age_that_is_no_number_of_seconds_counts_as_none(age):
    ((result, _, _),) = run(ScriptedTransport([TransportResponse(200, {"age": age}, b"blob")]))
    assert (result.outcome, result.age_s) == ("fresh", 0.0)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [(LOST, "network"), (TransportResponse(503), "server"), (overloaded(), "refused")],
)
def test_what_may_pass_is_retried_then_reported(answer, outcome):
    transport = ScriptedTransport([answer])
    ((result, _, _),) = run(transport)
    assert (result.outcome, result.attempts, result.blob) == (outcome, 3, None)
    assert result.detail
    assert result.request_bytes == 3 * len(transport.sent[0].content)

    ((result, _, _),) = run(ScriptedTransport([answer, answer, OK]))
    assert (result.outcome, result.attempts) == ("fresh", 3)


@pytest.mark.parametrize("status", [302, 400, 404, 409, 422])
def test_what_will_not_pass_is_not_retried(status):
    ((result, _, _),) = run(ScriptedTransport([TransportResponse(status, {}, b"why")]))
    assert (result.outcome, result.attempts) == ("rejected", 1)
    assert str(status) in result.detail
    assert "why" in result.detail


def problem(status: int, name: str) -> TransportResponse:
    return TransportResponse(status, {}, json.dumps({"type": f"urn:scalrec:{name}"}).encode())


@pytest.mark.parametrize(
    ("answer", "outcome", "reason"),
    [
        (OK, "fresh", ""),
        (TransportResponse(200, {"scalrec-stored": "false"}, b"blob"), "fresh", "unstored"),
        (STALE, "stale", ""),
        (problem(409, "bundle-mismatch"), "rejected", "bundle-mismatch"),
        (problem(403, "forbidden"), "rejected", "forbidden"),
        (problem(429, "rate-limited"), "refused", "rate-limited"),
        (problem(503, "embedder-mismatch"), "server", "embedder-mismatch"),
        (problem(418, "not-one-of-ours"), "rejected", "status 418"),
        (TransportResponse(502, {}, b"<html>a proxy's own page"), "server", "status 502"),
        (TransportResponse(404, {}, b"[" * 100_000), "rejected", "status 404"),
        (TransportResponse(404, {}, b'"text"'), "rejected", "status 404"),
        (LOST, "network", ""),
    ],
)
def test_the_reason_behind_an_outcome_is_a_stable_word(answer, outcome, reason):
    ((result, _, _),) = run(ScriptedTransport([answer]))
    assert (result.outcome, result.reason) == (outcome, reason)


def test_an_abstract_that_the_contract_forbids_is_not_sent():
    transport = ScriptedTransport([OK])

    async def main():
        link = CloudLink(transport, settings(), VirtualClock(), Random(1))
        with pytest.raises(RefreshFailed) as failure:
            await link.refresh("ann", "", 7, "b" * 16)
        assert failure.value.result.outcome == failure.value.reason
        return failure.value.reason

    assert run_virtual(main) == "rejected"
    assert transport.sent == []


def test_a_refused_abstract_is_not_repeated_in_the_reason():
    async def main():
        link = CloudLink(ScriptedTransport([OK]), settings(), VirtualClock(), Random(1))
        with pytest.raises(RefreshFailed) as failure:
            await link.refresh("ann", "secret habits " * 1_000, 7, "b" * 16)
        return failure.value.result.detail

    detail = run_virtual(main)
    assert "abstract" in detail
    assert "secret" not in detail


def test_one_deadline_covers_all_attempts():
    hanging = ScriptedTransport([OK], delay_s=3600.0)
    ((result, seconds, _),) = run(hanging, {"deadline_s": 2.0})
    assert (result.outcome, result.attempts) == ("deadline", 1)
    assert seconds == 2.0

    slow = ScriptedTransport([TransportResponse(500)], delay_s=0.9)
    ((result, seconds, _),) = run(slow, {"deadline_s": 2.0, "attempts": 50, "retry_budget": 50.0})
    assert result.outcome in ("deadline", "server")
    assert seconds <= 2.0
    timeouts = [sent.timeout_s for sent in slow.sent]
    assert timeouts == sorted(timeouts, reverse=True), "later attempts have less time"


def test_retry_after_is_honoured_within_the_deadline():
    transport = ScriptedTransport([overloaded("3"), OK])
    ((result, seconds, _),) = run(transport, {"deadline_s": 5.0})
    assert result.outcome == "fresh"
    assert 3.0 <= seconds <= 3.2


def test_a_retry_after_beyond_the_deadline_is_not_waited_for():
    ((result, seconds, _),) = run(ScriptedTransport([overloaded("30")]), {"deadline_s": 5.0})
    assert (result.outcome, result.attempts, seconds) == ("refused", 1, 0.0)


def test_backoff_has_full_jitter_and_stays_under_its_bounds():
    transport = ScriptedTransport([LOST])
    changes = {"attempts": 7, "deadline_s": 60.0}
    ((_, seconds, _),) = run(transport, changes | {"retry_budget": 9.0})
    assert len(transport.sent) == 7
    assert 0.0 < seconds < 0.2 + 0.4 + 0.8 + 1.6 + BACKOFF_CAP_S + BACKOFF_CAP_S


def test_the_retry_budget_bounds_the_load_on_a_failing_cloud():
    transport = ScriptedTransport([TransportResponse(500)])
    run(transport, {"retry_budget": 0.2}, times=100)
    assert 100 + 18 <= len(transport.sent) <= 100 + 20 + 3


def test_the_breaker_opens_spares_the_cloud_and_closes_after_a_probe():
    transport = ScriptedTransport([LOST, LOST, LOST, OK])
    changes = {"attempts": 1, "breaker_failures": 3, "breaker_open_s": 5.0}
    results = run(transport, changes, times=10, pause_s=1.0)
    outcomes = [result.outcome for result, _, _ in results]
    assert outcomes == ["network"] * 3 + ["breaker"] * 4 + ["fresh"] * 3
    assert [s for _, _, s in results][2:8] == [BreakerState.OPEN] * 5 + [BreakerState.CLOSED]
    assert all(r.attempts == 0 for r, _, _ in results if r.outcome == "breaker")
    assert len(transport.sent) == 6


def test_a_refresh_that_opens_the_breaker_says_why_and_does_not_wait_for_it():
    transport = ScriptedTransport([LOST])
    changes = {"attempts": 3, "breaker_failures": 2, "breaker_open_s": 60.0, "deadline_s": 30.0}
    ((first, _, _), (second, seconds, _)) = run(transport, changes, times=2)
    assert (first.outcome, first.attempts) == ("network", 2)
    assert (second.outcome, second.attempts, seconds) == ("breaker", 0, 0.0)


def test_the_pool_is_rebuilt_before_the_probe_and_only_then():
    transport = ScriptedTransport([LOST, LOST, OK])
    changes = {"attempts": 1, "breaker_failures": 2, "breaker_open_s": 5.0}
    run(transport, changes, times=2)
    assert transport.rebuilds == 0
    transport = ScriptedTransport([LOST, LOST, OK])
    run(transport, changes, times=4, pause_s=5.0)
    assert transport.rebuilds == 1


def test_a_refusal_shows_that_the_cloud_is_alive():
    transport = ScriptedTransport([overloaded()])
    results = run(transport, {"attempts": 1, "breaker_failures": 2}, times=5)
    assert [r.outcome for r, _, _ in results] == ["refused"] * 5


def test_a_deadline_counts_as_a_failure():
    hanging = ScriptedTransport([OK], delay_s=3600.0)
    results = run(hanging, {"deadline_s": 1.0, "breaker_failures": 2}, times=3)
    assert [r.outcome for r, _, _ in results] == ["deadline", "deadline", "breaker"]


def test_a_cancelled_probe_does_not_lock_the_breaker():
    transport = ScriptedTransport([LOST, OK], delay_s=1.0)

    async def main():
        link = CloudLink(
            transport,
            settings(attempts=1, breaker_failures=1, breaker_open_s=5.0),
            VirtualClock(),
            Random(1),
        )
        with pytest.raises(RefreshFailed):
            await link.refresh("ann", "words", 1, "b")
        await asyncio.sleep(5.0)
        probe = asyncio.create_task(link.refresh("ann", "words", 1, "b"))
        await asyncio.sleep(0.5)
        with pytest.raises(RefreshFailed, match="for a while"):
            await link.refresh("bob", "words", 1, "b")
        probe.cancel()
        with pytest.raises(asyncio.CancelledError):
            await probe
        result = await link.refresh("ann", "words", 1, "b")
        return result.outcome, link.breaker_state

    assert run_virtual(main) == ("fresh", BreakerState.CLOSED)
