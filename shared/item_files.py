"""The item files that a device downloads in place of float32 arrays: .npz without pickles."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.bundle import STARTER_FILE, TABLE_FILE, Bundle
from shared.errors import BundleError
from shared.packed import PackedVectors, pack
from shared.profile import DeviceProfile

Floats = NDArray[np.float32]
Items = NDArray[np.int32]

_PACKED = ("codes", "scale", "bias")


def device_tables(
    profile: DeviceProfile,
    vectors: Floats,
    bias: Floats,
    popularity: Floats,
    semantic: Floats | None = None,
) -> dict[str, bytes]:
    """Name -> content of what a bundle holds beside the float32 arrays for this profile.

    Args:
        vectors: [I, d]. bias, popularity: [I].
        semantic: [I, d] vectors of the semantic channel; None where ``vectors`` serve both.
    """
    if profile.table == "int8":
        return {TABLE_FILE: _encode(pack(vectors, bias, semantic))}
    if profile.table == "none":
        items = by_popularity(popularity)[: profile.starter_items]
        own = None if semantic is None else semantic[items]
        packed = pack(vectors[items], bias[items], own)
        return {STARTER_FILE: _encode(packed, items=items, popularity=popularity[items])}
    return {}


def packed_items(bundle: Bundle) -> PackedVectors:
    """What all items of the bundle's float32 arrays pack to: for snapshots and item pages."""
    own = bundle.manifest.semantic_vectors == "own"
    return pack(
        bundle.array("item_vectors.npy"),
        bundle.array("item_bias.npy"),
        bundle.semantic_vectors() if own else None,
    )


def by_popularity(popularity: Floats) -> Items:
    """[I] int32 items, most popular first, ties by index."""
    return np.argsort(-popularity, kind="stable").astype(np.int32)


def read_table(bundle: Bundle) -> PackedVectors:
    """TABLE_FILE; raises BundleError when it does not hold the bundle's items."""
    return _packed(bundle, TABLE_FILE, _decode(bundle, TABLE_FILE), bundle.manifest.n_items)


def read_starter(bundle: Bundle) -> tuple[Items, PackedVectors, Floats]:
    """STARTER_FILE: items [s], most popular first, their vectors and training counts [s]."""
    arrays = _decode(bundle, STARTER_FILE, "items", "popularity")
    items, popularity = arrays["items"], arrays["popularity"]
    n_items = bundle.manifest.n_items
    usable = (
        items.dtype == np.int32
        and items.ndim == 1
        and len(items) > 0
        and 0 <= items.min() <= items.max() < n_items
        and len(np.unique(items)) == len(items)
        and popularity.dtype == np.float32
        and popularity.shape == items.shape
        and np.isfinite(popularity).all()
    )
    if not usable:
        raise BundleError(f"{bundle.file(STARTER_FILE)} does not hold items of this bundle")
    return items, _packed(bundle, STARTER_FILE, arrays, len(items)), popularity


def _encode(packed: PackedVectors, **more: NDArray[np.generic]) -> bytes:
    buffer = io.BytesIO()
    # One vector's scales are written as they were before there could be two.
    scale = packed.scale[:, 0] if packed.vectors == 1 else packed.scale
    arrays: dict[str, NDArray[np.generic]] = {
        "codes": packed.codes, "scale": scale, "bias": packed.bias, **more
    }  # fmt: skip
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _decode(bundle: Bundle, name: str, *more: str) -> dict[str, NDArray[Any]]:
    path = bundle.file(name)
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
            return {key: arrays[key] for key in (*_PACKED, *more)}
    except (OSError, ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise BundleError(f"{path} does not hold packed item vectors: {error}") from error


def _packed(bundle: Bundle, name: str, arrays: dict[str, NDArray[Any]], n: int) -> PackedVectors:
    path, k = bundle.file(name), bundle.manifest.vectors_per_item
    shapes = {
        "codes": ((n, k * bundle.manifest.dim), np.int8),
        "scale": ((n,) if k == 1 else (n, k), np.float32),
        "bias": ((n,), np.float16),
    }
    for key, (shape, kind) in shapes.items():
        found = arrays[key]
        if found.shape != shape or found.dtype != kind:
            raise BundleError(
                f"{path} holds {key} of {found.dtype} {found.shape}, not {kind.__name__} {shape}"
            )
    packed = PackedVectors(arrays["codes"], arrays["scale"].reshape(n, k), arrays["bias"])
    try:
        packed.check()
    except ValueError as error:
        raise BundleError(f"{path} is unusable: {error}") from error
    return packed
