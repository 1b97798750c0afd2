"""Before a run: the real cloud on a socket, with the right and with the wrong key and bundle."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cloud_service.app import create_app
from cloud_service.embedding.hashing import HashingEmbedder
from cloud_service.store.snapshot_store import MemorySnapshotStore
from scalrec.settings import Settings
from scalrec.stack.greeting import CloudSilent, greet, served_bundle
from shared.bundle import Bundle
from shared.errors import ConfigError
from shared.tokens import new_key
from tests.support.bundles import make_bundle
from tests.support.cloud import cloud_settings, quiet
from tests.support.servers import free_port, serving

KEY = new_key("mine")


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return make_bundle(tmp_path / "bundle")


def keyed(key: str | None = None, auth: str = "required") -> Settings:
    keys = None if key is None else SecretStr(key)
    return cloud_settings(auth=auth, auth_keys=keys)


@asynccontextmanager
async def cloud(bundle: Bundle, settings: Settings) -> AsyncIterator[str]:
    app = create_app(
        settings,
        bundle=bundle,
        embedder=HashingEmbedder(bundle.manifest.embedder.dim),
        store=MemorySnapshotStore(),
        telemetry=quiet()[0],
    )
    async with serving(app) as url:
        yield url


async def test_the_right_key_and_bundle_are_let_in(bundle: Bundle) -> None:
    async with cloud(bundle, keyed(KEY)) as url:
        await greet(keyed(KEY), url, bundle.id)
    async with cloud(bundle, keyed(auth="off")) as url:
        await greet(keyed(KEY), url, bundle.id)
        await greet(keyed(auth="off"), url, bundle.id)


async def test_another_key_and_none_are_refused_in_words(bundle: Bundle, tmp_path: Path) -> None:
    file = tmp_path / "auth.keys"
    file.write_text(new_key("other") + "\n")
    async with cloud(bundle, keyed(KEY)) as url:
        with pytest.raises(ConfigError, match=r"does not accept tokens made with cloud\.auth_keys"):
            await greet(keyed(new_key("other")), url, bundle.id)
        with pytest.raises(ConfigError, match=r"auth\.keys .*401.*auth_keys_file"):
            await greet(cloud_settings(auth="required", auth_keys_file=file), url, bundle.id)
        with pytest.raises(ConfigError, match=r"cloud\.auth=off"):
            await greet(keyed(auth="off"), url, bundle.id)


async def test_another_bundle_is_refused_and_silence_told_apart(bundle: Bundle) -> None:
    async with cloud(bundle, keyed(KEY)) as url:
        with pytest.raises(ConfigError, match=f"serves bundle {bundle.id}.*--bundle"):
            await greet(keyed(KEY), url, "another")
    with pytest.raises(CloudSilent):
        await greet(keyed(KEY), f"http://127.0.0.1:{free_port()}", bundle.id)


@pytest.mark.parametrize("body", [b"[" * 200_000, b"[]", b"{}", b"null", b"", b"\xff"])
async def test_who_names_no_bundle_is_no_cloud(body: bytes) -> None:
    async def answer(_: Request) -> Response:
        return Response(body)

    async with serving(Starlette(routes=[Route("/v1/bundle", answer)])) as url:
        with pytest.raises(CloudSilent, match="no cloud answers at"):
            await served_bundle(url)


async def test_an_endless_name_of_a_bundle_is_not_told_whole() -> None:
    async def answer(_: Request) -> Response:
        return Response(b'{"bundle_id": "\\ud800\\u001b%s"}' % (b"x" * 900_000))

    async with serving(Starlette(routes=[Route("/v1/bundle", answer)])) as url:
        with pytest.raises(ConfigError, match="serves bundle") as refusal:
            await greet(keyed(auth="off"), url, "another")
    assert str(refusal.value).isprintable()
    assert len(str(refusal.value)) < 300
