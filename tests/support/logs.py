"""Small synthetic logs with structure to learn: tastes that drift from one category to another."""

from __future__ import annotations

import numpy as np

from shared.interactions import Catalogue, InteractionLog

KINDS = ("Drama", "Comedy", "Thriller", "Western")


def drifting_log(
    *,
    users: int = 24,
    events: int = 30,
    items: int = 40,
    returns: bool = True,
    has_time: bool = True,
    seed: int = 0,
) -> InteractionLog:
    """Each user likes one kind of item, then, from some event on, another.

    Args:
        returns: items may repeat; otherwise each user meets an item once at most.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(users):
        first, second = rng.choice(len(KINDS), 2, replace=False)
        change = int(rng.integers(events // 3, events))
        row: list[int] = []
        for place in range(events):
            kind = first if place < change else second
            choices = [i for i in range(items) if returns or i not in row]
            weight = np.array([8.0 if i % len(KINDS) == kind else 1.0 for i in choices])
            row.append(int(rng.choice(choices, p=weight / weight.sum())))
        rows.append(row)
    time = 1e9 + np.cumsum(rng.uniform(600, 90_000, (users, events)), axis=1)
    return InteractionLog(
        name="drifting",
        user=np.repeat(np.arange(users), events).astype(np.int32),
        item=np.array(rows, dtype=np.int32).ravel(),
        time=time.ravel() if has_time else None,
        utc_offset_min=None,
        query=None,
        user_ids=tuple(f"user-{u}" for u in range(users)),
        catalogue=Catalogue(
            ids=tuple(f"raw-{i}" for i in range(items)),
            titles=tuple(f"Title {chr(65 + i % 26)}{i // 26}" for i in range(items)),
            categories=tuple((KINDS[i % len(KINDS)],) for i in range(items)),
            areas=("",) * items,
            texts=tuple(f"Title {i}: {KINDS[i % len(KINDS)]}" for i in range(items)),
        ),
    )
