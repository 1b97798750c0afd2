"""Scores of a cell whose truth is known, for advice."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl

from experiments.study import SCHEMA

AGES = (0, 1, 2, 5, 10, 20)
STEPS = 4
Truth = Callable[[int], float]  # NDCG@10 by age


def invented_scores(
    levels: dict[tuple[str, str], Truth],
    *,
    users: int = 60,
    ages: tuple[int, ...] = AGES,
    parts: dict[str, int] | None = None,
    noise: float = 0.0,
    level_noise: float = 0.0,
    seed: int = 0,
) -> pl.DataFrame:
    """Rows of SCHEMA by (setting, scorer).

    Args:
        parts: steps per user of each part; all steps together if not given.
        noise: standard deviation around the truth, of each user and row.
        level_noise: of what all rows of a user share.
    """
    rng = np.random.default_rng(seed)
    level = rng.normal(0, level_noise, users)
    frames = []
    for (setting, scorer), truth in levels.items():
        for age in ages:
            for part, n in (parts or {"all": STEPS}).items():
                value = np.clip(truth(age) + level + rng.normal(0, noise, users), 0, 1) * n
                frames.append(
                    pl.DataFrame(
                        {
                            "user": np.arange(users, dtype=np.int32),
                            "scorer": scorer, "setting": setting, "gap": age, "part": part,
                            "loo": False, "n": n,
                            **dict.fromkeys(("ndcg10", "ndcg5", "hr10", "hr5"), value),
                        }
                    )
                )  # fmt: skip
    return pl.concat(frames).select(list(SCHEMA)).cast(SCHEMA)
