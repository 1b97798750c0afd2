import asyncio
import errno
import logging
import os
import resource
import threading

import numpy as np
import pytest

from device_runtime.cloud import snapshot_cache
from device_runtime.cloud.snapshot_cache import DiskSnapshotCache, MemorySnapshotCache
from device_runtime.state.cached_snapshot import CachedSnapshot, CacheKey
from tests.support.bundles import make_bundle
from tests.support.devices import snapshot_of


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("bundle") / "b")


@pytest.fixture
def key(bundle):
    return CacheKey(user="ann", bundle_id=bundle.id, dim=8, n_items=50)


def entry(bundle, tau=3, **changes):
    return CachedSnapshot(snapshot_of(bundle, tau=tau, **changes), np.ones(8, np.float32))


@pytest.mark.parametrize("kind", ["memory", "disk"])
async def test_the_newest_snapshot_wins_in_any_order(bundle, key, kind, tmp_path):
    cache = MemorySnapshotCache() if kind == "memory" else DiskSnapshotCache(tmp_path / "cache")
    assert cache.load(key) is None
    for tau in (3, 9, 5, 9):
        await cache.store(key, entry(bundle, tau))
    assert cache.load(key).snapshot.tau == 9


@pytest.mark.parametrize("kind", ["memory", "disk"])
async def test_users_do_not_see_each_others_snapshots(bundle, key, kind, tmp_path):
    cache = MemorySnapshotCache() if kind == "memory" else DiskSnapshotCache(tmp_path / "cache")
    await cache.store(key, entry(bundle))
    assert cache.load(CacheKey(user="bob", bundle_id=bundle.id, dim=8, n_items=50)) is None


async def test_it_survives_a_restart_and_hides_the_user(bundle, key, tmp_path):
    await DiskSnapshotCache(tmp_path).store(key, entry(bundle))
    held = DiskSnapshotCache(tmp_path).load(key)
    assert held.snapshot == snapshot_of(bundle)
    assert held.e_str.tolist() == [1.0] * 8
    (file,) = tmp_path.iterdir()
    assert "ann" not in file.name
    assert file.stat().st_mode & 0o077 == 0


async def test_a_foreign_users_file_is_removed(bundle, key, tmp_path, caplog):
    cache = DiskSnapshotCache(tmp_path)
    await cache.store(key, entry(bundle))
    cache.path("ann").rename(cache.path("bob"))
    assert cache.load(CacheKey(user="bob", bundle_id=bundle.id, dim=8, n_items=50)) is None
    assert not cache.path("bob").exists()
    assert "another user" in caplog.text


async def test_a_snapshot_of_another_bundle_is_removed(bundle, key, tmp_path):
    cache = DiskSnapshotCache(tmp_path)
    await cache.store(key, entry(bundle))
    assert cache.load(CacheKey(user="ann", bundle_id="f" * 16, dim=8, n_items=50)) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("garbage", [b"", b"SCLC", b"\0" * 3_000_000], ids=["empty", "cut", "huge"])
def test_garbage_is_removed(key, tmp_path, garbage, caplog):
    cache = DiskSnapshotCache(tmp_path)
    cache.path("ann").write_bytes(garbage)
    assert cache.load(key) is None
    assert not cache.path("ann").exists()
    assert str(cache.path("ann")) in caplog.text


async def test_a_full_disk_is_reported_once_and_memory_takes_over(bundle, key, tmp_path, caplog):
    cache = DiskSnapshotCache(tmp_path)
    await cache.store(key, entry(bundle, 1))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))  # the write really fails, half-way
    try:
        with caplog.at_level(logging.WARNING):
            for tau in (2, 3, 4):
                await cache.store(key, entry(bundle, tau))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caplog.text.count("kept in memory only") == 1
    assert cache.load(key).snapshot.tau == 4
    assert DiskSnapshotCache(tmp_path).load(key).snapshot.tau == 1, "the old file is still whole"
    assert len(list(tmp_path.iterdir())) == 1, "no half-written file stays behind"
    await cache.store(key, entry(bundle, 5))
    assert DiskSnapshotCache(tmp_path).load(key).snapshot.tau == 5, "it recovers with the disk"


async def test_the_newest_snapshot_wins_over_a_spell_of_a_full_disk(
    bundle, key, tmp_path, monkeypatch
):
    real, full = snapshot_cache.write_whole, True

    def maybe_full(*arguments, **options):
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(*arguments, **options)

    monkeypatch.setattr(snapshot_cache, "write_whole", maybe_full)
    cache = DiskSnapshotCache(tmp_path)
    await cache.store(key, entry(bundle, 4))
    full = False
    await cache.store(key, entry(bundle, 3))
    assert cache.load(key).snapshot.tau == 4, "the older write has not displaced it"
    await asyncio.to_thread(cache._write, key, entry(bundle, 5))  # as of a cancelled store
    assert cache.load(key).snapshot.tau == 5


async def test_a_folder_that_cannot_be_made_does_not_stop_the_device(bundle, key, tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    cache = DiskSnapshotCache(tmp_path / "file" / "cache")
    await cache.store(key, entry(bundle))
    assert cache.load(key).snapshot.tau == 3
    assert "cannot" in caplog.text


async def test_a_read_only_file_system_does_not_stop_the_device(bundle, key, tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "open", refuse)
    cache = DiskSnapshotCache(tmp_path)
    await cache.store(key, entry(bundle))
    assert cache.load(key).snapshot.tau == 3
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []


async def test_a_killed_writers_leftover_is_cleared(bundle, key, tmp_path):
    cache = DiskSnapshotCache(tmp_path)
    leftover = cache.path("ann").with_name(f"{cache.path('ann').name}.999999-0a.partial")
    leftover.write_bytes(b"half")
    await cache.store(key, entry(bundle))
    assert list(tmp_path.iterdir()) == [cache.path("ann")]


async def test_a_cancelled_slow_write_never_lands_on_a_newer_one(
    bundle, key, tmp_path, monkeypatch
):
    """The thread goes on after its await is cancelled; the next write must still win."""
    cache = DiskSnapshotCache(tmp_path)
    release, real = threading.Event(), snapshot_cache.write_whole

    def slow(*arguments, **options):
        assert release.wait(5.0)
        real(*arguments, **options)

    monkeypatch.setattr(snapshot_cache, "write_whole", slow)
    first = asyncio.create_task(cache.store(key, entry(bundle, 1)))
    await asyncio.sleep(0.01)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    second = asyncio.create_task(cache.store(key, entry(bundle, 2)))
    await asyncio.sleep(0.01)
    release.set()
    await second
    assert cache.load(key).snapshot.tau == 2
    assert len(list(tmp_path.iterdir())) == 1
