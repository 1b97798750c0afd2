"""Each condition of a real Redis: its name, its words, its metric, and what `/readyz` says."""

from __future__ import annotations

import asyncio
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import get_args

import pytest
import redis.asyncio as redis
from pydantic import SecretStr
from redis._parsers.base import BaseParser
from redis.crc import key_slot
from redis.exceptions import ResponseError

from cloud_service.app import create_app
from cloud_service.store.conditions import (
    ACL_RULES,
    MEANINGS,
    Condition,
    condition_of,
    conditions_table,
    unavailable,
)
from cloud_service.store.snapshot_store import PROBE_KEYS, RedisSnapshotStore, key
from launch.redis_server import RedisServer
from shared.errors import SnapshotCorrupt, StoreUnavailable
from shared.schemas import ProblemType
from tests.support.bundles import make_bundle
from tests.support.cloud import admin_client, client_of, cloud_settings, quiet
from tests.support.redis_conditions import CONDITIONS, with_rules
from tests.support.redis_nodes import RedisNode, keys_without_ttl
from tests.support.snapshots import BUNDLE, blob_of

ROOT = Path(__file__).parents[2]
# The condition that every user's key meets, where the probe's keys tell more.
WRITES_ONLY = {"read_only", "too_few_replicas", "memory_full", "not_persisting",
               "permission:no removal", "permission:no scripts", "permission:no writing",
               "permission:renamed"}  # fmt: skip
NO_CALLS_OF_A_USER = {"permission:no removal", "cluster_node"}


@pytest.mark.parametrize("name", CONDITIONS)
async def test_a_condition_is_told_by_name_and_with_what_to_do(tmp_path: Path, name: str) -> None:
    condition = name.partition(":")[0]
    meaning = MEANINGS[condition]  # type: ignore[index]
    telemetry, log = quiet()
    async with CONDITIONS[name](tmp_path / "redis") as url:
        app = create_app(
            cloud_settings(redis_url=SecretStr(url)),
            bundle=make_bundle(tmp_path / "bundle"),
            telemetry=telemetry,
        )
        async with client_of(app) as client:
            assert (await client.get("/readyz")).status_code == 503
            ready = await admin_client(app, telemetry).get("/readyz")
            told = ready.json()["checks"]["store"]
            body = {"abstract": "Likes drama.", "step": 3}
            fresh = await client.post("/v1/users/some-user/snapshot", json=body)
            kept = await client.get("/v1/users/some-user/snapshot")
    if condition != "timeout":  # its words have the seconds in them
        assert meaning.what in told
    assert meaning.do in told
    if name == "permission:no scripts":
        assert "(it refuses EVALSHA)" in told
        assert ACL_RULES in told
    # Said at the start already, before anybody asks.
    assert "store is not ready yet" in log.getvalue()
    assert fresh.status_code == 200
    count = telemetry.metrics.registry.get_sample_value
    if name not in NO_CALLS_OF_A_USER:
        assert fresh.headers["scalrec-stored"] == "false"
        labels = {"operation": "put", "condition": condition}
        assert count("scalrec_store_failures_total", labels) == 1
    if name not in WRITES_ONLY | NO_CALLS_OF_A_USER:
        assert kept.json()["type"] == ProblemType.STORE_UNAVAILABLE
        assert kept.json()["condition"] == condition
        assert meaning.do in kept.json()["detail"]
    for text in (told, kept.text if kept.is_error else ""):
        assert not re.search(r"127\.0\.0\.1|some-user|wrong", text)
    assert "some-user" not in log.getvalue()


def test_each_condition_has_a_meaning_a_test_and_a_line_in_the_docs() -> None:
    names = set(get_args(Condition))
    assert set(MEANINGS) == names
    assert {name.partition(":")[0] for name in CONDITIONS} == names - {"other", "protected"}
    assert conditions_table() in (ROOT / "docs/redis.md").read_text()


def test_what_no_condition_fits_keeps_the_words_of_the_server() -> None:
    error = unavailable(ResponseError("the moon is full"))
    assert error.condition == "other"
    assert "the moon is full" in str(error)
    odd = unavailable(ResponseError("the \x1b[31mmoon\ud800" + "x" * 100_000))
    assert str(odd).isprintable()
    assert len(str(odd)) < 300


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        # As Redis 7 writes what Redis 6.2 wraps into the error of the script.
        ("READONLY You can't write against a read only replica. script: 8f", "read_only"),
        ("OOM command not allowed when used memory > 'maxmemory'. script: 8f", "memory_full"),
        ("NOPERM User service has no permissions to run the 'evalsha' command", "permission"),
        ("ACL failure in script: User x has no permissions to run 'set'", "permission"),
        ("MISCONF Errors writing to the AOF file: No space left on device", "not_persisting"),
        ("NOREPLICAS Not enough good replicas to write.", "too_few_replicas"),
        ("DENIED Redis is running in protected mode because", "protected"),
        ("SELECT is not allowed in cluster mode", "cluster_node"),
        ("ASK 3999 127.0.0.1:6381", "cluster_node"),
        ("LOADING Redis is loading the dataset in memory", "loading"),
    ],
)
def test_codes_of_other_versions_are_known(text: str, condition: str) -> None:
    assert condition_of(BaseParser.parse_error(text)) == condition


async def test_the_documented_rights_are_enough(tmp_path: Path) -> None:
    page = (ROOT / "docs/redis.md").read_text()
    documented = re.search(r"ACL SETUSER scalrec on >PASSWORD (.*)", page)
    assert documented is not None
    assert ACL_RULES.replace(" ", " resetchannels nocommands ", 1) in documented[1]
    async with with_rules(documented[1])(tmp_path) as url:
        store = RedisSnapshotStore(url, ttl_s=60, deadline_s=1)
        await store.ping()
        assert await store.put_if_newer("ada", BUNDLE, blob_of("ada", 1))
        assert await store.get("ada", BUNDLE) == blob_of("ada", 1)
        await store.discard("ada", BUNDLE, blob_of("ada", 1))
        assert await store.get("ada", BUNDLE) is None
        await store.aclose()


async def test_a_probe_asks_both_ends_of_a_cluster_and_leaves_nothing(tmp_path: Path) -> None:
    assert [key_slot(probe.encode()) for probe in PROBE_KEYS] == [0, 16383]
    async with RedisNode(tmp_path) as node:
        store = RedisSnapshotStore(node.url, ttl_s=60, deadline_s=1)
        await store.ping()
        assert await node.do("DBSIZE") == 0
        await store.aclose()


# Ahead of every request of the run, so that time alone does not make them give way.
LATER_MS = time.time_ns() // 1_000_000 + 3_600_000
FOREIGN = {
    "a list": ("RPUSH", b"1"),
    "a hash": ("HSET", b"field", b"1"),
    "a set": ("SADD", b"1"),
    "a sorted set": ("ZADD", b"1", b"member"),
    "a stream": ("XADD", b"*", b"field", b"1"),
    "an empty string": ("SET", b""),
    "a short string": ("SET", b"hello"),
    "a long string": ("SET", b"\xff" * 4000),
    "a number": ("SET", b"42"),
    "a blob cut short": ("SET", blob_of("ada", 99, LATER_MS)[:20]),
    "a blob with a flipped bit": ("SET", blob_of("ada", 99, LATER_MS)[:-1] + b"\x00"),
    "another user's blob": ("SET", blob_of("bob", 99, LATER_MS)),
}


@pytest.fixture
async def server(tmp_path: Path):  # type: ignore[no-untyped-def]
    async with RedisServer(tmp_path / "redis") as server:
        yield server


async def test_foreign_values_are_never_served_and_make_way(
    tmp_path: Path, server: RedisServer
) -> None:
    """Whatever lies under a user's key without a time to live: removed, counted, replaced."""
    telemetry, log = quiet()
    bundle = make_bundle(tmp_path / "bundle")
    app = create_app(cloud_settings(redis_url=server.url), bundle=bundle, telemetry=telemetry)
    count = telemetry.metrics.registry.get_sample_value

    def rejected() -> float:
        return sum(
            count("scalrec_rejected_blobs_total", {"kind": kind}) or 0
            for kind in ("corrupt", "foreign")
        )

    async with (
        client_of(app) as client,
        redis.Redis.from_url(server.url.get_secret_value()) as raw,
    ):
        for before in ("POST", "GET"):
            for number, (what, (command, *rest)) in enumerate(FOREIGN.items()):
                user = f"{before.lower()}-{number}"
                path, place = f"/v1/users/{user}/snapshot", key(user, bundle.id)
                await raw.execute_command(command, place, *rest)
                seen = rejected()
                if before == "GET":
                    nothing = await client.get(path)
                    assert nothing.json()["type"] == ProblemType.NO_SNAPSHOT, what
                    assert not await raw.exists(place), what
                fresh = await client.post(path, json={"abstract": "Likes drama.", "step": 3})
                assert fresh.headers["scalrec-stored"] == "true", what
                assert rejected() == seen + 1, what
                assert (await client.get(path)).json()["tau"] == 3, what
        assert await keys_without_ttl(raw) == []
        assert (await client.get("/readyz")).json()["checks"]["store"] == "ok"
        # The log is told as much as it may take of one kind.
        assert 0 < log.getvalue().count("stored snapshot rejected") <= 2 * len(FOREIGN)


async def test_one_foreign_value_fails_nobody_elses_read(server: RedisServer) -> None:
    store = RedisSnapshotStore(server.url.get_secret_value(), ttl_s=60, deadline_s=1)
    await store.put_if_newer("ada", BUNDLE, blob_of("ada", 1))
    async with redis.Redis.from_url(server.url.get_secret_value()) as raw:
        await raw.rpush(key("bob", BUNDLE), b"1")  # type: ignore[misc]
        # What came in between is no value of another type, and stays.
        await store.discard("ada", BUNDLE, b"")
        assert await store.get("ada", BUNDLE) == blob_of("ada", 1)
        await store.discard("bob", BUNDLE, blob_of("bob", 1))
        assert await raw.exists(key("bob", BUNDLE))
        await store.discard("bob", BUNDLE, b"")
        assert not await raw.exists(key("bob", BUNDLE))
    await store.aclose()


async def test_a_condition_passes_without_a_restart(tmp_path: Path) -> None:
    async with RedisNode(tmp_path, "maxmemory-policy noeviction") as node:
        store = RedisSnapshotStore(node.url, ttl_s=60, deadline_s=1)
        await store.ping()
        await node.do("CONFIG", "SET", "maxmemory", 1)
        with pytest.raises(StoreUnavailable) as caught:
            await store.put_if_newer("ada", BUNDLE, blob_of("ada", 1))
        assert caught.value.condition == "memory_full"
        await node.do("CONFIG", "SET", "maxmemory", 0)
        assert await store.put_if_newer("ada", BUNDLE, blob_of("ada", 1))
        await store.aclose()


WEIRD = [
    b":5\r\n", b"+OK\r\n", b"$-1\r\n", b"*-1\r\n", b"*2\r\n:1\r\n$1\r\nx\r\n", b"*0\r\n",
    b"-\r\n", b"-MOVED\r\n", b"-MOVED x y\r\n", b"-ASK 1 2\r\n", b"-NOSCRIPT\r\n",
    b"-ERR \xff\xfe\r\n", b"-LOADING\r\n", b"-WRONGTYPE\r\n", b"-OOM\r\n", b"$99999999999\r\nx",
    b"$5\r\nab", b":99999999999999999999999\r\n", b"%1\r\n+a\r\n+b\r\n",
    b">2\r\n+a\r\n+b\r\n", b"_\r\n", b"#t\r\n", b",nan\r\n", b"=5\r\ntxt:x\r\n", b"\x00" * 64, b"",
]  # fmt: skip


@pytest.mark.parametrize("reply", WEIRD, ids=repr)
async def test_whatever_a_server_answers_is_told_as_an_error_of_ours(reply: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(4096):
            writer.write(reply)
            if not reply or reply.startswith((b"$9", b"$5")):
                break  # it would be waited for
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
        store = RedisSnapshotStore(url, ttl_s=60, deadline_s=0.5)
        calls = (
            store.ping(),
            store.get("ada", BUNDLE),
            asyncio.gather(store.get("ada", BUNDLE), store.get("bob", BUNDLE)),
            store.put_if_newer("ada", BUNDLE, blob_of("ada", 1)),
            store.discard("ada", BUNDLE, b""),
        )
        for call in calls:
            with suppress(StoreUnavailable, SnapshotCorrupt):
                await call
        await store.aclose()
