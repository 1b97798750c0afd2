"""DIN: target attention, zero padding, graphs that export, and training that learns."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch

from tests.unit.training.backbone.test_fit import ITEMS, LENGTH, USERS, cyclic_events, last_events
from training.backbone.batches import windows_before
from training.backbone.scorer_fit import (
    ScorerOptions,
    TrainedScorer,
    score_all,
    score_candidates,
    scorer_ranks,
    train_scorer,
)
from training.encoders.din import DIN, DINConfig
from training.export.onnx_graphs import SCORER, export_candidate_scorer

DIM, WINDOW = 8, 6


def make_scorer(window: int = WINDOW) -> DIN:
    torch.manual_seed(1)
    return DINConfig(dim=DIM, window=window, attention_hidden=5, hidden=12).build().eval()


def vectors(batch: int, count: int) -> torch.Tensor:
    return torch.randn(batch, count, DIM, generator=torch.Generator().manual_seed(count))


def test_the_attention_is_linear_in_event_candidate_and_their_product() -> None:
    model, history, candidates = make_scorer(), vectors(2, 4), vectors(2, 3)
    found = model.weights(history, candidates)
    assert found.shape == (2, 3, 4)
    h, v = history[1, 2], candidates[1, 0]
    hidden = model.of_event(h) + model.of_candidate(v) + model.of_both @ (h * v)
    torch.testing.assert_close(
        found[1, 0, 2], model.weigh(model.activation(hidden[None]))[0, 0], rtol=1e-5, atol=1e-5
    )


def test_the_score_of_a_candidate_depends_on_it_beyond_an_inner_product() -> None:
    """A state times a vector would be linear in the candidate."""
    model, history, candidates = make_scorer(), vectors(1, 4), vectors(1, 2)
    with torch.no_grad():
        one, other = model(history, candidates)[0]
        both = model(history, candidates.sum(1, keepdim=True))[0, 0]
    assert abs(float(both - one - other)) > 1e-3


def test_zero_vectors_are_padding_and_candidates_do_not_meet() -> None:
    model, history, candidates = make_scorer(), vectors(2, 3), vectors(2, 5)
    scores = model(history, candidates)
    padded = torch.cat([history, torch.zeros(2, 2, DIM)], 1)
    torch.testing.assert_close(model(padded, candidates), scores)
    torch.testing.assert_close(model(history, candidates[:, 3:4]), scores[:, 3:4])


@pytest.mark.parametrize("window", [1, 3, WINDOW])
def test_the_exported_graph_agrees_at_every_length_and_number_of_candidates(window: int) -> None:
    model = make_scorer(window)
    session = onnxruntime.InferenceSession(export_candidate_scorer(model))
    assert [i.name for i in session.get_inputs()] == list(SCORER.inputs)
    for length in range(1, window + 1):
        for batch, count in ((1, 1), (3, 7), (2, 50)):
            history, candidates = vectors(batch, length), vectors(batch, count)
            with torch.no_grad():
                expected = model(history, candidates).numpy()
            feeds = dict(zip(SCORER.inputs, (history.numpy(), candidates.numpy()), strict=True))
            np.testing.assert_allclose(session.run(None, feeds)[0], expected, atol=1e-5)


def train(**changes: object) -> TrainedScorer:
    options = ScorerOptions(
        epochs=12, learning_rate=1e-2, batch_targets=32, negatives=16, exclude_seen=False
    )
    return train_scorer(
        cyclic_events(),
        DINConfig(dim=16, window=1, dropout=0.0),
        options.model_copy(update=changes),
        n_items=ITEMS,
        validation_start=np.full(USERS, LENGTH - 2),
        test_start=np.full(USERS, LENGTH - 1),
        seed=3,
        threads=1,
    )


def test_it_learns_a_successor_rule_and_is_reproducible() -> None:
    trained, again = train(), train()
    assert trained.history[-1].train_loss < 0.5 * np.log(ITEMS)
    ranks = scorer_ranks(
        trained.model, trained.table, cyclic_events(), last_events(), exclude_seen=False
    )
    assert np.median(ranks["expected"]) <= 2
    for name, value in trained.model.state_dict().items():
        torch.testing.assert_close(value, again.model.state_dict()[name], rtol=0, atol=0)


def test_scores_of_candidates_are_those_of_all_items_and_seen_ones_are_barred() -> None:
    trained, events, target = train(epochs=1), cyclic_events(), last_events()[:3]
    rows = windows_before(events, target, 1, target)
    items = torch.tensor([[3, 1], [0, 29], [7, 7]])
    whole = score_all(trained.model, trained.table, rows)
    some = score_candidates(trained.model, trained.table, rows, items)
    torch.testing.assert_close(some.detach(), whole.gather(1, items))
    barred = scorer_ranks(trained.model, trained.table, events, target, exclude_seen=True)
    free = scorer_ranks(trained.model, trained.table, events, target, exclude_seen=False)
    assert (barred["expected"] <= free["expected"]).all()


def test_test_events_never_reach_training() -> None:
    events = cyclic_events()
    changed = events.item.copy()
    changed[last_events()] = 0
    first = train(epochs=1)
    other = train_scorer(
        type(events)(changed, events.local_hour, events.user_start, events.time_s),
        DINConfig(dim=16, window=1, dropout=0.0),
        ScorerOptions(
            epochs=1, learning_rate=1e-2, batch_targets=32, negatives=16, exclude_seen=False
        ),
        n_items=ITEMS,
        validation_start=np.full(USERS, LENGTH - 2),
        test_start=np.full(USERS, LENGTH - 1),
        seed=3,
        threads=1,
    )
    torch.testing.assert_close(first.table.vectors, other.table.vectors, rtol=0, atol=0)
