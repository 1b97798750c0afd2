"""Answers to ``/v1/embeddings``, in the forms that servers of that name give them."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import EmbedderMismatch

Float32 = NDArray[np.float32]
UNKNOWN_FORM = "a vector of unknown form"


def rows_of(answer: Any, count: int) -> list[Any] | None:
    """What ``answer`` gives for each of ``count`` texts, in their order, not decoded yet.

    None: it does not tell which is whose. Answers come in any order and are told apart by their
    index; without it, or with one that repeats, only a lone text is sure of its own.

    Raises:
        EmbedderMismatch: it is no list of embeddings, or not as many as there are texts.
    """
    entries = _entries(answer)
    if len(entries) != count:
        raise EmbedderMismatch(f"embedder answered {len(entries)} vectors to {count} texts")
    rows = [entry.get("embedding") if isinstance(entry, dict) else entry for entry in entries]
    if count == 1:
        return rows
    places = [entry.get("index") if isinstance(entry, dict) else None for entry in entries]
    by_place = {
        place: row
        for place, row in zip(map(_number, places), rows, strict=True)
        if place is not None
    }
    if by_place.keys() != set(range(count)):
        return None
    return [by_place[place] for place in range(count)]


def vector_of(row: Any, pooling: str) -> Float32 | None:
    """The vector [m] in one row; None where it has no form that we know.

    base64 of little-endian float32, or a list of numbers, which may be wrapped in further lists. A
    matrix [t, m] holds one vector per token, of a server that leaves pooling to its clients: it is
    pooled as ``pooling`` says.
    """
    try:
        if isinstance(row, str):
            values = np.frombuffer(base64.b64decode(row, validate=True), dtype="<f4")
        else:
            with np.errstate(over="ignore"):
                values = np.asarray(row, dtype=np.float32)
    except (ValueError, TypeError, OverflowError, binascii.Error):
        return None
    while values.ndim > 1 and len(values) == 1:
        values = values[0]
    if values.ndim == 2 and values.size:
        with np.errstate(invalid="ignore"):
            values = values[-1] if pooling == "LAST" else values.mean(axis=0, dtype=np.float32)
    return values.astype(np.float32) if values.ndim == 1 and values.size else None


def matrix_of(rows: list[Any], pooling: str, dim: int | None) -> tuple[Float32, dict[int, str]]:
    """[n, m] vectors as the server gave them, and why rows (zeros) are none, by position.

    Raises:
        EmbedderMismatch: all of another dimension than ``dim``, or of several.
    """
    found = [vector_of(row, pooling) for row in rows]
    sizes = {len(vector) for vector in found if vector is not None}
    if dim is None or (dim not in sizes and sizes):
        if len(sizes) > 1:
            raise EmbedderMismatch("embedder answered vectors of several dimensions")
        if dim is not None:
            raise EmbedderMismatch(f"embedder answered {min(sizes)} dimensions, not {dim}")
        dim = min(sizes, default=1)
    matrix = np.zeros((len(rows), dim), dtype=np.float32)
    refused: dict[int, str] = {}
    for place, vector in enumerate(found):
        if vector is None:
            refused[place] = UNKNOWN_FORM
        elif len(vector) != dim:
            refused[place] = f"a vector of {len(vector)} dimensions, not {dim}"
        else:
            matrix[place] = vector
    return matrix, refused


def _number(place: Any) -> int | None:
    if isinstance(place, str) and place.isascii() and place.isdecimal() and len(place) < 10:
        return int(place)
    return place if isinstance(place, int) and not isinstance(place, bool) else None


def _entries(answer: Any) -> list[Any]:
    if isinstance(answer, dict):
        for name in ("data", "embeddings"):
            if isinstance(answer.get(name), list):
                return list(answer[name])
        if "embedding" in answer:
            return [answer]
    if isinstance(answer, list):
        return answer
    raise EmbedderMismatch("the embedding server answered in an unknown form: no list of vectors")
