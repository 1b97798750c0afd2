"""The table of item tokens in a bundle: .npz without pickles."""

from __future__ import annotations

import io
import zipfile

import numpy as np

from shared.bundle import TOKENS_FILE, Bundle
from shared.errors import BundleError, DataError
from shared.item_tokens import ItemTokens


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
