"""Real models of one base name and dimension are told apart: by files, and by what they compute."""

import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from cloud_service.embedding.base import model_content
from cloud_service.embedding.factory import create_embedder
from cloud_service.embedding.transformers import TransformersEmbedder
from cloud_service.settings import EmbedderSettings
from cloud_service.user_model import UserModel
from shared.bundle import Bundle
from shared.errors import EmbedderMismatch
from shared.fixed_texts import TEXTS, FixedTexts
from shared.progress import NullProgress
from tests.support.bundles import make_bundle
from tests.support.text_models import WIDTH, tiny_model
from training.semantic.embedding_cache import EmbeddingCache
from training.semantic.recognition import recognise
from training.stages.embedding import TextEmbedding

WORDS = re.findall(r"\w+|[^\w\s]+", " ".join(TEXTS))
NAME = "our-model"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two models that share name, size and words."""
    root = tmp_path_factory.mktemp("models")
    return [tiny_model(root / place / NAME, WORDS, seed=seed) for seed, place in enumerate("ab")]


def embedder_of(folder: Path, pooling: str = "MEAN") -> TransformersEmbedder:
    settings = EmbedderSettings(backend="transformers", model=str(folder), pooling=pooling)
    embedder = create_embedder(settings, model_dir=folder)
    assert isinstance(embedder, TransformersEmbedder)
    return embedder


async def bundle_of(folder: Path, path: Path) -> Bundle:
    """A bundle that was trained with the model."""
    embedder = embedder_of(folder)
    fixed = FixedTexts(TEXTS, await embedder.embed(TEXTS))
    return make_bundle(path, text_dim=WIDTH, fixed=fixed, embedder=embedder.identity)


async def test_serving_takes_the_model_of_the_bundle_wherever_it_lies(
    models: list[Path], tmp_path: Path
) -> None:
    bundle = await bundle_of(models[0], tmp_path / "bundle")
    moved = tmp_path / "elsewhere" / NAME
    shutil.copytree(models[0], moved)
    await UserModel(bundle, embedder_of(moved)).check()
    for other in (embedder_of(models[1]), embedder_of(models[0], "LAST")):
        with pytest.raises(EmbedderMismatch, match="gives other vectors"):
            await UserModel(bundle, other).check()


async def test_training_reuses_no_vector_of_another_model(
    models: list[Path], tmp_path: Path
) -> None:
    found = []
    with EmbeddingCache(tmp_path / "cache.sqlite") as cache:
        for folder in models:
            embedder = embedder_of(folder)
            await recognise(embedder, cache)
            wanted = EmbedderSettings(backend="transformers", model=str(folder))
            embedding = TextEmbedding.of(wanted, embedder, cache)
            found.append(await embedding.vectors(TEXTS, "", NullProgress()))
            assert embedder.identity.model == NAME
            np.testing.assert_allclose(found[-1], await embedder.embed(TEXTS), atol=0.02)
    assert np.abs((found[0] * found[1]).sum(axis=1)).min() < 0.9


def test_the_hash_is_of_weights_configuration_and_tokenizer(
    models: list[Path], tmp_path: Path
) -> None:
    kept = model_content(models[0])
    assert kept != model_content(models[1])
    for changed, same in (
        ("model.safetensors", False),
        ("tokenizer.json", False),
        ("config.json", False),
        ("README.md", True),
        ("1_Pooling/config.json", False),
    ):
        copy = tmp_path / changed.replace("/", "-") / NAME
        shutil.copytree(models[0], copy)
        assert model_content(copy) == kept
        file = copy / changed
        file.parent.mkdir(exist_ok=True)
        file.write_bytes((file.read_bytes() if file.exists() else b"") + b" x")
        assert (model_content(copy) == kept) is same, changed


def test_the_release_that_wrote_a_configuration_does_not_count(
    models: list[Path], tmp_path: Path
) -> None:
    copy = tmp_path / NAME
    shutil.copytree(models[0], copy)
    config = (copy / "config.json").read_text()
    newer = re.sub(r'"transformers_version": "[^"]*"', '"transformers_version": "99"', config)
    assert newer != config
    (copy / "config.json").write_text(newer)
    assert model_content(copy) == model_content(models[0])
    (copy / "config.json").write_text(newer.replace('"hidden_act": "gelu"', '"hidden_act": "relu"'))
    assert model_content(copy) != model_content(models[0])


def test_a_file_that_is_replaced_by_one_of_its_time_counts(tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    hashes = set()
    for content in (b"one", b"three"):
        weights.write_bytes(content)
        os.utime(weights, (1, 1))
        hashes.add(model_content(tmp_path))
    assert len(hashes) == 2


def test_names_are_no_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / NAME).mkdir()
    (tmp_path / NAME / "model.safetensors").write_bytes(b"one")
    assert model_content(f"~/{NAME}") == model_content(tmp_path / NAME) is not None
    assert model_content("sentence-transformers/all-MiniLM-L6-v2") is None
