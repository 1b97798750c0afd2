"""The pure parts of the LSC4Rec study."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.studies.lsc4rec import requesting
from experiments.studies.lsc4rec.counters import (
    decayed_ranks,
    decayed_scores,
    full_popularity_ranks,
)
from shared.item_tokens import ItemTokens
from shared.metrics import as_ranks, rank_of
from shared.split import split_log
from tests.support.logs import drifting_log
from training.backbone.batches import events_of
from training.collaboration import asked as asking
from training.collaboration.asked import Lists
from training.collaboration.cooperative import augmented
from training.collaboration.ranks import Sums, list_ranks, metrics_of, sample
from training.settings import Lsc4recSettings

LOG = drifting_log(users=6, events=8, returns=False, has_time=False)
EVENTS, SPLIT = events_of(LOG), split_log(LOG, calibration_steps=1)
SETTINGS = Lsc4recSettings()


def test_requests_ask_for_the_last_events_one_kind_each() -> None:
    test = asking.requests_of_test(EVENTS, SPLIT, 1)
    validation = asking.requests_of_validation(EVENTS, SPLIT, SETTINGS)
    calibration = asking.requests_of_calibration(EVENTS, SPLIT, SETTINGS)
    trained_on = asking.requests_trained_on(EVENTS, SPLIT, SETTINGS)
    kinds = ((test, 7), (validation, 6), (calibration, 5), (trained_on, 4))
    for requests, step in kinds:
        assert requests.user.tolist() == list(range(6))
        assert (requests.step == step).all()
        item = EVENTS.item.reshape(6, 8)
        np.testing.assert_array_equal(requests.target, item[:, step])
        np.testing.assert_array_equal(requests.known_at(2)[3], item[3, : step - 2])
        assert requests.target[3] not in requests.known_at(0)[3]


def test_samples_are_drawn_once_and_short_histories_keep_two_events() -> None:
    few = Lsc4recSettings(validation_users=3)
    first, again = (asking.requests_of_validation(EVENTS, SPLIT, few) for _ in range(2))
    assert len(first) == 3
    np.testing.assert_array_equal(first.user, again.user)
    test = asking.requests_of_test(EVENTS, SPLIT, 1)
    assert len(test.known_at(6)[0]) == 2
    some = sample(test, 4)
    assert len(some) == 4
    assert some.user.tolist() == sample(test, 4).user.tolist()
    assert sample(test, 6) is test


def test_seen_items_may_not_be_recommended_unless_users_return() -> None:
    test = asking.requests_of_test(EVENTS, SPLIT, 1)
    items = np.stack(
        [np.append(h[:2], t) for h, t in zip(test.known_at(0), test.target, strict=True)]
    )
    assert test.allowed(items, exclude_seen=True).tolist() == [[False, False, True]] * 6
    assert test.allowed(items, exclude_seen=False).all()


def test_ranks_within_a_list() -> None:
    items = np.array([[5, 6, 7, 8]] * 4)
    scores = np.array([[4.0, 3.0, 3.0, 1.0]] * 4)
    allowed = np.ones((4, 4), bool)
    allowed[2, 0] = False
    ranks = list_ranks(scores, items, np.array([6, 9, 6, 5]), allowed)
    assert ranks.tolist() == [(2.5, 2), (np.inf, 1), (1.5, 2), (1.0, 1)]
    assert ranks[0].item() == rank_of(scores[0], 1)
    barred = list_ranks(scores[:1], items[:1], np.array([5]), allowed[2:3])
    assert np.isinf(barred["expected"]).all()


def test_sums_per_user_follow_the_form_of_a_study() -> None:
    test = asking.requests_of_test(EVENTS, split_log(LOG, test_steps=2), 2)
    sums = Sums(test)
    sums.add("list5", 2, "llm", metrics_of(as_ranks([1.0, np.inf] * 6)))
    frame = sums.frame()
    assert frame["n"].to_list() == [2] * 6
    assert frame["ndcg10"].to_list() == frame["hr5"].to_list() == [1.0] * 6


def test_with_one_target_precision_is_the_hit_rate_over_the_cutoff() -> None:
    found = metrics_of(as_ranks([1.0, 7.0, 20.0, np.inf]))
    assert found["hr20"].tolist() == [1.0, 1.0, 1.0, 0.0]
    assert found["precision5"].tolist() == [0.2, 0.0, 0.0, 0.0]
    assert found["precision10"].tolist() == [0.1, 0.1, 0.0, 0.0]
    assert found["precision20"].tolist() == [0.05, 0.05, 0.05, 0.0]
    np.testing.assert_allclose(found["ndcg20"], [1.0, 1 / np.log2(8), 1 / np.log2(21), 0.0])


def test_lists_are_augmented_with_what_the_cloud_confuses_and_the_target() -> None:
    codes = np.array([[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [2, 0]], np.int32)
    tokens = ItemTokens(codes, (3, 3)).similar(np.arange(6))
    items, target = np.array([[0, 5], [3, 1]]), np.array([4, 3])
    found = augmented(items, target, tokens, 3, np.random.default_rng(0))
    assert found.shape == (2, 6)
    assert found[:, 0].tolist() == [4, 3]
    assert set(found[0]) == {4, 0, 5, 1, 2, -1}  # 1 and 2 resemble 0; nothing resembles 5
    assert set(found[1]) == {3, 1, 0, 2, 4, -1}
    for row in found:
        listed = row[row >= 0]
        assert len(np.unique(listed)) == len(listed)
    none = augmented(items, target, tokens, 0, np.random.default_rng(0))
    assert none.tolist() == [[4, 0, 5], [3, 1, -1]]


def test_inconsistency_is_the_mean_distance_of_places_among_what_is_allowed() -> None:
    lists = Lists(np.array([[7, 3, 5]] * 3, np.int32), np.zeros((3, 3), np.float32))
    rerank = np.array([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0], [1.0, 2.0, 3.0]], np.float32)
    allowed = np.ones((3, 3), bool)
    allowed[2] = [True, True, False]
    found = requesting.inconsistencies(lists, rerank, allowed)
    np.testing.assert_allclose(found, [0.0, 4 / 3, 1.0])
    allowed[2] = False
    assert requesting.inconsistencies(lists, rerank, allowed)[2] == np.inf
    first = requesting.inconsistencies(lists, rerank, allowed, top=1)
    np.testing.assert_allclose(first, [0.0, 2.0, np.inf])  # 7 and 5 change places, 3 stays between


@pytest.mark.parametrize("budget", [0.05, 0.1, 0.2, 0.4])
def test_the_threshold_lets_its_share_of_what_was_collected_ask(budget: float) -> None:
    c = np.random.default_rng(0).random(1000)
    assert (c >= requesting.threshold(c, budget)).mean() == pytest.approx(budget, abs=0.002)


def test_requests_that_ask_get_the_fresh_answer() -> None:
    stale = {"ndcg10": np.array([0.0, 0.5, 1.0, 0.2])}
    fresh = {"ndcg10": np.array([1.0, 0.5, 0.0, 0.9])}
    asks = np.array([True, False, True, False])
    assert requesting.granted(stale, fresh, asks)["ndcg10"].tolist() == [1.0, 0.5, 0.0, 0.2]
    mixed = requesting.at_random(stale, fresh, 0.25)["ndcg10"]
    np.testing.assert_allclose(mixed, [0.25, 0.5, 0.75, 0.375])
    best = requesting.best_share(stale, fresh, 0.5)
    assert best.tolist() == [True, False, False, True]


def test_counters_by_hand() -> None:
    test = asking.requests_of_test(EVENTS, SPLIT, 1)
    history = test.known_at(0)[0]
    items = np.tile(np.array([history[-1], history[0], test.target[0]]), (6, 1))
    scores = decayed_scores(test, items, half_life=2.0)[0]
    np.testing.assert_allclose(scores, [1.0, 2.0**-3, 0.0])
    ranks = decayed_ranks(test, 40, 2.0)
    assert ranks[0].item() == (7 + (33 + 1) / 2, 33)  # behind the seven, level with the rest
    popularity = np.arange(40, dtype=np.float32)
    seen = full_popularity_ranks(test, popularity, exclude_seen=True)
    better = set(range(int(test.target[0]) + 1, 40)) - set(history.tolist())
    assert seen[0].item() == (1 + len(better), 1)


def test_settings_are_checked() -> None:
    assert Lsc4recSettings(lists=(50, 20)).lists == (20, 50)
    assert Lsc4recSettings().longest == 50
    for wrong in ({"lists": ()}, {"adaptive_rates": (0.5, 0.5)}, {"lists": (0,)}):
        with pytest.raises(ValueError, match="distinct values"):
            Lsc4recSettings(**wrong)
