"""Beam search against the score of every item, computed by the whole T5 decoder."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cloud_service.generation.beam import BeamSearch
from cloud_service.generation.network import GenerativeNetwork
from shared.errors import DataError
from shared.generator_config import Generative
from shared.item_tokens import ItemTokens
from tests.unit.training.generative.conftest import network_for
from training.generative.candidates import candidate_lists

HISTORIES = [np.array(h) for h in ([3], [1, 2, 3, 4], [50, 2, 9, 9, 30, 7, 8, 21], [5, 59])]


@torch.no_grad()
def exhaustive(
    network: GenerativeNetwork, tokens: ItemTokens, history: NDArray[np.int64]
) -> NDArray[np.float32]:
    """[I] log-probability of every item after the history, alone in its batch and unpadded."""
    table = BeamSearch(network, tokens).token_of_item
    known = table[torch.from_numpy(history[-network.config.history :])][None]
    scores = []
    for item in range(len(tokens)):
        following = torch.zeros_like(known)
        following[0, -1] = table[item]
        log_p = network(known, following, network.default_template)[0, -1].log_softmax(-1)
        scores.append(float(log_p.gather(1, table[item][:, None]).sum()))
    return np.array(scores, dtype=np.float32)


@pytest.mark.parametrize("model", ["p5", "pod"])
def test_lists_are_the_best_of_all_items(tokens: ItemTokens, model: Generative) -> None:
    network = network_for(tokens, model)
    items, scores = candidate_lists(network, tokens, HISTORIES, len(tokens), batch=3)
    for row, history in enumerate(HISTORIES):
        truth = exhaustive(network, tokens, history)
        np.testing.assert_allclose(scores[row], np.sort(truth)[::-1], atol=1e-4)
        np.testing.assert_allclose(truth[items[row]], scores[row], atol=1e-4)
        assert len(set(items[row])) == len(tokens)


def test_narrow_beams_answer_distinct_items_with_their_true_scores(tokens: ItemTokens) -> None:
    network = network_for(tokens)
    items, scores = candidate_lists(network, tokens, HISTORIES, 7)
    assert (np.diff(scores, axis=1) <= 0).all()
    for row, history in enumerate(HISTORIES):
        truth = exhaustive(network, tokens, history)
        assert len(set(items[row])) == 7
        np.testing.assert_allclose(truth[items[row]], scores[row], atol=1e-4)


def test_seen_items_are_left_out_however_old(tokens: ItemTokens) -> None:
    network = network_for(tokens)
    free, _ = candidate_lists(network, tokens, HISTORIES, 5)
    best = free[2, 0]
    histories = [np.concatenate([[best], HISTORIES[2]])]  # beyond the six the model reads
    items, _ = candidate_lists(network, tokens, histories, 40, exclude_seen=True)
    assert not set(items[0]) & set(histories[0])
    kept, _ = candidate_lists(network, tokens, histories, 5)
    assert kept[0, 0] == best


def test_a_list_does_not_depend_on_the_batch_around_it(tokens: ItemTokens) -> None:
    network = network_for(tokens)
    together = candidate_lists(network, tokens, HISTORIES, 10, batch=4)
    alone = candidate_lists(network, tokens, HISTORIES, 10, batch=1)
    np.testing.assert_array_equal(together[0], alone[0])
    np.testing.assert_allclose(together[1], alone[1], atol=1e-5)


def test_what_cannot_be_answered_is_refused(tokens: ItemTokens) -> None:
    network = network_for(tokens)
    with pytest.raises(DataError, match="empty history"):
        candidate_lists(network, tokens, [np.array([], dtype=np.int64)], 5)
    with pytest.raises(DataError, match="60 items are too few"):
        candidate_lists(network, tokens, HISTORIES, 58, exclude_seen=True)
    other = ItemTokens(tokens.codes, (6, 5, 5))
    with pytest.raises(ValueError, match="the table"):
        BeamSearch(network, other)
