import asyncio
import base64
import json

import httpx2 as httpx
import numpy as np
import pytest

from shared.schemas import MAX_ABSTRACT_CHARS, MAX_BODY_BYTES, PROBLEM_MEDIA_TYPE, ProblemType
from shared.snapshot import MEDIA_TYPE, Snapshot, decode, encode, verify
from tests.unit.cloud_service.conftest import Cloud


def assert_problem(response: httpx.Response, status: int, type_: ProblemType) -> dict[str, object]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == PROBLEM_MEDIA_TYPE
    body: dict[str, object] = response.json()
    assert body["type"] == type_.value
    assert body["status"] == status
    assert body["title"]
    assert response.headers["x-request-id"] in str(body["instance"])
    return body


def snapshot_of(cloud: Cloud, *, tau: int, user: str = "ada", **changes: object) -> Snapshot:
    fields = {
        "user": user,
        "tau": tau,
        "created_ms": 1_700_000_000_000,
        "bundle_id": cloud.bundle.id,
        "e_sem": np.ones(8, dtype=np.float32),
        "items": np.array([4, 2], dtype=np.int32),
        "scores": np.array([0.5, 0.25], dtype=np.float32),
    }
    return Snapshot(**{**fields, **changes})  # type: ignore[arg-type]


async def test_post_computes_what_the_models_say_and_get_gives_it_back(cloud: Cloud) -> None:
    posted = await cloud.client.post(
        "/v1/users/ada/snapshot",
        json={"abstract": "Likes drama.", "step": 7, "bundle_id": cloud.bundle.id},
        headers={"Accept": MEDIA_TYPE},
    )
    assert posted.status_code == 200
    assert posted.headers["content-type"] == MEDIA_TYPE
    snapshot = verify(
        decode(posted.content), user="ada", bundle_id=cloud.bundle.id, dim=8, n_items=50
    )
    assert (snapshot.tau, snapshot.created_ms) == (7, 1_700_000_000_000)
    full = cloud.bundle.array("item_vectors.npy") @ snapshot.e_sem
    assert snapshot.items.tolist() == np.argsort(-full, kind="stable")[:10].tolist()
    np.testing.assert_allclose(snapshot.scores, full[snapshot.items], rtol=1e-5)
    assert posted.headers["etag"] == f'W/"{snapshot.version}"'
    assert posted.headers["scalrec-stale"] == "false"
    assert posted.headers["scalrec-stored"] == "true"
    assert posted.headers["scalrec-bundle"] == cloud.bundle.id
    assert posted.headers["cache-control"] == "no-store"

    cloud.clock[0] += 12.5
    got = await cloud.get(accept=f"text/html, {MEDIA_TYPE};q=0.9")
    assert got.content == posted.content
    assert got.headers["age"] == "12"
    assert "stale-while-revalidate=604800" in got.headers["cache-control"]
    assert "stale-if-error=604800" in got.headers["cache-control"]
    assert got.headers["cache-control"].startswith("private")

    as_json = (await cloud.get()).json()
    assert as_json["items"] == snapshot.items.tolist()
    assert (as_json["stale"], as_json["age_s"], as_json["version"]) == (
        False,
        12.5,
        snapshot.version,
    )
    e_sem = np.frombuffer(base64.b64decode(as_json["e_sem_base64"]), dtype="<f4")
    np.testing.assert_array_equal(e_sem, snapshot.e_sem)


async def test_if_none_match(cloud: Cloud) -> None:
    etag = (await cloud.post()).headers["etag"]
    for tags in (etag, etag.removeprefix("W/"), f'"1", {etag}', "*"):
        answer = await cloud.get(**{"If-None-Match": tags})
        assert answer.status_code == 304
        assert answer.content == b""
        assert answer.headers["etag"] == etag
        assert "content-type" not in answer.headers
    assert (await cloud.get(**{"If-None-Match": '"1", W/"2"'})).status_code == 200


async def test_no_snapshot_yet(cloud: Cloud) -> None:
    assert_problem(await cloud.get("bob"), 404, ProblemType.NO_SNAPSHOT)


async def test_another_bundle_is_refused_before_any_work(cloud: Cloud) -> None:
    answer = await cloud.post(bundle_id="0000000000000000")
    body = assert_problem(answer, 409, ProblemType.BUNDLE_MISMATCH)
    assert body["bundle_id"] == cloud.bundle.id
    assert cloud.metric("embed_seconds_count") == 0


@pytest.mark.parametrize(
    ("user", "body"),
    [
        ("ada", b""),
        ("ada", b"{"),
        ("ada", b"[" * 60_000),
        ("ada", b'{"abstract": "", "step": 1}'),
        ("ada", b'{"abstract": "x", "step": -1}'),
        ("ada", b'{"abstract": "x", "step": 4194304}'),
        ("ada", b'{"abstract": "x", "step": NaN}'),
        ("ada", b'{"abstract": "x", "step": true}'),
        ("ada", b'{"abstract": "x", "step": "7"}'),
        ("ada", b'{"abstract": "x", "step": 1, "item_tokens": [[true]]}'),
        ("ada", b'{"abstract": "x", "step": 1, "more": 2}'),
        ("ada", b'{"abstract": "\\ud800", "step": 1}'),
        ("ada", b'{"abstract": "\xff", "step": 1}'),
        ("ada", b'{"abstract": "' + b"x" * 8001 + b'", "step": 1}'),
        ("a{b}", b'{"abstract": "x", "step": 1}'),
        ("a b", b'{"abstract": "x", "step": 1}'),
        ("a" * 129, b'{"abstract": "x", "step": 1}'),
        ("%00", b'{"abstract": "x", "step": 1}'),
    ],
)
async def test_malformed_requests_are_refused(cloud: Cloud, user: str, body: bytes) -> None:
    answer = await cloud.client.post(
        f"/v1/users/{user}/snapshot", content=body, headers={"Content-Type": "application/json"}
    )
    assert 400 <= answer.status_code < 500
    assert_problem(answer, answer.status_code, ProblemType.INVALID_REQUEST)
    assert cloud.metric("embed_seconds_count") == 0


async def test_a_refusal_names_the_field_but_does_not_repeat_its_content(cloud: Cloud) -> None:
    answer = await cloud.post(step="a secret habit")
    body = assert_problem(answer, 422, ProblemType.INVALID_REQUEST)
    assert "body.step" in str(body["detail"])
    assert "secret" not in answer.text + cloud.log.getvalue()


@pytest.mark.parametrize("declared", [True, False])
async def test_bodies_are_bounded(cloud: Cloud, declared: bool) -> None:
    async def chunks():  # type: ignore[no-untyped-def]
        for _ in range(MAX_BODY_BYTES // 1024 + 2):
            yield b" " * 1024

    answer = await cloud.client.post(
        "/v1/users/ada/snapshot",
        content=b" " * (MAX_BODY_BYTES + 1) if declared else chunks(),
        headers={"Content-Type": "application/json"},
    )
    assert_problem(answer, 413, ProblemType.REQUEST_TOO_LARGE)


async def test_the_longest_abstract_fits_however_it_is_spelt(cloud: Cloud) -> None:
    abstract = "\N{GRINNING FACE}" * MAX_ABSTRACT_CHARS
    for escaped in (True, False):
        body = json.dumps({"abstract": abstract, "step": 1}, ensure_ascii=escaped)
        answer = await cloud.client.post(
            "/v1/users/ada/snapshot",
            content=body.encode(),
            headers={"Content-Type": "application/json"},
        )
        assert answer.status_code == 200


async def test_overload_is_refused_at_once(cloud: Cloud) -> None:
    cloud.embedder.delay_s = 0.4
    answers = await asyncio.gather(*(cloud.post(f"u{i}") for i in range(8)))
    assert sorted(a.status_code for a in answers) == [200] * 3 + [429] * 5
    refused = next(a for a in answers if a.status_code == 429)
    assert_problem(refused, 429, ProblemType.OVERLOADED)
    assert refused.headers["retry-after"] == "1"
    assert refused.elapsed.total_seconds() < 0.3


async def test_waiting_for_a_slot_counts_towards_the_one_deadline(cloud: Cloud) -> None:
    await cloud.post("late", step=1)
    cloud.embedder.delay_s = 0.45
    holders = [asyncio.create_task(cloud.post(f"u{i}")) for i in range(2)]
    await asyncio.sleep(0.05)
    late = asyncio.create_task(cloud.post("late", step=2))
    await asyncio.sleep(0.05)
    cloud.embedder.delay_s = 30.0
    started = asyncio.get_running_loop().time()
    answer = await late
    assert asyncio.get_running_loop().time() - started < 1.2
    assert answer.headers["scalrec-stale"] == "true"
    assert [(await h).status_code for h in holders] == [200, 200]


async def test_same_request_at_the_same_time_is_computed_once(cloud: Cloud) -> None:
    cloud.embedder.delay_s = 0.05
    answers = await asyncio.gather(*(cloud.post() for _ in range(8)))
    assert [a.status_code for a in answers] == [200] * 8
    assert len({a.headers["etag"] for a in answers}) == 1
    assert cloud.metric("embed_seconds_count") == 1
    assert cloud.metric("coalesced_requests_total") == 7


async def test_a_late_writer_gets_the_newer_snapshot(cloud: Cloud) -> None:
    newer = await cloud.post(step=9)
    late = await cloud.post(step=5)
    assert late.headers["etag"] == newer.headers["etag"]
    assert late.json()["tau"] == 9
    assert late.headers["scalrec-stale"] == "false"
    assert cloud.metric("snapshots_total", outcome="newer") == 1


async def test_embedder_failure_gives_the_last_snapshot_marked_stale(cloud: Cloud) -> None:
    first = await cloud.post(step=5)
    cloud.embedder.down = True
    cloud.clock[0] += 60
    stale = await cloud.post(step=9)
    assert stale.status_code == 200
    assert stale.headers["etag"] == first.headers["etag"]
    assert stale.headers["scalrec-stale"] == "true"
    assert stale.headers["age"] == "60"
    assert stale.json()["stale"] is True
    answer = await cloud.post("bob")
    assert_problem(answer, 503, ProblemType.EMBEDDER_UNAVAILABLE)
    assert answer.headers["retry-after"] == "1"
    cloud.embedder.down = False
    assert (await cloud.post(step=9)).json()["tau"] == 9
    assert cloud.metric("embedder_failures_total", kind="EmbedderUnavailable") == 2


async def test_unusable_vectors_are_an_embedder_mismatch(cloud: Cloud) -> None:
    cloud.embedder.vectors = np.ones((1, 15), dtype=np.float32)
    assert_problem(await cloud.post(), 503, ProblemType.EMBEDDER_MISMATCH)
    assert_problem(await cloud.get(), 404, ProblemType.NO_SNAPSHOT)


async def test_store_down(cloud: Cloud) -> None:
    cloud.store.down = True
    fresh = await cloud.post()
    assert fresh.status_code == 200
    assert fresh.headers["scalrec-stored"] == "false"
    assert cloud.metric("snapshots_not_stored_total") == 1
    assert "snapshot store failed" in cloud.log.getvalue()
    assert_problem(await cloud.get(), 503, ProblemType.STORE_UNAVAILABLE)
    cloud.embedder.down = True
    assert_problem(await cloud.post(), 503, ProblemType.EMBEDDER_UNAVAILABLE)
    cloud.store.down = cloud.embedder.down = False
    assert (await cloud.post()).headers["scalrec-stored"] == "true"


@pytest.mark.parametrize(
    ("kind", "blob_of"),
    [
        ("foreign", lambda c: encode(snapshot_of(c, tau=99, user="bob"))),
        ("foreign", lambda c: encode(snapshot_of(c, tau=99, bundle_id="another"))),
        ("foreign", lambda c: encode(snapshot_of(c, tau=99, items=np.array([4, 50], "i4")))),
        ("foreign", lambda c: encode(snapshot_of(c, tau=99, e_sem=np.ones(9, "f4")))),
        ("corrupt", lambda c: encode(snapshot_of(c, tau=99))[:-1]),
        ("corrupt", lambda _: b"\xff" * 40),
        ("corrupt", lambda _: b""),
    ],
)
async def test_what_is_not_meant_for_the_reader_never_leaves(
    cloud: Cloud, kind: str, blob_of: object
) -> None:
    bad = blob_of(cloud)  # type: ignore[operator]
    await cloud.store.put_if_newer("ada", cloud.bundle.id, bad)
    assert_problem(await cloud.get(), 404, ProblemType.NO_SNAPSHOT)
    assert cloud.metric("rejected_blobs_total", kind=kind) == 1
    # As long as it lies there it must not keep good ones out, however new it claims to be.
    await cloud.store.put_if_newer("ada", cloud.bundle.id, bad)
    fresh = await cloud.post(step=3)
    assert (fresh.json()["tau"], fresh.headers["scalrec-stored"]) == (3, "true")
    assert (await cloud.get()).json()["tau"] == 3
