"""Packed vectors: how far they are from the original, and files of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from shared.bundle import STARTER_FILE, TABLE_FILE, load_bundle, write_bundle
from shared.errors import BundleError
from shared.item_files import packed_items, read_starter, read_table
from shared.packed import joined, pack
from shared.profile import PRESETS, DeviceProfile
from tests.support.bundles import make_bundle

VECTORS = arrays.arrays(
    np.float32, st.tuples(st.integers(0, 6), st.integers(1, 9)),
    elements=st.floats(-(2.0**60), 2.0**60, width=32),
)  # fmt: skip


@given(VECTORS, st.data())
def test_every_component_is_within_half_a_scale(vectors, data):
    bias = data.draw(
        arrays.arrays(np.float32, len(vectors), elements=st.floats(-(2.0**20), 2.0**20, width=32))
    )
    packed = pack(vectors, bias)
    packed.check()
    unpacked, biases = packed.unpack()
    half = packed.scale.astype(np.float64) / 2
    error = np.abs(unpacked.astype(np.float64) - vectors)
    # Vectors of denormal numbers have no scale that float32 could hold.
    assert (error <= half * (1 + 1e-4) + 1e-37).all()
    np.testing.assert_allclose(biases, np.clip(bias, -65504, 65504), rtol=2**-11, atol=6e-8)
    assert packed.nbytes == vectors.size + 6 * len(vectors)


def test_a_zero_vector_stays_one():
    packed = pack(np.zeros((1, 3), np.float32), np.ones(1, np.float32))
    assert packed.scale.tolist() == [[0.0]]
    assert packed.unpack()[0].tolist() == [[0.0, 0.0, 0.0]]


def test_rows_are_packed_alike_alone_and_among_others():
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((7, 5)).astype(np.float32)
    bias = rng.standard_normal(7).astype(np.float32)
    rows = np.array([4, 1])
    for one, other in zip(
        pack(vectors, bias).take(rows).unpack(), pack(vectors[rows], bias[rows]).unpack(),
        strict=True,
    ):  # fmt: skip
        np.testing.assert_array_equal(one, other)


def test_files_hold_what_the_arrays_pack_to(tmp_path):
    full = make_bundle(tmp_path / "full", profile=PRESETS["full"])
    tiny = make_bundle(tmp_path / "tiny", profile=PRESETS["tiny"].model_copy(
        update={"starter_items": 7}
    ))  # fmt: skip
    expected = pack(full.array("item_vectors.npy"), full.array("item_bias.npy"))
    items, starter, popularity = read_starter(tiny)
    assert (
        items.tolist() == np.argsort(-tiny.array("item_popularity.npy"), kind="stable")[:7].tolist()
    )
    np.testing.assert_array_equal(popularity, tiny.array("item_popularity.npy")[items])
    for found, wanted in ((read_table(full), expected), (starter, expected.take(items))):
        for one, other in zip(found.unpack(), wanted.unpack(), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("table", "others"),
    [("int8", b"garbage"), ("none", b"garbage"), ("int8", "tiny"), ("none", "full")],
)
def test_files_that_do_not_fit_are_named(tmp_path, table, others):
    name = TABLE_FILE if table == "int8" else STARTER_FILE
    bundle = make_bundle(tmp_path / "bundle", profile=DeviceProfile(window=10, table=table))
    files = {n: bundle.file(n).read_bytes() for n in bundle.manifest.files}
    if isinstance(others, bytes):
        files[name] = others
    else:  # of another number of items
        smaller = make_bundle(
            tmp_path / "other", n_items=9, profile=DeviceProfile(window=10, table=table)
        )
        data = bytearray(smaller.file(name).read_bytes())
        files[name] = bytes(data) if table == "int8" else bytes(data[: len(data) // 2])
    damaged = load_bundle(write_bundle(tmp_path / "damaged", bundle.manifest, files).path)
    with pytest.raises(BundleError, match=name):
        (read_table if table == "int8" else read_starter)(damaged)


def test_rows_of_one_and_of_two_vectors_are_never_joined():
    ones, zeros = np.ones((2, 3), np.float32), np.zeros(2, np.float32)
    one, two = pack(ones, zeros), pack(ones, zeros, ones)
    assert len(joined([two, two])) == 4
    with pytest.raises(ValueError, match=r"cannot be joined: \(k, d\) of \[\(1, 3\), \(2, 3\)\]"):
        joined([one, two])


def test_files_hold_both_vectors_of_an_item(tmp_path):
    for name, read in (("full", read_table), ("tiny", lambda bundle: read_starter(bundle)[1])):
        bundle = make_bundle(tmp_path / name, profile=PRESETS[name], semantic_vectors="own")
        found = read(load_bundle(bundle.path))
        assert (found.vectors, found.dim) == (2, 8)
        wanted = packed_items(bundle)
        if name == "tiny":
            wanted = wanted.take(read_starter(bundle)[0])
        np.testing.assert_array_equal(found.unpack()[0], wanted.unpack()[0])
