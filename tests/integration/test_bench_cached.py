"""The bench's rows of the cloud compare what they say they compare."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.cached import compare_cached
from benchmarks.http_load import Unanswered, http_request, requests_per_second
from cloud_service.settings import CloudSettings
from scalrec.settings import Settings
from scalrec.stack.cloud_stack import running_cloud
from scalrec.stack.embedder_server import ServedEmbedder
from shared.progress import NullProgress
from tests.support.bundles import make_bundle
from training.settings import TextModelSettings


async def test_cached_snapshots_are_read_with_tokens_and_beside_a_bare_route(
    tmp_path: Path,
) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    settings = Settings(
        work_dir=tmp_path,
        embedder=TextModelSettings(backend="hashing", model="hashing-16"),
        cloud=CloudSettings(port=0, device_requests_per_minute=0),
    )
    served = ServedEmbedder(settings.embedder, None)
    async with running_cloud(
        settings, bundle.path, served, logs=tmp_path, progress=NullProgress()
    ) as cloud:
        (row,) = await compare_cached(cloud, bundle.id, logs=tmp_path, rounds=2)
        assert row.ours > 0
        assert row.theirs > 0
        # Far below what is aimed at: other tests may be running beside this one.
        assert row.ratio > 0.1
        unknown = http_request("GET", f"{cloud.url}/v1/users/nobody/snapshot", {})
        with pytest.raises(Unanswered, match="401"):
            await requests_per_second(cloud.url, [unknown], 1)
