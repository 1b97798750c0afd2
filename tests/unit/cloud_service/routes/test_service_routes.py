"""Bundle, health, metrics, OpenAPI, and errors that belong to no route."""

import asyncio
import json
import re
import time
from pathlib import Path

import pytest

from cloud_service.app import create_app
from cloud_service.embedding.hashing import HashingEmbedder
from cloud_service.routes import health
from cloud_service.store.snapshot_store import MemorySnapshotStore
from shared.bundle import Bundle, load_bundle
from shared.errors import ConfigError
from shared.schemas import ProblemType
from tests.support.bundles import make_bundle
from tests.support.cloud import client_of, cloud_settings, quiet
from tests.unit.cloud_service.conftest import Cloud
from tests.unit.cloud_service.routes.test_snapshots import assert_problem

GATE, SIZES = {401, 403, 429}, {404, 405, 408, 413, 431}
DOCUMENTED = {
    ("POST", "/v1/users/{user}/snapshot"): GATE | SIZES | {200, 409, 415, 422, 500, 503},
    ("GET", "/v1/users/{user}/snapshot"): GATE | SIZES | {200, 304, 404, 422, 500, 503},
    ("GET", "/v1/bundle"): SIZES | {200, 500},
    ("GET", "/healthz"): SIZES | {200, 500},
    ("GET", "/readyz"): SIZES | {200, 500, 503},
}


async def test_bundle(cloud: Cloud) -> None:
    body = (await cloud.client.get("/v1/bundle")).json()
    assert body["bundle_id"] == cloud.bundle.id
    assert (body["dim"], body["n_items"], body["embedder"]) == (8, 50, "hashing-16")


async def test_health_says_which_part_is_down(cloud: Cloud) -> None:
    ready = await cloud.client.get("/readyz")
    assert ready.json() == {
        "status": "ready",
        "checks": {"store": "ok", "embedder": "ok", "bundle": "ok"},
    }
    cloud.store.down = True
    body = assert_problem(await cloud.client.get("/readyz"), 503, ProblemType.NOT_READY)
    assert body["checks"] == {"store": "not ready", "embedder": "ok", "bundle": "ok"}
    assert body["detail"] == "store: not ready"
    body = (await cloud.admin.get("/readyz")).json()
    assert body["checks"] == {
        "store": "Redis does not answer",
        "embedder": "ok",
        "bundle": "ok",
    }
    cloud.store.down, cloud.embedder.down = False, True
    body = (await cloud.admin.get("/readyz")).json()
    assert "embedder: down" in str(body["detail"])
    cloud.embedder.down = False
    (cloud.bundle.path / "item_bias.npy").write_bytes(b"altered")
    body = (await cloud.admin.get("/readyz")).json()
    assert "item_bias.npy" in str(body["detail"])
    alive = await cloud.client.get("/healthz")
    assert (alive.status_code, alive.json()["status"]) == (200, "ok")


async def test_probes_at_the_same_time_read_the_bundle_once(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []

    def counted(path: Path) -> Bundle:
        read.append(path)
        time.sleep(0.05)
        return load_bundle(path)

    monkeypatch.setattr(health, "load_bundle", counted)
    answers = await asyncio.gather(*(cloud.client.get("/readyz") for _ in range(8)))
    assert [a.status_code for a in answers] == [200] * 8
    assert len(read) == 1


async def test_another_embedder_than_the_bundles_is_not_ready(tmp_path: Path) -> None:
    telemetry, log = quiet()
    settings = cloud_settings(embedder={"model": "hashing-24"}, redis_url="redis://127.0.0.1:1")
    app = create_app(settings, bundle=make_bundle(tmp_path / "b"), telemetry=telemetry)
    async with client_of(app) as client:
        body = assert_problem(await client.get("/readyz"), 503, ProblemType.NOT_READY)
        assert "embedder: not ready" in str(body["detail"])
        answer = await client.post("/v1/users/a/snapshot", json={"abstract": "x", "step": 1})
        assert_problem(answer, 503, ProblemType.EMBEDDER_MISMATCH)
        assert answer.headers["retry-after"] == "1"  # somebody may have mended it by then
    assert "embedder is not ready yet" in log.getvalue()


async def test_metrics_count_by_template_and_never_name_a_user(cloud: Cloud) -> None:
    await cloud.post("a-very-private-name")
    await cloud.client.get("/nowhere/a-very-private-name")
    await cloud.client.request("BREW", "/healthz")
    answer = await cloud.admin.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert 'scalrec_snapshots_total{outcome="fresh"} 1.0' in answer.text
    assert 'scalrec_snapshot_computations{state="in_flight"} 0.0' in answer.text
    route = "/v1/users/{user}/snapshot"
    assert cloud.metric("http_requests_total", method="POST", route=route, status="200") == 1
    assert cloud.metric("http_requests_total", method="GET", route="unmatched", status="404") == 1
    assert "a-very-private-name" not in answer.text


async def test_apps_share_no_state(cloud: Cloud, tmp_path: Path) -> None:
    telemetry, _ = quiet()
    other = create_app(
        cloud_settings(),
        bundle=make_bundle(tmp_path / "other"),
        store=cloud.store,
        embedder=cloud.embedder,
        telemetry=telemetry,
    )
    async with client_of(other) as client:
        await cloud.post()
        assert (await client.get("/v1/bundle")).status_code == 200
        fresh = telemetry.metrics.registry.get_sample_value
        assert fresh("scalrec_snapshots_total", {"outcome": "fresh"}) is None
    await cloud.store.ping()  # lent parts stay open


@pytest.mark.parametrize("path", ["/metrics", "/docs", "/openapi.json", "/redoc"])
async def test_the_public_port_serves_the_api_alone(cloud: Cloud, path: str) -> None:
    assert_problem(await cloud.client.get(path), 404, ProblemType.NOT_FOUND)


async def test_the_admin_port_describes_the_public_api_and_serves_none_of_it(cloud: Cloud) -> None:
    page = await cloud.admin.get("/docs")
    assert page.status_code == 200
    for path in ("/v1/users/{user}/snapshot", "/v1/bundle", "/healthz", "/readyz"):
        assert path in page.text
    assert "SnapshotRequest" in page.text
    # It loads nothing, from here or elsewhere.
    assert re.findall(r"<script|<link|<img|src=|@import|url\(|https?://", page.text) == []
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert (await cloud.admin.get("/v1/bundle")).status_code == 404
    assert (await cloud.admin.get("/v1/users/ada/snapshot")).status_code == 404


async def test_unknown_paths_and_methods(cloud: Cloud) -> None:
    assert_problem(await cloud.client.get("/v2"), 404, ProblemType.NOT_FOUND)
    answer = await cloud.client.delete("/v1/bundle")
    assert_problem(answer, 405, ProblemType.METHOD_NOT_ALLOWED)
    assert answer.headers["allow"] == "GET"
    for method in ("PUT", "DELETE", "OPTIONS", "HEAD"):
        answer = await cloud.client.request(method, "/v1/users/ada/snapshot")
        assert answer.status_code == 405
        assert answer.headers["allow"] == "GET, POST"


@pytest.mark.parametrize(
    "path", ["/readyz/", "/v1/bundle/", "/v1/users/ada/snapshot/", "/metrics/"]
)
async def test_nothing_is_redirected(cloud: Cloud, path: str) -> None:
    for client in (cloud.client, cloud.admin):
        answer = await client.get(path, headers={"Host": "evil.example"})
        assert (answer.status_code, answer.json()["type"]) == (404, ProblemType.NOT_FOUND)
        assert "evil.example" not in str(answer.headers)


async def test_an_unforeseen_error_is_logged_and_answered_without_its_words(cloud: Cloud) -> None:
    async def explode(user: str, bundle_id: str) -> bytes:
        raise ZeroDivisionError("with inner words")

    cloud.store.get = explode  # type: ignore[method-assign]
    answer = await cloud.get("a-very-private-name", **{"X-Request-ID": "trace-7"})
    assert_problem(answer, 500, ProblemType.INTERNAL)
    assert "inner words" not in answer.text
    lines = [json.loads(line) for line in cloud.log.getvalue().splitlines()]
    logged = next(line for line in lines if line["event"] == "unhandled error")
    assert (logged["request_id"], logged["route"]) == ("trace-7", "/v1/users/{user}/snapshot")
    assert "a-very-private-name" not in cloud.log.getvalue()
    assert "inner words" in logged["exception"]


@pytest.mark.parametrize("given", ["two words", "x" * 65, ""])
async def test_odd_request_ids_are_replaced(cloud: Cloud, given: str) -> None:
    answer = await cloud.client.get("/healthz", headers={"X-Request-ID": given})
    assert len(answer.headers["x-request-id"]) == 32


async def test_every_route_documents_its_problems(cloud: Cloud) -> None:
    schema = (await cloud.admin.get("/openapi.json")).json()
    found = {
        (method.upper(), path): operation
        for path, operations in schema["paths"].items()
        for method, operation in operations.items()
    }
    assert {key: set(map(int, op["responses"])) for key, op in found.items()} == DOCUMENTED
    for key, operation in found.items():
        assert operation["summary"], key
        for status, response in operation["responses"].items():
            if int(status) < 400:
                continue
            (media_type,) = response["content"]
            assert media_type == "application/problem+json"
            for example in response["content"][media_type]["examples"].values():
                assert example["value"]["status"] == int(status)
            assert response["content"][media_type]["examples"]
    assert set(schema["components"]["schemas"]["ProblemType"]["enum"]) == set(ProblemType)
    ok = found["POST", "/v1/users/{user}/snapshot"]["responses"]["200"]["content"]
    assert set(ok) == {"application/json", "application/vnd.scalrec.snapshot"}
    assert schema["components"]["schemas"]["SnapshotRequest"]["examples"]


def test_more_candidates_than_a_snapshot_holds_are_refused_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = make_bundle(tmp_path / "b")  # 8 dimensions, 50 items
    store, embedder = MemorySnapshotStore(), HashingEmbedder(16)
    monkeypatch.setattr("shared.snapshot.MAX_BLOB_BYTES", 1024 + 4 * 8 + 8 * 49)
    create_app(cloud_settings(candidates=49), bundle=bundle, store=store, embedder=embedder)
    with pytest.raises(ConfigError, match=r"candidates is 60, but a snapshot holds 49"):
        create_app(cloud_settings(candidates=60), bundle=bundle, store=store, embedder=embedder)


def test_a_cloud_without_redis_says_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cloud\.redis_url or REDIS_URL"):
        create_app(cloud_settings(), bundle=make_bundle(tmp_path / "b"))
    with pytest.raises(ConfigError, match="not a Redis URL"):
        create_app(cloud_settings(redis_url="http://x"), bundle=make_bundle(tmp_path / "c"))


@pytest.mark.parametrize("url", ["redis://:pa55/word@host:1", "redis://:pa55#word@host:1"])
def test_a_malformed_redis_url_is_refused_without_repeating_its_password(
    tmp_path: Path, url: str
) -> None:
    with pytest.raises(ConfigError, match="percent-encode") as refusal:
        create_app(cloud_settings(redis_url=url), bundle=make_bundle(tmp_path / "b"))
    assert "pa55" not in str(refusal.value)
