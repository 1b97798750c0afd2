"""A query and the rest of an abstract are embedded apart, by training and by the cloud alike."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cloud_service.embedding.apart import ApartEmbedder, apart, split
from cloud_service.embedding.base import TextsRefused
from cloud_service.embedding.factory import create_embedder
from cloud_service.embedding.hashing import HashingEmbedder
from cloud_service.settings import EmbedderSettings
from cloud_service.user_model import UserModel
from device_runtime.abstract.writer import TemplateAbstract
from device_runtime.state.history import RequestContext, Window
from experiments.lazy_embedder import identity_of
from shared.errors import EmbedderMismatch
from shared.interactions import Catalogue
from tests.support.bundles import make_bundle, make_catalogue

BOTH = "Mostly drama. Recently: Heat. Asks: something like Heat"


class Choosy(HashingEmbedder):
    """Refuses texts that name a word."""

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = await super().embed(texts)
        refused = {n: "unsayable" for n, text in enumerate(texts) if "Heat" in text}
        if refused:
            vectors[list(refused)] = 0.0
            raise TextsRefused(refused, vectors)
        return vectors


def abstract(catalogue: Catalogue, items: list[int], query: str) -> str:
    hours = np.arange(len(items), dtype=np.float64)
    past = Window(np.array(items, dtype=np.int32), hours * 3600.0, hours.astype(np.float32))
    context = RequestContext(time=1e6, hour_of_week=12.0, query=query, session_events=None)
    return TemplateAbstract(catalogue).write(past, context)


def test_what_a_device_writes_falls_into_its_two_parts() -> None:
    catalogue = make_catalogue(20)
    plain, asked = (abstract(catalogue, [3, 4, 3], query) for query in ("", "a quiet comedy"))
    assert split(asked) == (plain, "a quiet comedy")
    assert split(plain) == (plain, "")
    assert split("Asks: a quiet comedy") == ("", "a quiet comedy")
    assert split(f"{plain} Asks: he said: Asks: x") == (plain, "he said: Asks: x")


async def test_each_half_is_of_one_part_and_rows_have_length_one() -> None:
    inner, embedder = HashingEmbedder(16), ApartEmbedder(HashingEmbedder(16))
    rest, query = split(BOTH)
    found = await embedder.embed([BOTH, rest, f"Asks: {query}"])
    one = await inner.embed([rest, query])
    assert found.shape == (3, 32)
    assert embedder.identity == apart(inner.identity)
    assert embedder.identity.dim == 32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(found[0], np.concatenate(one) / np.sqrt(2.0), atol=1e-6)
    np.testing.assert_allclose(found[1], np.concatenate([one[0], np.zeros(16)]), atol=1e-6)
    np.testing.assert_allclose(found[2], np.concatenate([np.zeros(16), one[1]]), atol=1e-6)
    assert (await embedder.embed([])).shape == (0, 32)


async def test_a_part_that_is_refused_leaves_the_other() -> None:
    embedder = ApartEmbedder(Choosy(16))
    kept = await embedder.embed(["Mostly drama. Asks: like Heat"])
    assert kept[0, :16].any()
    assert not kept[0, 16:].any()
    with pytest.raises(TextsRefused, match="unsayable") as caught:
        await embedder.embed(["Mostly drama.", "Asks: like Heat"])
    assert set(caught.value.refused) == {1}
    assert caught.value.vectors[0].any()


async def test_settings_make_it_and_a_cell_knows_its_identity(tmp_path: Path) -> None:
    wanted = EmbedderSettings(backend="hashing", model="hashing-16", query_apart=True)
    made = create_embedder(wanted, model_dir=None)
    assert made.identity.dim == 32
    plain = create_embedder(wanted.model_copy(update={"query_apart": False}), model_dir=None)
    assert made.identity != plain.identity
    (tmp_path / "config.json").write_text(json.dumps({"hidden_size": 16}))
    for settings in (wanted, wanted.model_copy(update={"query_apart": False})):
        known = identity_of(settings, tmp_path)
        assert known.dim == create_embedder(settings, model_dir=None).identity.dim
        assert known.pooling == create_embedder(settings, model_dir=None).identity.pooling


async def test_a_cloud_projects_both_halves_and_one_without_them_refuses(tmp_path: Path) -> None:
    embedder = ApartEmbedder(HashingEmbedder(16))
    bundle = make_bundle(tmp_path / "bundle", text_dim=32, embedder=embedder.identity)
    model = UserModel(bundle, embedder)
    await model.check()
    rest, _ = split(BOTH)
    both, silent, other = await model.e_sem([BOTH, rest, f"{rest} Asks: another thing"])
    np.testing.assert_allclose(both, model.project(await embedder.embed([BOTH]))[0], atol=1e-6)
    assert not np.allclose(both, silent)
    assert not np.allclose(both, other)
    with pytest.raises(EmbedderMismatch, match=r"query apart pooling, 32 dimensions"):
        await UserModel(bundle, HashingEmbedder(16)).check()
