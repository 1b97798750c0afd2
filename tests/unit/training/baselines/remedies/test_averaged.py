"""Means of the last snapshots: those that a store would hold, and no others."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from training.baselines.remedies.averaged import averaged, fit_count
from training.calibration.pairs import Pairs
from training.semantic.anchors import Anchors

# Two users with a snapshot at every step from 2 on, and one with gaps.
ANCHORS = Anchors(
    np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2]), np.array([2, 3, 4, 5, 6, 7, 2, 3, 4, 3, 9, 14])
)
E_SEM = torch.from_numpy(np.random.default_rng(0).standard_normal((12, 3))).float()


def mean_of(*rows: int) -> torch.Tensor:
    return E_SEM[list(rows)].double().mean(0).float()


def pair(fresh: int, stale: int) -> Pairs:
    return Pairs(np.array([fresh]), np.array([stale]))


@pytest.mark.parametrize(
    ("stale", "count", "every", "rows"),
    [
        (5, 1, 1, (5,)),
        (5, 3, 1, (5, 4, 3)),
        (4, 3, 2, (4, 2, 0)),
        (4, 9, 2, (4, 2, 0)),  # no fourth one
        (8, 4, 1, (8, 7, 6)),  # nor one of the user before
        (6, 2, 1, (6,)),
        (11, 3, 5, (11, 10)),  # the third was never made
        (11, 2, 11, (11, 9)),
        (11, 3, 6, (11,)),
    ],
)
def test_it_is_the_mean_of_the_snapshots_that_there_are(
    stale: int, count: int, every: int, rows: tuple[int, ...]
) -> None:
    found = averaged(ANCHORS, pair(11, stale), E_SEM, count=count, every=every)
    torch.testing.assert_close(found[0], mean_of(*rows))


def test_many_at_once_are_each_alone_and_read_nothing_later() -> None:
    pairs = Pairs(np.arange(12), np.arange(12))
    found = averaged(ANCHORS, pairs, E_SEM, count=3, every=2)
    for row in range(12):
        alone = averaged(ANCHORS, pair(row, row), E_SEM, count=3, every=2)
        torch.testing.assert_close(found[row], alone[0], rtol=0, atol=0)
    changed = E_SEM.clone()
    changed[4:6] = 99.0  # tau 6 and 7 of user 0
    after = averaged(ANCHORS, pairs, changed, count=3, every=2)
    torch.testing.assert_close(after[:4], found[:4], rtol=0, atol=0)
    torch.testing.assert_close(after[6:], found[6:], rtol=0, atol=0)
    torch.testing.assert_close(averaged(ANCHORS, pairs, E_SEM, count=1, every=3), E_SEM)


def test_validation_says_how_many_and_of_equal_counts_the_smallest() -> None:
    figures = {1: 0.1, 2: 0.4, 3: 0.4, 4: 0.2}
    assert fit_count(lambda count: torch.tensor(count), lambda e: figures[int(e)]) == 2
    assert fit_count(lambda count: torch.tensor(count), lambda _: 0.0, (3, 1, 2)) == 1


@pytest.mark.parametrize(("count", "every"), [(0, 1), (1, 0)])
def test_counts_begin_at_one(count: int, every: int) -> None:
    with pytest.raises(ValueError, match=f"at least 1, not {count} and {every}"):
        averaged(ANCHORS, pair(5, 5), E_SEM, count=count, every=every)
