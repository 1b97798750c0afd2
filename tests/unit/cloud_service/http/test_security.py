"""Who is let in, who is not, and what the log says about it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from pydantic import SecretStr

from cloud_service.app import create_app
from cloud_service.embedding.hashing import HashingEmbedder
from cloud_service.store.snapshot_store import MemorySnapshotStore
from shared.errors import ConfigError
from shared.schemas import MAX_HEADER_BYTES, ProblemType
from shared.tokens import KeyRing, TokenIssuer, new_key
from tests.support.bundles import make_bundle
from tests.support.cloud import client_of, cloud_settings, quiet
from tests.unit.cloud_service.routes.test_snapshots import assert_problem

KEY = new_key("k1")
ABSTRACT = "Likes very private films."
BODY = {"abstract": ABSTRACT, "step": 3}


@dataclass
class Guarded:
    """A cloud that asks for tokens, seen from outside."""

    client: httpx.AsyncClient
    log: StringIO
    clock: list[float]

    def token(self, user: str, *, device: str = "phone", ttl_s: float = 60.0) -> str:
        keys = KeyRing.parse(KEY, source="test")
        return TokenIssuer(keys, ttl_s, lambda: self.clock[0]).issue(user, device)

    async def post(self, user: str, token: str | None = None, **kwargs: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        headers |= kwargs.pop("headers", {})
        content = {} if "content" in kwargs else {"json": BODY}
        return await self.client.post(
            f"/v1/users/{user}/snapshot", headers=headers, **content, **kwargs
        )

    def refusals(self) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.log.getvalue().splitlines()]
        return [line for line in lines if line["event"] == "refused"]


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Guarded]:
    (telemetry, log), clock = quiet(), [1_700_000_000.0]
    app = create_app(
        cloud_settings(
            auth="required",
            auth_keys=SecretStr(KEY),
            device_requests_per_minute=60,
            device_burst=3,
        ),
        bundle=make_bundle(tmp_path / "bundle"),
        embedder=HashingEmbedder(16),
        store=MemorySnapshotStore(),
        telemetry=telemetry,
        now=lambda: clock[0],
    )
    async with client_of(app) as client:
        yield Guarded(client, log, clock)


async def test_the_token_of_the_user_opens_both_routes(guarded: Guarded) -> None:
    token = guarded.token("ada")
    assert (await guarded.post("ada", token)).status_code == 200
    answer = await guarded.client.get(
        "/v1/users/ada/snapshot", headers={"Authorization": f"bearer {token}"}
    )
    assert answer.status_code == 200
    assert guarded.refusals() == []


async def test_no_token_is_told_how_to_come_back(guarded: Guarded) -> None:
    answer = await guarded.post("ada")
    assert_problem(answer, 401, ProblemType.UNAUTHENTICATED)
    assert answer.headers["www-authenticate"] == 'Bearer realm="scalrec"'


@pytest.mark.parametrize("authorization", ["Basic YTpi", "Bearer", "Bearer ", "x"])
async def test_other_schemes_are_no_token(guarded: Guarded, authorization: str) -> None:
    answer = await guarded.post("ada", headers={"Authorization": authorization})
    assert_problem(answer, 401, ProblemType.UNAUTHENTICATED)


async def test_an_expired_token_is_refused(guarded: Guarded) -> None:
    token = guarded.token("ada", ttl_s=60.0)
    guarded.clock[0] += 66.0
    answer = await guarded.post("ada", token)
    assert_problem(answer, 401, ProblemType.UNAUTHENTICATED)
    assert answer.headers["www-authenticate"] == 'Bearer realm="scalrec", error="invalid_token"'
    assert guarded.refusals()[-1]["why"] == "expired"


async def test_a_token_for_a_is_forbidden_on_b(guarded: Guarded) -> None:
    bob, ada = guarded.token("bob"), guarded.token("ada")
    assert (await guarded.post("bob", bob)).status_code == 200
    assert_problem(await guarded.post("bob", ada), 403, ProblemType.FORBIDDEN)
    answer = await guarded.client.get(
        "/v1/users/bob/snapshot", headers={"Authorization": f"Bearer {ada}"}
    )
    assert_problem(answer, 403, ProblemType.FORBIDDEN)


async def test_who_is_not_let_in_has_no_body_read(guarded: Guarded) -> None:
    sent = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(10):
            sent += 1
            yield b"{"

    answer = await guarded.client.post(
        "/v1/users/ada/snapshot", content=body(), headers={"Content-Type": "application/json"}
    )
    assert_problem(answer, 401, ProblemType.UNAUTHENTICATED)
    assert sent == 0


async def test_a_device_that_asks_too_often_waits_and_delays_nobody_else(guarded: Guarded) -> None:
    phone, tablet = guarded.token("ada"), guarded.token("ada", device="tablet")
    for _ in range(3):
        assert (await guarded.post("ada", phone)).status_code == 200
    answer = await guarded.post("ada", phone)
    assert_problem(answer, 429, ProblemType.RATE_LIMITED)
    assert answer.headers["retry-after"] == "1"  # 60 a minute
    assert (await guarded.post("ada", tablet)).status_code == 200
    assert (await guarded.post("bob", guarded.token("bob"))).status_code == 200


async def test_refusals_of_strangers_cost_the_user_nothing(guarded: Guarded) -> None:
    for _ in range(10):
        assert (await guarded.post("ada", guarded.token("eve"))).status_code == 403
        assert (await guarded.post("ada", "forged")).status_code == 401
    assert (await guarded.post("ada", guarded.token("ada"))).status_code == 200


async def test_other_media_types_are_refused(guarded: Guarded) -> None:
    answer = await guarded.post(
        "ada", guarded.token("ada"), content=b"{}", headers={"Content-Type": "text/plain"}
    )
    assert_problem(answer, 415, ProblemType.UNSUPPORTED_MEDIA_TYPE)


async def test_headers_are_bounded(guarded: Guarded) -> None:
    answer = await guarded.post("ada", headers={"X-Filler": "x" * MAX_HEADER_BYTES})
    assert_problem(answer, 431, ProblemType.HEADERS_TOO_LARGE)


async def test_every_refusal_is_in_the_audit_log_with_ids_and_without_secrets(
    guarded: Guarded,
) -> None:
    token = guarded.token("very-private-name")
    stranger = guarded.token("very-private-stranger")
    ids = {"X-Request-ID": "r-1", "Scalrec-Refresh": "f-1"}
    await guarded.post("very-private-name", headers=ids)
    await guarded.post("very-private-name", stranger, headers=ids)
    await guarded.post("very-private-name", token, headers={**ids, "Content-Type": "text/plain"})
    await guarded.post(
        "very-private-name",
        token,
        content=json.dumps({"abstract": ABSTRACT, "step": -1}),
        headers={**ids, "Content-Type": "application/json"},
    )
    await guarded.post("very-private-name", token)
    await guarded.post("very-private-name", token)
    refusals = guarded.refusals()
    assert [(r["status"], r["reason"]) for r in refusals] == [
        (401, "unauthenticated"),
        (403, "forbidden"),
        (415, "unsupported-media-type"),
        (422, "invalid-request"),
        (429, "rate-limited"),
    ]
    assert [(r["request_id"], r["refresh_id"]) for r in refusals[:4]] == [("r-1", "f-1")] * 4
    assert {r["asked_for"] for r in refusals} == {refusals[2]["user"]}
    assert refusals[1]["user"] != refusals[1]["asked_for"]
    assert {r.get("device") for r in refusals[1:]} == {"phone"}
    assert "user" not in refusals[0]
    assert {r["route"] for r in refusals} == {"/v1/users/{user}/snapshot"}
    log = guarded.log.getvalue()
    for secret in (ABSTRACT, "very-private", token, stranger, KEY.partition(":")[2]):
        assert secret not in log


@pytest.mark.parametrize("refresh_id", ["two words", "x" * 65])
async def test_odd_refresh_ids_are_not_logged(guarded: Guarded, refresh_id: str) -> None:
    await guarded.post("ada", headers={"Scalrec-Refresh": refresh_id})
    assert "refresh_id" not in guarded.refusals()[-1]


def test_a_cloud_without_keys_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"scalrec token keygen .*cloud\.auth_keys_file"):
        create_app(
            cloud_settings(auth="required"),
            bundle=make_bundle(tmp_path / "b"),
            store=MemorySnapshotStore(),
            embedder=HashingEmbedder(16),
        )
