"""A small log and a snapshot source over a tiny bundle, for tests of the controlled experiments."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from loadtest.evaluation.evaluation_models import EvaluationModels
from shared.interactions import InteractionLog
from tests.support.bundles import make_catalogue


def make_log(
    *, users: int = 4, events: int = 30, n_items: int = 50, seed: int = 0
) -> InteractionLog:
    """Users with ``events`` events each, an hour or so apart."""
    rng = np.random.default_rng(seed)
    n = users * events
    return InteractionLog(
        name="small",
        user=np.repeat(np.arange(users), events).astype(np.int32),
        item=rng.integers(0, n_items, n).astype(np.int32),
        time=1.6e9 + np.tile(np.cumsum(rng.uniform(600, 7200, events)), users),
        utc_offset_min=None,
        query=None,
        user_ids=tuple(f"user {u}" for u in range(users)),
        catalogue=make_catalogue(n_items),
    )


class SeededSource:
    """Embeddings drawn from (user, tau), candidates by exact search; counts what it is asked."""

    def __init__(self, models: EvaluationModels, n_candidates: int = 20) -> None:
        self._models, self._n = models, n_candidates
        self.asked: set[tuple[int, int]] = set()

    def e_sem(self, user: int, tau: int) -> NDArray[np.float32]:
        self.asked.add((user, tau))
        rng = np.random.default_rng([user, tau])
        return rng.standard_normal(self._models.dim).astype(np.float32)

    def candidates(
        self, e_sem: NDArray[np.float32]
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        scores = self._models.table.products(semantic=e_sem)
        best = np.argsort(-scores, kind="stable")[: self._n].astype(np.int32)
        return best, scores[best]
