"""The in-process back end, with the real MiniLM that comes as a package."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import torch

from cloud_service.embedding.base import TextsRefused, model_content
from cloud_service.embedding.factory import create_embedder
from cloud_service.embedding.transformers import TransformersEmbedder, pool
from cloud_service.settings import EmbedderSettings
from launch.model_files import resolve_model
from shared.errors import EmbedderUnavailable
from shared.number_format import NumberFormat

LONG = "A long evening of film noir, one reel after another. " * 80


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return resolve_model("minilm", cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture
async def embedder(model_dir: Path) -> AsyncIterator[TransformersEmbedder]:
    settings = EmbedderSettings(backend="transformers", model="minilm", batch_size=4, max_tokens=64)
    embedder = create_embedder(settings, model_dir=model_dir)
    assert isinstance(embedder, TransformersEmbedder)
    await embedder.ready()
    yield embedder
    await embedder.aclose()


async def test_real_model_mean_pooling(embedder: TransformersEmbedder, model_dir: Path) -> None:
    from transformers import AutoModel, AutoTokenizer

    texts = ["A cat sleeps.", LONG, "The stock market fell sharply today.", "A kitten naps.", "Hi"]
    vectors = await embedder.embed(texts)
    assert vectors.shape == (5, 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    assert vectors[0] @ vectors[3] > 0.6 > 0.3 > vectors[0] @ vectors[2]
    assert embedder.identity.model_dump() == {
        "backend": "transformers",
        "model": "minilm",
        "pooling": "MEAN",
        "dim": 384,
        "content": model_content(model_dir),
    }
    # One text at a time, in float32, without padding: what batching must not change.
    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    model = AutoModel.from_pretrained(model_dir).eval()
    for text, vector in zip(texts, vectors, strict=True):
        tokens = tokenizer(text, truncation=True, max_length=64, return_tensors="pt")
        with torch.inference_mode():
            mean = model(**tokens).last_hidden_state[0].mean(dim=0).numpy()
        assert vector @ mean / np.linalg.norm(mean) > 0.999


async def test_concurrent_callers_get_their_own_vectors(embedder: TransformersEmbedder) -> None:
    texts = ["drama", "comedy", "documentary"]
    together = await asyncio.gather(*(embedder.embed([text]) for text in texts))
    alone = await embedder.embed(texts)
    for one, row in zip(together, alone, strict=True):
        assert one[0] @ row > 0.999
    assert together[0][0] @ together[2][0] < 0.9
    assert (await embedder.embed([])).shape == (0, 384)


async def test_a_folder_without_a_model_is_unavailable(tmp_path: Path) -> None:
    embedder = TransformersEmbedder(tmp_path, model="minilm", pooling="MEAN")
    with pytest.raises(EmbedderUnavailable, match="cannot load the embedding model from"):
        await embedder.embed(["drama"])
    await embedder.aclose()


async def test_a_damaged_model_is_unavailable(model_dir: Path, tmp_path: Path) -> None:
    for file in model_dir.iterdir():
        content = file.read_bytes()
        (tmp_path / file.name).write_bytes(
            content[:1000] if file.suffix == ".safetensors" else content
        )
    embedder = TransformersEmbedder(tmp_path, model="minilm", pooling="MEAN")
    with pytest.raises(EmbedderUnavailable, match="cannot load the embedding model from"):
        await embedder.embed(["drama"])
    await embedder.aclose()


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [("MEAN", [[2.0, 3.0], [5.0, 6.0]]), ("LAST", [[3.0, 4.0], [5.0, 6.0]])],
)
def test_pooling_leaves_padding_out(pooling: str, expected: list[list[float]]) -> None:
    states = torch.tensor([[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [99.0, 99.0]]])
    mask = torch.tensor([[1, 1], [1, 0]])
    assert pool(states, mask, pooling).tolist() == expected


async def test_texts_of_as_many_tokens_share_a_batch(
    embedder: TransformersEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Characters mislead: long words are few tokens, digits and signs are one each."""
    batches: list[list[str]] = []
    forward = embedder._forward

    def noted(texts: list[str]) -> np.ndarray:
        batches.append(texts)
        return forward(texts)

    monkeypatch.setattr(embedder, "_forward", noted)
    few = ["international government information", "responsibility understanding", *["music"] * 2]
    many = [f"{n} . , ; : ! ? + - = {n}" for n in range(4)]
    mixed = [text for pair in zip(few, many, strict=True) for text in pair]
    vectors = await embedder.embed(mixed)
    assert [sorted(batch) for batch in batches] == [sorted(few), sorted(many)]
    assert embedder.texts_at_once == 4 * 4
    for text, vector in zip(mixed, vectors, strict=True):
        assert vector @ (await embedder.embed([text]))[0] > 0.999


@pytest.mark.parametrize(
    ("cpu", "asked", "wanted"),
    [
        ("float32", None, torch.float32),
        ("bfloat16", None, torch.bfloat16),
        ("bfloat16", "float32", torch.float32),
    ],
)
async def test_the_cpu_decides_the_number_format_where_nobody_does(
    model_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    cpu: str,
    asked: NumberFormat | None,
    wanted: torch.dtype,
) -> None:
    monkeypatch.setattr("cloud_service.embedding.transformers.cpu_number_format", lambda: cpu)
    embedder = TransformersEmbedder(model_dir, model="m", pooling="MEAN", number_format=asked)
    await embedder.ready()
    assert embedder._loaded is not None
    assert embedder._loaded[1].dtype == wanted
    await embedder.aclose()


async def test_a_text_without_tokens_leaves_the_others_theirs(
    embedder: TransformersEmbedder,
) -> None:
    broken = "lone \ud800 surrogate"
    with pytest.raises(TextsRefused) as refused:
        await embedder.embed(["drama", broken, "comedy"])
    assert list(refused.value.refused) == [1]
    np.testing.assert_allclose(np.linalg.norm(refused.value.vectors[[0, 2]], axis=1), 1, rtol=1e-5)
