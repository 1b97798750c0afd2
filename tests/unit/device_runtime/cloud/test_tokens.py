"""A device and its token: carried, renewed once when refused, and never in the way of an answer."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from asgi_lifespan import LifespanManager
from pydantic import SecretStr

from cloud_service.app import create_app
from cloud_service.embedding.hashing import HashingEmbedder
from cloud_service.store.snapshot_store import MemorySnapshotStore
from device_runtime.cloud.breaker import BreakerState
from device_runtime.cloud.link import CloudLink, RefreshFailed
from device_runtime.cloud.tokens import CarriedTokens, TokenUnavailable
from device_runtime.cloud.transport import AsgiTransport, TransportResponse
from device_runtime.settings import LinkSettings
from shared.tokens import KeyRing, TokenIssuer, new_key
from tests.support.bundles import make_bundle
from tests.support.cloud import cloud_settings, quiet
from tests.support.devices import CONTEXT, new_device, observe
from tests.support.transports import ScriptedTransport, SentRequest

OK = TransportResponse(200, {}, b"blob")


class Issued:
    """Tokens t1, t2, ... in the order they are asked for."""

    def __init__(self) -> None:
        self.users: list[str] = []

    async def __call__(self, user: str) -> str:
        self.users.append(user)
        return f"t{len(self.users)}"


def accepting(*tokens: str) -> ScriptedTransport:
    def answer(sent: SentRequest) -> TransportResponse:
        shown = sent.headers["Authorization"].removeprefix("Bearer ")
        return OK if shown in tokens else TransportResponse(401)

    return ScriptedTransport([answer])


def link(transport: ScriptedTransport, issued: Issued, attempts: int = 1) -> CloudLink:
    return CloudLink(transport, LinkSettings(attempts=attempts), tokens=CarriedTokens(issued))


async def test_one_token_is_carried_from_refresh_to_refresh() -> None:
    issued = Issued()
    to = link(accepting("t1"), issued)
    for _ in range(3):
        assert (await to.refresh("ann", "words", 1, "b")).outcome == "fresh"
    assert issued.users == ["ann"]


async def test_a_refused_token_is_renewed_once_and_then_carried() -> None:
    issued, transport = Issued(), accepting("t2")
    to = link(transport, issued)
    result = await to.refresh("ann", "words", 1, "b")
    assert (result.outcome, result.attempts) == ("fresh", 2)
    assert (await to.refresh("ann", "words", 2, "b")).attempts == 1
    assert len(issued.users) == 2


async def test_refused_again_it_says_so_and_the_cloud_counts_as_alive() -> None:
    issued, transport = Issued(), accepting()
    to = link(transport, issued, attempts=3)
    with pytest.raises(RefreshFailed, match="401") as failure:
        await to.refresh("ann", "words", 1, "b")
    assert failure.value.result.outcome == "rejected"
    assert len(transport.sent) == 2
    assert to.breaker_state is BreakerState.CLOSED


async def test_nobody_who_issues_tokens_is_a_clear_failure_without_a_request() -> None:
    async def nobody(user: str) -> str:
        raise TokenUnavailable("the identity service is away")

    transport = accepting("t1")
    to = CloudLink(transport, LinkSettings(), tokens=CarriedTokens(nobody))
    with pytest.raises(RefreshFailed, match="no token to show: the identity service is away"):
        await to.refresh("ann", "words", 1, "b")
    assert transport.sent == []


async def test_one_id_names_a_refresh_on_all_its_attempts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    transport = ScriptedTransport([TransportResponse(500)])
    to = CloudLink(transport, LinkSettings(attempts=2, retry_budget=1.0))
    with caplog.at_level(logging.DEBUG), pytest.raises(RefreshFailed) as failure:
        await to.refresh("ann", "very private words", 1, "b")
    refresh_id = failure.value.result.refresh_id
    assert [sent.headers["Scalrec-Refresh"] for sent in transport.sent] == [refresh_id] * 2
    assert [sent.headers["X-Request-ID"] for sent in transport.sent] == [
        f"{refresh_id}-1",
        f"{refresh_id}-2",
    ]
    assert caplog.text.count(refresh_id) == 2
    assert "private" not in caplog.text


@pytest.mark.parametrize("rotation", ["expired", "key replaced"])
async def test_against_the_real_cloud_a_device_outlives_its_token(
    tmp_path: Path, rotation: str
) -> None:
    bundle, clock = make_bundle(tmp_path / "bundle"), [1_700_000_000.0]
    keys = [new_key("k1"), new_key("k2")]
    telemetry, log = quiet()
    accepted = keys[1] if rotation == "key replaced" else keys[0]
    app = create_app(
        cloud_settings(auth="required", auth_keys=SecretStr(accepted)),
        bundle=bundle,
        embedder=HashingEmbedder(16),
        store=MemorySnapshotStore(),
        telemetry=telemetry,
        now=lambda: clock[0],
    )
    signing = [keys[0], accepted]  # the first token is of the old key

    async def issue(user: str) -> str:
        ring = KeyRing.parse(signing.pop(0), source="test")
        return TokenIssuer(ring, 60.0, lambda: clock[0]).issue(user)

    device = new_device(bundle, "ann")
    observe(device, [1, 2, 3])
    async with LifespanManager(app):
        to = CloudLink(AsgiTransport(app), LinkSettings(attempts=1), tokens=CarriedTokens(issue))
        if rotation == "expired":
            assert (await device.refresh(to, CONTEXT)).attempts == 1
            clock[0] += 120.0
            observe(device, [4], start_s=20_000.0)
        result = await device.refresh(to, CONTEXT)
        assert (result.outcome, result.attempts) == ("fresh", 2)
        assert f'"refresh_id": "{result.refresh_id}"' in log.getvalue()
        assert device.request(CONTEXT).diagnostics.delta == 0
    await to.aclose()
