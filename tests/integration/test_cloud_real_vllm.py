"""The vLLM back end against a real vLLM server: same vectors as transformers, whole refresh."""

from pathlib import Path

import httpx2 as httpx
import numpy as np
import pytest

from cloud_service.app import create_app
from cloud_service.embedding.factory import create_embedder
from cloud_service.settings import EmbedderSettings
from cloud_service.store.snapshot_store import MemorySnapshotStore
from launch.model_files import resolve_model
from launch.vllm_server import VllmServer
from shared.bundle import FIXED_TEXTS_FILE, Bundle, EmbedderIdentity, load_bundle, write_bundle
from shared.fixed_texts import TEXTS as FIXED
from shared.fixed_texts import FixedTexts, difference, encode_fixed_texts
from tests.support.bundles import make_bundle
from tests.support.cloud import client_of, cloud_settings, quiet
from tests.support.runs_of_cli import CliRun
from tests.support.small_log import small_log
from tests.support.small_run import QUICK, naming

pytestmark = pytest.mark.model

TEXTS = (
    "Mostly watches drama and film noir. Recently: Heat, Fargo. It is Friday evening.",
    "Coffee shop in the East Village.",
    "Ünïcödé, 東京, and an emoji 🎬.",
    "x",
    "A long evening of film noir, one reel after another. " * 100,
)


async def first_snapshot(
    bundle: Bundle, server: VllmServer, *, deadline_s: float
) -> httpx.Response:
    """What a cloud over ``bundle``, whose texts ``server`` embeds, answers a device."""
    app = create_app(
        cloud_settings(
            embedder={
                "backend": "vllm",
                "model": "minilm",
                "url": server.url,
                "api_key": server.options.api_key,
                "deadline_s": deadline_s,
            }
        ),
        bundle=bundle,
        store=MemorySnapshotStore(),
        telemetry=quiet()[0],
    )
    async with client_of(app) as client:
        assert (await client.get("/readyz")).status_code == 200
        return await client.post("/v1/users/ada/snapshot", json={"abstract": TEXTS[0], "step": 4})


async def test_agrees_with_transformers_and_serves_a_refresh(
    minilm_server: VllmServer, tmp_path: Path
) -> None:
    server, key = minilm_server, minilm_server.options.api_key
    shared = {"model": "minilm", "max_tokens": 100, "batch_size": 2}
    folder = resolve_model("minilm", cache=tmp_path)
    vllm = create_embedder(
        EmbedderSettings(backend="vllm", api_key=key, **shared), model_dir=folder, url=server.url
    )
    local = create_embedder(EmbedderSettings(backend="transformers", **shared), model_dir=folder)
    theirs, ours = await vllm.embed(TEXTS), await local.embed(TEXTS)
    np.testing.assert_allclose(np.linalg.norm(theirs, axis=1), 1, rtol=1e-5)
    # Includes the text that both must cut at the same token.
    assert (theirs * ours).sum(axis=1).min() > 0.999
    assert vllm.identity.model_dump(exclude={"backend"}) == local.identity.model_dump(
        exclude={"backend"}
    )
    # The measured check takes one back end for the other, by vectors alone.
    fixed = FixedTexts(FIXED, await local.embed(FIXED))
    assert difference(FIXED, fixed.cosines(await vllm.embed(FIXED))) is None
    await vllm.aclose()
    await local.aclose()

    template = make_bundle(tmp_path / "template", text_dim=384)
    identity = EmbedderIdentity(backend="transformers", model="minilm", pooling="MEAN", dim=384)
    names = template.manifest.files
    bundle = write_bundle(
        tmp_path / "bundle",
        template.manifest.model_copy(update={"embedder": identity}),
        {name: template.file(name).read_bytes() for name in names}
        | {FIXED_TEXTS_FILE: encode_fixed_texts(fixed)},
    )
    answer = await first_snapshot(load_bundle(bundle.path), server, deadline_s=5.0)
    assert answer.status_code == 200
    assert len(answer.json()["items"]) == 10


async def test_serves_a_bundle_that_training_embedded_inside_its_process(
    minilm_server: VllmServer, tmp_path: Path
) -> None:
    chosen = ("embedder.backend=vllm", "embedder.model=minilm", "embedder.python=/nowhere")
    options = [*QUICK, *(part for one in chosen for part in ("--set", one))]
    cold = {"SCALREC_CACHE": str(tmp_path / "cache")}
    export = CliRun(["export", *naming(*small_log(tmp_path)), *options], tmp_path / "runs", cold)
    export.finish(timeout_s=240)
    assert "vLLM serves" not in export.text()
    [manifest] = (tmp_path / "runs" / "bundles").glob("*/manifest.json")
    bundle = load_bundle(manifest.parent)
    assert bundle.manifest.embedder.backend == "transformers"
    answer = await first_snapshot(bundle, minilm_server, deadline_s=30.0)
    assert answer.status_code == 200
