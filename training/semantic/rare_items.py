"""Rare items: semantic vectors that lean on what an item's text says, the more the rarer it is.

v'_i of an item that training met often is what its users taught. That of one met once is noise
around where it started, and one that nobody met yet has no other vector than that start. What its
text says is known of every item: a linear map from texts to vectors, fitted on the items that were
met, predicts where an item's vector would have come to lie (DropoutNet, Volkovs et al., NeurIPS
2017, learns such a map inside the model). Each vector becomes

    v'_i + c / (c + n_i) (W x_i + b - v'_i)

for training counts n_i and texts x_i. The score of an item is then c / (c + n_i) times one of its
text, <W^T e, x_i>, beside the rest of what was learned of it; c is chosen on validation, and 0
leaves every vector as it is.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.choosing import best_if_ahead
from training.semantic.text_map import TextMap

PULLS = (1.0, 3.0, 10.0, 30.0)  # c, in training events
RIDGES = (1e-3, 1e-2, 1e-1, 1.0)  # in units of the mean variance of a text's coordinates
TRUSTED_AT = 5.0  # training events that make an item count half as much for the map as any may
FOLDS = 5
MARGIN = 1.0  # standard errors that a pull must be ahead by, else there is none

Float = NDArray[np.float64]


def fit_text_map(
    text: NDArray[np.float32],
    vectors: NDArray[np.float32],
    counts: NDArray[np.floating],
) -> TextMap:
    """Ridge regression of vectors [K, d] on texts [K, m], items weighted by how sure theirs are.

    The penalty with the least error on items that were left out is taken.

    Raises:
        ValueError: no item was met.
    """
    weight = counts.astype(np.float64) / (counts + TRUSTED_AT)
    met = np.flatnonzero(weight > 0)
    if not len(met):
        raise ValueError("no item has a training event to learn from")
    x, y, w = text[met].astype(np.float64), vectors[met].astype(np.float64), weight[met]
    fold = np.random.default_rng(0).permutation(len(met)) % FOLDS

    def error(ridge: float) -> float:
        total = 0.0
        for number in range(FOLDS):
            out = fold == number
            if out.all() or not out.any():
                continue
            slope, level = _ridge(x[~out], y[~out], w[~out], ridge)
            missed = ((x[out] @ slope + level - y[out]) ** 2).sum(1)
            total += float(w[out] @ missed)
        return total

    slope, level = _ridge(x, y, w, min(RIDGES, key=error))
    return TextMap(torch.from_numpy(slope).float(), torch.from_numpy(level).float())


def choose_pull(
    found: TextMap,
    vectors: Tensor,
    text: Tensor,
    counts: Tensor,
    score: Callable[[Tensor], NDArray[np.float64]],
    users: NDArray[np.int64],
) -> TextMap:
    """The map with the best of PULLS on held-out requests, or with none.

    Args:
        vectors, text, counts: as for ``pulled``, of all items.
        score: what vectors [K, d] are worth at P requests that no model was trained on.
        users: [P] whose requests they are.
    """
    maps = [TextMap(found.weight, found.bias, pull) for pull in PULLS]
    choices = [(one, score(one.pulled(vectors, text, counts))) for one in maps]
    return best_if_ahead(choices, score(vectors), users, margin=MARGIN) or found


def _ridge(x: Float, y: Float, weight: Float, ridge: float) -> tuple[Float, Float]:
    """Slope [m, d] and level [d] of the weighted regression; the level is not penalised."""
    share = weight / weight.sum()
    mean_x, mean_y = share @ x, share @ y
    centred = x - mean_x
    gram = centred.T @ (share[:, None] * centred)
    # Texts without any variance would leave nothing to invert.
    penalty = ridge * max(float(np.trace(gram)) / len(gram), 1e-12)
    moment = centred.T @ (share[:, None] * (y - mean_y))
    slope: Float = np.linalg.solve(gram + penalty * np.eye(len(gram)), moment)
    level: Float = mean_y - mean_x @ slope
    return slope, level
