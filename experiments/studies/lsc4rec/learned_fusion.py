"""LearnedFusion: how much of the cloud's ranking is worth having beside the device's own.

Equation 10 fuses with one number. Here a conditional logit over the list weighs both sides' scores
and ranks, and popularity, with weights fitted on validation lists: what it cannot gain, no fusion
of these quantities gains. It is a bound for the reader, not a part of the product.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logsumexp
from scipy.stats import rankdata

RIDGE = 1e-3  # per list, on weights of features of unit variance

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LearnedFusion:
    """Weights [F] of features that were centred by ``mean`` [F] and divided by ``scale`` [F]."""

    mean: Floats
    scale: Floats
    weights: Floats

    def scores(self, features: Floats) -> Floats:
        """[R, n] of features [R, n, F]."""
        found: Floats = (features - self.mean) / self.scale @ self.weights
        return found


def list_features(
    initial: NDArray[np.floating], rerank: NDArray[np.floating], popularity: NDArray[np.floating]
) -> Floats:
    """[R, n, 5]: both sides' scores, the logarithms of their ranks, and of the popularity.

    Args:
        initial: [R, n] the cloud's scores. rerank: [R, n] the device's. popularity: [R, n] counts.
    """
    parts = [initial, rerank, *(-np.log(rankdata(-s, axis=1)) for s in (initial, rerank))]
    parts.append(np.log1p(popularity))
    return np.stack([part.astype(np.float64) for part in parts], axis=-1)


def fit_fusion(
    features: Floats, is_target: NDArray[np.bool_], allowed: NDArray[np.bool_]
) -> LearnedFusion:
    """Maximum likelihood of the target among the allowed items, over lists that hold it.

    Args:
        features: [R, n, F]. is_target, allowed: [R, n].
    """
    held = (is_target & allowed).any(axis=1)
    known = features[allowed] if allowed.any() else features.reshape(-1, features.shape[-1])
    mean, scale = known.mean(axis=0), known.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    x = (features[held] - mean) / scale
    place, may = is_target[held].argmax(axis=1), allowed[held]
    own = x[np.arange(len(x)), place]  # [R', F]

    def loss(weights: Floats) -> tuple[float, Floats]:
        scores = np.where(may, x @ weights, -np.inf)
        total = logsumexp(scores, axis=1)
        p = np.exp(scores - total[:, None])
        value = (total - own @ weights).mean() + RIDGE * weights @ weights
        gradient = (np.einsum("rn,rnf->rf", p, x) - own).mean(axis=0) + 2 * RIDGE * weights
        return float(value), gradient

    start = np.zeros(features.shape[-1])
    if not len(x):
        return LearnedFusion(mean, scale, start)
    found = minimize(loss, start, jac=True, method="L-BFGS-B")
    return LearnedFusion(mean, scale, found.x)
