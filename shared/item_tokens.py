"""ItemTokens: every item as a short sequence of codes, by which a generative model names it.

In a bundle they are an .npz without pickles.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.bundle import TOKENS_FILE, Bundle
from shared.errors import BundleError, DataError


@dataclass(frozen=True, eq=False)
class ItemTokens:
    """Codes of I items over T places; items that share a beginning resemble each other.

    Attributes:
        codes: [I, T] int32, each place counting from 0; no two items have equal rows.
        sizes: [T] number of codes that a place may hold.

    Raises:
        DataError: two items share all their codes, or a code is out of its place's range.
    """

    codes: NDArray[np.int32]
    sizes: tuple[int, ...]

    def __post_init__(self) -> None:
        codes = self.codes
        if codes.ndim != 2 or not len(codes) or codes.shape[1] != len(self.sizes):
            raise DataError(
                f"item tokens have shape {codes.shape}, expected items x {len(self.sizes)}"
            )
        if codes.min() < 0 or np.any(codes.max(axis=0) >= np.array(self.sizes)):
            raise DataError(f"item tokens lie outside their ranges {self.sizes}")
        if len(np.unique(codes, axis=0)) != len(codes):
            raise DataError("two items have the same tokens")

    def __len__(self) -> int:
        return len(self.codes)

    def similar(self, items: Sequence[int] | NDArray[np.integer]) -> tuple[NDArray[np.int64], ...]:
        """For each of ``items`` the other items that differ from it in the last code alone.

        They are the ones a generative model confuses it with (LSC4Rec, equation 5).
        """
        _, group = np.unique(self.codes[:, :-1], axis=0, return_inverse=True)
        group = group.reshape(-1)
        order = np.argsort(group, kind="stable")
        start = np.searchsorted(group[order], np.arange(group.max() + 2))
        found = (order[start[group[item]] : start[group[item] + 1]] for item in items)
        return tuple(
            members[members != item].astype(np.int64)
            for item, members in zip(items, found, strict=True)
        )


def encode_tokens(tokens: ItemTokens) -> bytes:
    """Bytes of TOKENS_FILE."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, codes=tokens.codes)
    return buffer.getvalue()


def read_tokens(bundle: Bundle) -> ItemTokens:
    """TOKENS_FILE; raises BundleError when the bundle has none or they are not of its items."""
    spec = bundle.manifest.generator
    path = bundle.file(TOKENS_FILE)
    if spec is None:
        raise BundleError(f"bundle {bundle.path} has item tokens but no generator")
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
            codes = arrays["codes"]
        if codes.dtype != np.int32 or len(codes) != bundle.manifest.n_items:
            raise DataError(f"{codes.dtype} {codes.shape} of {bundle.manifest.n_items} items")
        return ItemTokens(codes, spec.config.levels)
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, DataError) as error:
        raise BundleError(f"{path} does not hold item tokens of this bundle: {error}") from error
