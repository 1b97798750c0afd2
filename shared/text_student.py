"""StudentWeights: the text student of a bundle, and the file that it is kept in (no pickle)."""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.errors import BundleError
from shared.packed import LEVELS

STUDENT_FILE = "text_student.npz"
_ARRAYS = {"codes": np.int8, "scale": np.float16, "bias": np.float32, "out_scale": np.float32}

# What numpy and zipfile raise over files that are damaged or of another kind.
_UNREADABLE = (
    *(OSError, ValueError, EOFError, KeyError, TypeError, NotImplementedError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error),
)

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class StudentWeights:
    """A linear bag of hashed words: e_text = out_scale / |w| * sum_k w_k E[row_k] + bias.

    Attributes:
        codes: [R, d] int8; E[r] is ``codes[r] * scale[r]``.
        scale: [R] float16 in [0, 1], relative to the largest row.
        bias: [d] float32.
        out_scale: > 0.
    """

    codes: NDArray[np.int8]
    scale: NDArray[np.float16]
    bias: Floats
    out_scale: float

    @property
    def dim(self) -> int:
        """d, the length of e_text."""
        return len(self.bias)

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays in memory."""
        return self.codes.nbytes + self.scale.nbytes + self.bias.nbytes

    def sum(self, rows: NDArray[np.integer], weights: Floats) -> Floats:
        """[d] sum_k w_k E[row_k] of K rows and their weights."""
        total: Floats = (weights * self.scale[rows]) @ self.codes[rows].astype(np.float32)
        return total

    def unpack(self) -> Floats:
        """[R, d] float32 rows E."""
        return self.codes * self.scale.astype(np.float32)[:, None]


def pack_student(rows: Floats, bias: Floats, out_scale: float) -> StudentWeights:
    """Quantise float32 rows [R, d] to int8 with one scale each.

    A component is off by half a step of its row, 1/254 of the row's largest one, and by the 2^-11
    of its scale.

    Raises:
        ValueError: a number is not finite, or ``out_scale`` is not above 0.
    """
    if not (np.isfinite(rows).all() and np.isfinite(bias).all()):
        raise ValueError("the text student's weights are not finite")
    if not (math.isfinite(out_scale) and out_scale > 0):
        raise ValueError(f"the text student's out_scale is {out_scale}, not a number above 0")
    most = np.abs(rows).max(axis=1, initial=0.0)
    largest = float(most.max(initial=0.0)) or 1.0
    scale = (most / largest).astype(np.float16)
    # Codes are of the scale as it is kept, so that its rounding is not added to theirs.
    step = scale.astype(np.float32) * np.float32(largest / LEVELS)
    codes = np.rint(rows / np.where(step > 0, step, np.inf)[:, None])
    return StudentWeights(
        codes=np.clip(codes, -LEVELS, LEVELS).astype(np.int8),
        scale=scale,
        bias=bias.astype(np.float32),
        out_scale=out_scale * largest / LEVELS,
    )


def encode_student(weights: StudentWeights) -> bytes:
    """The content of STUDENT_FILE: the same weights, the same bytes."""
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        allow_pickle=False,
        codes=weights.codes,
        scale=weights.scale,
        bias=weights.bias,
        out_scale=np.float32(weights.out_scale),
    )
    return buffer.getvalue()


def decode_student(path: Path, *, rows: int, dim: int) -> StudentWeights:
    """Read STUDENT_FILE.

    Args:
        rows, dim: R and d, as the manifest says them.

    Raises:
        BundleError: the file cannot be read, or holds something else; says file and reason.
    """
    shapes = {"codes": (rows, dim), "scale": (rows,), "bias": (dim,), "out_scale": ()}
    try:
        content = io.BytesIO(path.read_bytes())
        most = sum(math.prod(shapes[k]) * np.dtype(t).itemsize for k, t in _ARRAYS.items())
        with zipfile.ZipFile(content) as parts:
            # Asked before anything is unpacked: a small file could claim to hold gigabytes.
            if sum(part.file_size for part in parts.infolist()) > most + 1024 * len(_ARRAYS):
                raise ValueError(f"it holds more than a student of {rows} rows of {dim}")
        with np.load(content, allow_pickle=False) as arrays:
            found = {key: arrays[key] for key in _ARRAYS}
    except _UNREADABLE as error:
        raise BundleError(f"{path} does not hold a text student: {error}") from error
    for key, kind in _ARRAYS.items():
        array = found[key]
        if array.shape != shapes[key] or array.dtype != kind:
            raise BundleError(
                f"{path} holds {key} of {array.dtype} {array.shape}, "
                f"not {np.dtype(kind)} {shapes[key]}; export the bundle again"
            )
        if not np.isfinite(array).all():
            raise BundleError(f"{path} holds {key} that are not finite; export the bundle again")
    if (found["scale"] < 0).any() or not found["out_scale"] > 0:
        raise BundleError(f"{path} holds scales below 0; export the bundle again")
    return StudentWeights(
        codes=found["codes"],
        scale=found["scale"],
        bias=found["bias"],
        out_scale=float(found["out_scale"]),
    )
