"""`scalrec.Cloud(url)` against the real service over sockets: with a token, a key and neither."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import scalrec
from cloud_service.app import create_app
from cloud_service.embedding.hashing import HashingEmbedder
from cloud_service.store.snapshot_store import MemorySnapshotStore
from shared.bundle import Bundle
from shared.errors import ConfigError
from shared.tokens import KeyRing, TokenIssuer, new_key
from tests.support.bundles import make_bundle
from tests.support.cloud import cloud_settings, quiet
from tests.support.servers import serving


@pytest.fixture(autouse=True)
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return make_bundle(tmp_path / "bundle")


@asynccontextmanager
async def service(bundle: Bundle, **cloud: object) -> AsyncIterator[str]:
    app = create_app(
        cloud_settings(**cloud),
        bundle=bundle,
        embedder=HashingEmbedder(16),
        store=MemorySnapshotStore(),
        telemetry=quiet()[0],
    )
    async with serving(app) as url:
        yield url


async def outcome(bundle: Bundle, cloud: scalrec.Cloud) -> tuple[str, str]:
    device = scalrec.Device.load(bundle, "ann")
    async with cloud:
        result = await device.refresh(cloud)
    assert result is not None
    assert (device.recommend(3).source == "snapshot") == (result.outcome == "fresh")
    return result.outcome, result.reason


async def test_a_cloud_that_asks_for_tokens_gets_the_users(bundle: Bundle, tmp_path: Path) -> None:
    key = new_key("test")
    keys = tmp_path / "keys"
    keys.write_text(f"{key}\n")
    issuer = TokenIssuer(KeyRing.parse(key, source="test"), 60.0, time.time)
    async with service(bundle, auth="required", auth_keys=key) as url:
        carried = scalrec.Cloud(url, token=issuer.issue("ann"))
        assert await outcome(bundle, carried) == ("fresh", "")
        made = scalrec.Cloud(url, settings={"cloud.auth_keys_file": keys})
        assert await outcome(bundle, made) == ("fresh", "")
        foreign = scalrec.Cloud(url, token=issuer.issue("bob"))
        assert (await outcome(bundle, foreign))[0] == "rejected"


async def test_a_cloud_that_asks_for_none_gets_none(bundle: Bundle, tmp_path: Path) -> None:
    off = {"cloud.auth": "off"}
    async with service(bundle) as url:
        assert await outcome(bundle, scalrec.Cloud(url, settings=off)) == ("fresh", "")
        other = make_bundle(tmp_path / "other", seed=1)
        found = await outcome(other, scalrec.Cloud(url, settings=off))
        assert found == ("rejected", "bundle-mismatch")
    gone = scalrec.Cloud(url, settings={**off, "device.link.deadline_s": 0.5})
    assert (await outcome(bundle, gone))[0] in ("network", "deadline")


def test_an_address_or_a_key_that_is_none_is_refused_at_once(bundle: Bundle) -> None:
    with pytest.raises(ConfigError, match=r"cloud's URL must be http"):
        scalrec.Cloud("ftp://cloud.test", token="t")
    with pytest.raises(ConfigError, match=r"cloud\.auth_keys_file"):
        scalrec.Cloud("http://cloud.test:8080")
