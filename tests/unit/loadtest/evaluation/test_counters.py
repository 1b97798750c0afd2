import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.evaluation.counters import CounterRanks, Counters, KeptRanks
from shared.metrics import NOT_RANKED, Rank, rank_of

N_ITEMS = 12
items = st.integers(0, N_ITEMS - 1)


def brute_force(
    popularity: list[int], history: list[int], target: int, half_life: float, exclude: bool
) -> CounterRanks:
    """Dense scores over the whole catalogue, ranked by the shared metric."""
    frequency = np.zeros(N_ITEMS)
    decayed = np.zeros(N_ITEMS)
    for place, item in enumerate(history):
        frequency[item] += 1
        decayed[item] += 0.5 ** ((len(history) - 1 - place) / half_life)
    if exclude and target in history:
        return CounterRanks(NOT_RANKED, NOT_RANKED, NOT_RANKED)
    keep = [i for i in range(N_ITEMS) if not exclude or i not in history]
    ranks = [
        rank_of(np.asarray(scores, dtype=float)[keep], keep.index(target))
        for scores in (popularity, frequency, decayed)
    ]
    return CounterRanks(*ranks)


@given(
    st.lists(st.integers(0, 4), min_size=N_ITEMS, max_size=N_ITEMS),
    st.lists(items, max_size=30),
    items,
    st.sampled_from([1.0, 4.0]),
    st.booleans(),
)
def test_ranks_equal_the_brute_force_over_all_items(
    popularity: list[int], history: list[int], target: int, half_life: float, exclude: bool
) -> None:
    counters = Counters(np.array(popularity, dtype=np.float32), half_life)
    ours = counters.ranks(np.array(history, dtype=np.int32), target, exclude_seen=exclude)
    assert ours == brute_force(popularity, history, target, half_life, exclude)


def test_decay_prefers_the_recent_item_where_frequency_ties() -> None:
    counters = Counters(np.zeros(3), half_life=2.0)
    ranks = counters.ranks(np.array([0, 1], dtype=np.int32), 1, exclude_seen=False)
    assert ranks.frequency == Rank(1.5, 2)
    assert ranks.decayed == Rank(1.0)


def test_personal_counters_do_not_back_off_to_popularity() -> None:
    counters = Counters(np.array([0.0, 9.0, 5.0]), half_life=20.0)
    ranks = counters.ranks(np.array([0], dtype=np.int32), 1, exclude_seen=False)
    assert ranks == CounterRanks(Rank(1.0), Rank(2.5, 2), Rank(2.5, 2))


def test_half_life_must_be_positive() -> None:
    with pytest.raises(ValueError, match="half-life"):
        Counters(np.zeros(3), 0.0)


def test_kept_ranks_are_those_that_were_given() -> None:
    given = [
        CounterRanks(Rank(1.5, 2), NOT_RANKED, Rank(3.0)),
        CounterRanks(NOT_RANKED, Rank(7.0, 9), Rank(1.0)),
    ]
    kept = KeptRanks(iter(given), 2)
    assert len(kept) == 2
    assert list(kept) == list(kept) == given
