from pathlib import Path

import numpy as np
import pytest

from shared.bundle import load_bundle
from shared.errors import BundleError
from shared.fixed_texts import (
    LEAST_COSINE,
    TEXTS,
    FixedTexts,
    difference,
    encode_fixed_texts,
    read_fixed_texts,
)
from tests.support.bundles import make_bundle


def fixed(dim: int = 16, seed: int = 0) -> FixedTexts:
    vectors = np.random.default_rng(seed).standard_normal((len(TEXTS), dim)).astype(np.float32)
    return FixedTexts(TEXTS, vectors)


def test_a_bundle_keeps_them(tmp_path: Path) -> None:
    kept = read_fixed_texts(load_bundle(make_bundle(tmp_path / "b", fixed=fixed()).path))
    assert kept is not None
    assert kept.texts == TEXTS
    np.testing.assert_array_equal(kept.vectors, fixed().vectors)


def test_a_bundle_without_them_is_as_readable_as_before(tmp_path: Path) -> None:
    bundle = load_bundle(make_bundle(tmp_path / "b").path)
    assert read_fixed_texts(bundle) is None


def test_a_manifest_without_the_files_hash_keeps_its_id(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "b")
    assert bundle.manifest.embedder.content is None
    path = bundle.path / "manifest.json"
    without = path.read_text().replace(',\n    "content": null', "")
    assert without != path.read_text()
    path.write_text(without)  # as it was written before there was such a field
    assert load_bundle(bundle.path).id == bundle.id
    told = bundle.manifest.embedder.model_copy(update={"content": "abc"})
    assert bundle.manifest.model_copy(update={"embedder": told}).identity() != bundle.id


@pytest.mark.parametrize(
    "data",
    [b"", b"no archive", encode_fixed_texts(fixed())[:-40], encode_fixed_texts(fixed(dim=8))],
)
def test_others_are_refused_by_file(tmp_path: Path, data: bytes) -> None:
    bundle = make_bundle(tmp_path / "b", fixed=fixed())
    bundle.file("fixed_texts.npz").write_bytes(data)
    with pytest.raises(BundleError, match=r"fixed_texts\.npz"):
        read_fixed_texts(bundle)


def test_unusable_vectors_are_none() -> None:
    for damage in (np.nan, np.inf, 0.0):
        vectors = fixed().vectors.copy()
        vectors[3] = damage
        with pytest.raises(ValueError, match="no usable vector"):
            FixedTexts(TEXTS, vectors)


def test_length_of_a_vector_does_not_matter_and_direction_does() -> None:
    one = fixed()
    assert difference(TEXTS, one.cosines(7 * one.vectors)) is None
    cosines = np.ones(len(TEXTS))
    cosines[5] = LEAST_COSINE - 1e-6
    assert difference(TEXTS, cosines) is not None, "one text that differs is enough"


@pytest.mark.parametrize(
    ("cosines", "cause"),
    [
        (np.full(16, 0.01), "another model"),
        (np.linspace(0.6, 0.92, 16), "another pooling"),
        (np.full(16, 0.985), "coarser numbers"),
        (np.where([len(text) > 100 for text in TEXTS], 0.95, 1.0), "long texts are cut elsewhere"),
    ],
)
def test_names_the_likeliest_cause(cosines: np.ndarray, cause: str) -> None:
    assert cause in (difference(TEXTS, cosines) or "")


def test_no_text_is_long_and_all_differ() -> None:
    assert len(set(TEXTS)) == len(TEXTS) == 16
    assert max(map(len, TEXTS)) < 400
