import numpy as np
import pytest

from cloud_service.embedding.factory import create_embedder
from cloud_service.embedding.hashing import HashingEmbedder
from cloud_service.settings import EmbedderSettings
from shared.errors import ConfigError


async def test_same_text_same_unit_vector_in_every_process() -> None:
    vectors = await HashingEmbedder(16).embed(["drama and film noir", "", "drama and film noir"])
    assert vectors.dtype == np.float32
    assert vectors.shape == (3, 16)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(vectors[0], vectors[2])


async def test_vectors_are_the_same_in_every_process() -> None:
    # Frozen signs: built-in hash() would change them from process to process.
    (vector,) = await HashingEmbedder(8).embed(["heat"])
    assert np.sign(vector).tolist() == [1, -1, 1, -1, 1, 1, -1, 1]


async def test_shared_words_bring_texts_closer() -> None:
    near, base, far = await HashingEmbedder(256).embed(
        ["heat and fargo on friday", "heat and fargo on monday", "a quiet walk by the sea"]
    )
    assert near @ base > 0.5 > abs(far @ base) + 0.2


def test_factory_reads_the_dimension_from_the_name() -> None:
    settings = EmbedderSettings(backend="hashing", model="hashing-24")
    assert create_embedder(settings, model_dir=None).identity.dim == 24
    with pytest.raises(ConfigError, match="hashing-<dimension>"):
        create_embedder(EmbedderSettings(backend="hashing", model="minilm"), model_dir=None)


def test_factory_asks_for_the_server_of_vllm() -> None:
    with pytest.raises(ConfigError, match=r"embedder\.url"):
        create_embedder(EmbedderSettings(backend="vllm"), model_dir=None)
