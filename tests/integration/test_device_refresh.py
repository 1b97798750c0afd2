"""A device's refresh against the real cloud service, and cancelled at every await."""

import asyncio
from contextlib import aclosing, asynccontextmanager

import numpy as np
import pytest
from asgi_lifespan import LifespanManager

from cloud_service.app import create_app
from cloud_service.embedding.hashing import HashingEmbedder
from cloud_service.store.snapshot_store import MemorySnapshotStore
from cloud_service.user_model import UserModel
from device_runtime.cloud.link import CloudLink
from device_runtime.cloud.snapshot_cache import DiskSnapshotCache
from device_runtime.cloud.transport import AsgiTransport, HttpTransport, TransportError
from device_runtime.settings import LinkSettings
from shared.errors import EmbedderUnavailable
from tests.support.bundles import make_bundle
from tests.support.cloud import cloud_settings, quiet
from tests.support.devices import CONTEXT, FakeCloud, new_device, observe
from tests.support.servers import serving
from tests.support.transports import ScriptedTransport


@pytest.fixture
def bundle(tmp_path):
    return make_bundle(tmp_path / "bundle")


class FailingEmbedder(HashingEmbedder):
    """The real hashing embedder until ``down`` is set."""

    down = False

    async def embed(self, texts):
        if self.down:
            raise EmbedderUnavailable("embedder is gone")
        return await super().embed(texts)


@asynccontextmanager
async def cloud(bundle, kind):
    """A link to the real service over real sockets, or in process."""
    embedder = FailingEmbedder(16)
    app = create_app(
        cloud_settings(),
        bundle=bundle,
        embedder=embedder,
        store=MemorySnapshotStore(),
        telemetry=quiet()[0],
    )
    settings = LinkSettings(attempts=1)
    if kind == "http":
        async with serving(app) as url, aclosing(CloudLink(HttpTransport(url), settings)) as link:
            yield link, embedder
    else:
        async with LifespanManager(app), aclosing(CloudLink(AsgiTransport(app), settings)) as link:
            yield link, embedder


@pytest.mark.parametrize("kind", ["http", "asgi"])
async def test_abstract_to_snapshot_to_answer(bundle, kind):
    device = new_device(bundle, "ann@home")
    observe(device, [4, 7, 4, 9])
    async with cloud(bundle, kind) as (link, embedder):
        result = await device.refresh(link, CONTEXT)
        assert (result.outcome, result.attempts) == ("fresh", 1)
        assert result.response_bytes == len(result.blob)
        observe(device, [11], start_s=20_000.0)
        response = device.request(CONTEXT)
        assert response.source == "snapshot"
        assert response.diagnostics.delta == 1
        assert response.diagnostics.snapshot_tau == 4
        # The snapshot is what the cloud's own model says about exactly this abstract.
        twin = new_device(bundle)
        observe(twin, [4, 7, 4, 9])
        abstract = twin._writer.write(twin._history.events, CONTEXT)
        expected = await UserModel(bundle, embedder, deadline_s=5.0).e_sem([abstract])
        held = device.snapshot.snapshot
        np.testing.assert_allclose(held.e_sem, expected[0], rtol=1e-5)
        best = np.argsort(-(bundle.array("item_vectors.npy") @ held.e_sem))[: len(held.items)]
        assert held.items.tolist() == best.tolist()


async def test_a_cloud_without_embedder_sends_its_last_snapshot_marked_stale(bundle):
    device, restarted = new_device(bundle), new_device(bundle)
    for each in (device, restarted):
        observe(each, [1, 2, 3])
    async with cloud(bundle, "asgi") as (link, embedder):
        assert (await device.refresh(link, CONTEXT)).outcome == "fresh"
        embedder.down = True
        observe(device, [5])
        observe(restarted, [5])
        assert (await device.refresh(link, CONTEXT)).outcome == "stale"
        assert (await restarted.refresh(link, CONTEXT)).outcome == "stale"
    assert device.request(CONTEXT).diagnostics.delta == 1
    assert restarted.request(CONTEXT).diagnostics.delta == 1


async def test_a_cloud_of_another_bundle_is_refused(bundle, tmp_path):
    device = new_device(make_bundle(tmp_path / "other", seed=1))
    observe(device, [1, 2, 3])
    async with cloud(bundle, "asgi") as (link, _):
        result = await device.refresh(link, CONTEXT)
    assert result.outcome == "rejected"
    assert "409" in result.detail
    assert device.request(CONTEXT).source == "local"


@pytest.mark.parametrize("first", ["answer", "failure"])
async def test_a_refresh_cancelled_at_any_await_leaves_the_device_whole(bundle, tmp_path, first):
    fake = FakeCloud(bundle)
    suspensions = 4
    completed = False
    for ticks in range(400):
        cache = DiskSnapshotCache(tmp_path / f"cache-{ticks}")
        answers = [fake] if first == "answer" else [TransportError("lost"), fake]
        link = CloudLink(
            ScriptedTransport(answers, suspensions=suspensions),
            LinkSettings(attempts=2, retry_budget=1.0),
        )
        device = new_device(bundle, cache=cache)
        observe(device, [1, 2, 3])
        refreshing = asyncio.create_task(device.refresh(link, CONTEXT))
        for _ in range(ticks):
            await asyncio.sleep(0)
            assert len(device.request(CONTEXT).items) == 10, "requests never wait for a refresh"
        completed = refreshing.done()
        refreshing.cancel()
        if not completed:
            with pytest.raises(asyncio.CancelledError):
                await refreshing
        response = device.request(CONTEXT)
        assert len(response.items) == 10
        assert (response.source == "snapshot") == (device.snapshot is not None)
        observe(device, [4], start_s=20_000.0)
        again = await device.refresh(link, CONTEXT)
        assert again.outcome == "fresh"
        assert device.request(CONTEXT).diagnostics.delta == 0
        restarted = new_device(bundle, cache=DiskSnapshotCache(tmp_path / f"cache-{ticks}"))
        assert restarted.snapshot.snapshot == device.snapshot.snapshot
        if completed:
            break
    assert completed, "the refresh never came to its end"
    assert ticks > suspensions


async def test_one_refresh_at_a_time(bundle):
    transport = ScriptedTransport([FakeCloud(bundle)], delay_s=0.05)
    link = CloudLink(transport, LinkSettings())
    device = new_device(bundle)
    observe(device, [1, 2, 3])
    results = await asyncio.gather(*(device.refresh(link, CONTEXT) for _ in range(5)))
    assert [r.outcome for r in results if r is not None] == ["fresh"]
    assert len(transport.sent) == 1
    assert (await device.refresh(link, CONTEXT)).outcome == "fresh"
