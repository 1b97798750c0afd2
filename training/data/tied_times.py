"""Events of a user at one time: their order is the file's, unless that is an order of items.

Some exports sort rows of one time by item. Such an order says which items can come next, and a
model that learns it scores far above what it could do live.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

FEWEST = 100  # pairs of tied neighbours before their order means anything
SORTED = 0.95  # share of them in the order of items that chance does not give


def without_item_order(
    events: pl.DataFrame, item_ids: Sequence[str]
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Events whose tied ones are in no order of items, and what was done about it.

    Args:
        events: columns user, item (index) and time; sorted by user, then time.
        item_ids: by index.
    """
    same = pl.col("user").eq(pl.col("user").shift(-1)) & pl.col("time").eq(pl.col("time").shift(-1))
    tied = events.select(same.fill_null(value=False)).to_series()
    count = int(tied.sum())
    if count < FEWEST:
        return events, ()
    ids = pl.Series(item_ids, dtype=pl.String)
    number = ids.str.extract(r"(\d+)").cast(pl.Int64, strict=False)
    by_id = (ids.rank("dense"), number)
    orders = (events["item"], *(order.gather(events["item"]) for order in by_id))
    if not any(_sorted(order, tied) for order in orders):
        return events, ()
    lot = pl.Series("lot", np.random.default_rng(0).permutation(len(events)))
    shuffled = events.with_columns(lot).sort(["user", "time", "lot"]).drop("lot")
    return shuffled, (
        f"{count / len(events):.1%} of events have the time of the user's next one, and the file "
        "sorts these by item, which would tell what comes next: shuffled",
    )


def _sorted(items: pl.Series, tied: pl.Series) -> bool:
    """Whether items of tied neighbours go up, or down, nearly always; equal ones say nothing."""
    following = items.shift(-1)
    up, down = int((tied & (following > items)).sum()), int((tied & (following < items)).sum())
    return max(up, down) >= max(SORTED * (up + down), FEWEST)
