"""Item tokens come from texts, ids and a seed; interactions and catalogue order have no part."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.errors import DataError
from shared.interactions import Catalogue, InteractionLog
from shared.item_tokens import ItemTokens
from tests.support.logs import KINDS, drifting_log
from training.generative.item_codes import kmeans, random_tokens, text_tokens
from training.generative.stage import item_tokens
from training.settings import GenerativeSettings

ITEMS = 120


@pytest.fixture
def catalogue() -> Catalogue:
    return drifting_log(items=ITEMS).catalogue


@pytest.fixture
def embeddings() -> NDArray[np.float32]:
    """Items of one kind lie together, as their texts' embeddings would; some are equal."""
    rng = np.random.default_rng(3)
    centre = rng.standard_normal((len(KINDS), 16)) * 4
    points = centre[np.arange(ITEMS) % len(KINDS)] + rng.standard_normal((ITEMS, 16)) * 0.3
    points[5] = points[9] = points[13]
    return points.astype(np.float32)


def permuted(catalogue: Catalogue, order: NDArray[np.int64]) -> Catalogue:
    columns = {
        k: tuple(v[i] for i in order) for k, v in vars(catalogue).items() if k != "vocabulary"
    }
    return Catalogue(**columns, vocabulary=catalogue.vocabulary)


def reordered(log: InteractionLog, seed: int) -> InteractionLog:
    """The same events in another order for every user."""
    rng = np.random.default_rng(seed)
    item = np.concatenate([rng.permutation(log.item[log.events_of(u)]) for u in range(log.n_users)])
    return replace(log, item=item)


@pytest.mark.parametrize("kind", ["text", "random"])
def test_interactions_have_no_part_in_tokens(kind: str, embeddings: NDArray[np.float32]) -> None:
    chosen = GenerativeSettings(tokens=kind, codes=8)
    log = drifting_log(items=ITEMS)
    fewer = replace(log, user=log.user[:200], item=log.item[:200], time=None)
    text = embeddings if kind == "text" else None
    found = [item_tokens(x.catalogue, text, chosen, 0) for x in (log, reordered(log, 1), fewer)]
    for other in found[1:]:
        np.testing.assert_array_equal(found[0].codes, other.codes)


@pytest.mark.parametrize("seed", [0, 7])
def test_the_order_of_the_catalogue_has_no_part_in_tokens(
    catalogue: Catalogue, embeddings: NDArray[np.float32], seed: int
) -> None:
    """In many sources items are numbered as users met them: that order would leak."""
    order = np.random.default_rng(seed).permutation(ITEMS)
    by_text = text_tokens(catalogue, embeddings, levels=2, codes=8, seed=seed)
    again = text_tokens(permuted(catalogue, order), embeddings[order], levels=2, codes=8, seed=seed)
    np.testing.assert_array_equal(again.codes, by_text.codes[order])
    at_random = random_tokens(catalogue, levels=2, seed=seed)
    again = random_tokens(permuted(catalogue, order), levels=2, seed=seed)
    np.testing.assert_array_equal(again.codes, at_random.codes[order])


def test_items_of_like_text_share_their_first_code(
    catalogue: Catalogue, embeddings: NDArray[np.float32]
) -> None:
    tokens = text_tokens(catalogue, embeddings, levels=2, codes=4)
    first, kind = tokens.codes[:, 0], np.arange(ITEMS) % len(KINDS)
    agree = first[:, None] == first
    assert agree[kind[:, None] == kind].mean() > 0.7
    assert agree[kind[:, None] != kind].mean() < 0.3
    assert len({tuple(tokens.codes[i, :2]) for i in (5, 9, 13)}) == 1
    assert len({tuple(tokens.codes[i]) for i in (5, 9, 13)}) == 3


def test_another_seed_gives_other_tokens(catalogue: Catalogue) -> None:
    one, other = (random_tokens(catalogue, levels=2, seed=seed) for seed in (0, 1))
    assert (one.codes != other.codes).any()
    assert one.sizes == other.sizes == (5, 5, 5)


def test_similar_items_differ_in_the_last_code_alone() -> None:
    tokens = ItemTokens(np.array([[0, 0], [1, 0], [0, 1], [0, 2]], dtype=np.int32), (2, 3))
    similar = tokens.similar([0, 1])
    assert [list(items) for items in similar] == [[2, 3], []]


@pytest.mark.parametrize(
    ("codes", "message"),
    [([[0, 1], [0, 1]], "same tokens"), ([[0, 3]], "outside"), ([[0]], "expected items x 2")],
)
def test_unusable_tokens_are_refused(codes: list[list[int]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        ItemTokens(np.array(codes, dtype=np.int32), (2, 3))


def test_kmeans_finds_separate_groups_and_moves_empty_centres() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.array([[0.0, 0], [10, 0], [0, 10]]), 20, axis=0)
    points = groups + rng.normal(0, 0.1, groups.shape)
    for seed in range(5):
        centres, own = kmeans(points, 6, np.random.default_rng(seed))
        assert ((points - centres[own]) ** 2).sum(1).max() < 1
    assert len(kmeans(points[:2], 6, rng)[0]) == 2
    equal, own = kmeans(np.ones((9, 2)), 3, rng)
    assert np.isfinite(equal).all()
    assert own.max() <= 2
