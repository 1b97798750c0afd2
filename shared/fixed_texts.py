"""FixedTexts: what a text model makes of sixteen texts, by which it is known again.

A name, a folder or a server's word do not tell what a model computes: weights, pooling, prefix,
truncation and number format all change vectors, and none of them shows. So a bundle keeps the
vectors of a few texts, and whoever is to embed for it is measured against them.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.bundle import FIXED_TEXTS_FILE, Bundle
from shared.errors import BundleError

Vectors = NDArray[np.float32]

# Of several lengths and kinds, as item texts and abstracts are; none is longer than any model
# takes, for what is cut where is a setting and no property of the model.
TEXTS = (
    "Heat",
    "Fargo (1996): Crime, Drama, Thriller",
    "Coffee shop in the East Village.",
    "Mostly watches drama and film noir. Recently: Heat, Fargo. It is Friday evening.",
    "Likes comedy, animation and films for children. Seen lately: Toy Story, Babe, Aladdin.",
    "gym, train station, office, noodle house, airport lounge",
    "Running shoes for women, size 39, light blue, breathable mesh",
    "USB-C charger 65 W with two ports and a 1.8 m cable",
    "What did I watch last week that was not a thriller?",
    "THE SAME WORDS IN CAPITALS MAY OR MAY NOT MEAN THE SAME",
    "Amélie: une comédie romantique à Paris, 2001",
    "東京の夜に関する静かな映画",
    "0 1 2 3 5 8 13 21 34 55 89 144",
    "A user who returns to the same three places every weekday morning, between seven and nine, "
    "then visits restaurants of many kinds in the evening, rarely the same one twice.",
    "In the last thirty events mostly science fiction, before that mostly romance; the two most "
    "frequent categories of the whole history are drama and adventure. New titles are tried more "
    "often than known ones are seen again. The session of this evening began with a documentary.",
    "!?",
)
# Cosine below which the vector of a text is another model's. Other number formats and batches of
# the same model keep all sixteen above .9994 (bfloat16: .9998), the least of what changes it stays
# below .9952: docs/embedding-servers.md has the figures.
LEAST_COSINE = 0.998
# Mean cosines that tell causes apart, by the same figures.
_OTHER_MODEL, _OTHER_POOLING = 0.3, 0.93
_LONG = 100  # characters; only longer ones are cut by a limit that anybody would set
MOST_TEXTS, MOST_CHARS = 64, 4_000


@dataclass(frozen=True, eq=False)
class FixedTexts:
    """Texts [n] and their vectors [n, m] float32 of length 1, by one text model.

    Raises:
        ValueError: counts differ, or a vector is zero or not finite.
    """

    texts: tuple[str, ...]
    vectors: Vectors

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or len(self.vectors) != len(self.texts) or not self.texts:
            raise ValueError(f"{len(self.texts)} texts have vectors of shape {self.vectors.shape}")
        if len(self.texts) > MOST_TEXTS or max(map(len, self.texts)) > MOST_CHARS:
            raise ValueError("there are too many texts, or too long ones")
        if not np.isfinite(self.vectors).all() or not self.vectors.any(axis=1).all():
            raise ValueError("a text has no usable vector")

    def cosines(self, found: Vectors, start: int = 0) -> NDArray[np.float64]:
        """[k] of the vectors [k, m] that a model gives the texts from ``start`` on."""
        kept = self.vectors[start : start + len(found)].astype(np.float64)
        other = found.astype(np.float64)
        lengths = np.linalg.norm(kept, axis=1) * np.linalg.norm(other, axis=1)
        cosines: NDArray[np.float64] = (kept * other).sum(axis=1) / np.maximum(lengths, 1e-30)
        return cosines


def difference(texts: tuple[str, ...], cosines: NDArray[np.float64]) -> str | None:
    """In words how the model that gave ``cosines`` [n] differs; None: it is the same.

    Every text counts: one below LEAST_COSINE is a difference.
    """
    if cosines.min() >= LEAST_COSINE:
        return None
    mean = float(cosines.mean())
    short = [cosine for text, cosine in zip(texts, cosines, strict=True) if len(text) < _LONG]
    if len(short) < len(texts) and short and min(short) >= LEAST_COSINE:
        cause = "long texts are cut elsewhere (embedder.max_tokens, the server's own limit)"
    elif mean < _OTHER_MODEL:
        cause = "another model"
    elif mean < _OTHER_POOLING:
        cause = "another pooling (embedder.pooling), or a prefix that the server adds to texts"
    else:
        cause = (
            "coarser numbers (weights of six bits or fewer), a prefix that the server adds to "
            "texts, or weights that were trained further"
        )
    return (
        f"cosines of {len(texts)} fixed texts are {cosines.min():.4f} at least and {mean:.4f} in "
        f"the mean, where the same model gives {LEAST_COSINE} or more; likeliest: {cause}"
    )


def encode_fixed_texts(fixed: FixedTexts) -> bytes:
    """Bytes of the bundle's file."""
    buffer = io.BytesIO()
    np.savez(
        buffer,
        allow_pickle=False,
        texts=np.array(fixed.texts),
        vectors=np.ascontiguousarray(fixed.vectors, dtype=np.float32),
    )
    return buffer.getvalue()


def read_fixed_texts(bundle: Bundle) -> FixedTexts | None:
    """Those of a bundle; None: it was made before bundles had them.

    Raises:
        BundleError: the file holds something else, or vectors of another dimension.
    """
    if FIXED_TEXTS_FILE not in bundle.manifest.files:
        return None
    path = bundle.file(FIXED_TEXTS_FILE)
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
            texts, vectors = arrays["texts"], arrays["vectors"]
        if texts.ndim != 1 or texts.dtype.kind != "U" or vectors.dtype != np.float32:
            raise ValueError(f"texts are {texts.dtype}, vectors {vectors.dtype}")
        fixed = FixedTexts(tuple(texts.tolist()), vectors)
    except (OSError, ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise BundleError(f"{path} does not hold texts and their vectors: {error}") from error
    dim = bundle.manifest.embedder.dim
    if fixed.vectors.shape[1] != dim:
        raise BundleError(
            f"{path} holds vectors of {fixed.vectors.shape[1]} dimensions, the bundle's text model "
            f"has {dim}"
        )
    return fixed
