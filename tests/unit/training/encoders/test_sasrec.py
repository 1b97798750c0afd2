"""SASRec beyond what every encoder promises: time, returns, the counter as a special case."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError

from tests.support.encoders import DIM, WINDOW, make_encoder, make_request
from training.backbone.evaluate import structural_scores
from training.backbone.item_table import ItemParameters
from training.encoders.pairs import FUTURE, CausalPairs
from training.encoders.sasrec import SASRec, SASRecConfig
from training.encoders.time_features import hour_features
from training.encoders.word_dropout import WordDropout


def make_model(**changes: object) -> SASRec:
    model = make_encoder("sasrec", **changes)
    assert isinstance(model, SASRec)
    return model


def test_the_moment_of_the_request_matters_only_when_the_log_has_times() -> None:
    vectors, age, hour, now = make_request(2, 6)
    timed, untimed = make_model(), make_model(has_time=False)
    assert not torch.allclose(
        timed(vectors, age, hour, now)[0], timed(vectors, age, hour, now + 5.0)[0]
    )
    plain = untimed(vectors, age, hour, now)
    moved = untimed(vectors, age + 40.0, (hour + 7.0) % 168.0, (now + 5.0) % 168.0)
    torch.testing.assert_close(plain, moved)


def test_hours_are_circular() -> None:
    """Sunday's last moment and Monday's first differ by the weekend flag alone."""
    sunday, monday, noon = hour_features(torch.tensor([168.0 - 1e-4, 0.0, 12.0]))
    torch.testing.assert_close(sunday[:-1], monday[:-1], atol=1e-3, rtol=0.0)
    assert (sunday[-1], monday[-1]) == (1.0, 0.0)
    assert torch.dist(noon[:-1], monday[:-1]) > 1.0


def test_a_decayed_frequency_counter_is_a_special_case() -> None:
    model = SASRec(SASRecConfig(dim=DIM, window=WINDOW)).eval()
    table = ItemParameters(20, DIM)
    with torch.no_grad():
        for parameter in (*model.to_e_str.parameters(), *model.copy.query.parameters()):
            parameter.zero_()
        model.copy.pair[2].weight.zero_()
        model.copy.distance_bias.copy_(-math.log(2.0) / 20.0 * torch.arange(WINDOW)[:, None])
    history = torch.tensor([[3, 7, 3, 1, 7, 3, 0, 19, 7]])
    _, age, hour, now = make_request(1, history.shape[1])
    e_str, copy_logit = model(table(history), age, hour, now)
    scores = structural_scores(e_str, copy_logit, history, table)[0]
    counter = torch.zeros(20)
    for back, item in enumerate(reversed(history[0].tolist())):
        counter[item] += 0.5 ** (back / 20.0)
    torch.testing.assert_close(scores, torch.log1p(counter))


def test_an_untrained_return_mechanism_prefers_recent_events() -> None:
    model = SASRec(SASRecConfig(dim=DIM, window=WINDOW))
    bias = model.copy.distance_bias[:, 0]
    assert (bias[:-1] > bias[1:]).all()


def test_without_return_mechanism_nothing_is_copied() -> None:
    model, table = make_model(return_mechanism=False), ItemParameters(5, DIM)
    history = torch.tensor([[1, 2, 1]])
    _, age, hour, now = make_request(1, 3)
    e_str, copy_logit = model(table(history), age, hour, now)
    assert copy_logit.shape == (1, 3)
    scores = structural_scores(e_str, copy_logit, history, table)
    torch.testing.assert_close(scores, e_str @ table.vectors.T + table.bias)


def test_the_config_refuses_heads_that_do_not_divide_dim() -> None:
    with pytest.raises(ValidationError, match="not divisible by heads"):
        SASRecConfig(dim=10, heads=4)


def test_distances_beyond_the_trained_window_follow_the_trained_edge() -> None:
    model = SASRec(SASRecConfig(dim=DIM, window=WINDOW))
    untrained = model.copy.distance_bias.detach().clone()
    with torch.no_grad():
        model.copy.distance_bias[:5] += 3.0
        model.blocks[0].distance_bias[:5] = torch.tensor([0.0, 0.0, 0.0, 0.0, 7.0])[:, None]
    for _ in range(2):  # the second time changes nothing
        model.extend_distances(5)
        torch.testing.assert_close(model.copy.distance_bias, untrained + 3.0)
        assert (model.blocks[0].distance_bias[4:] == 7.0).all()
        assert (model.blocks[0].distance_bias[:4] == 0.0).all()


def test_dropout_drops_its_share_keeps_the_mean_and_rests_in_eval() -> None:
    torch.manual_seed(0)
    dropout, x = WordDropout(0.2), torch.ones(401, 501)
    y = dropout(x)
    assert (y == 0).float().mean() == pytest.approx(0.2, abs=0.005)
    assert y.mean() == pytest.approx(1.0, abs=0.005)
    assert len(y.unique()) == 2
    assert not torch.equal(y, dropout(x))
    assert torch.equal(dropout.eval()(x), x)


def test_packed_pairs_come_back_as_the_square_and_so_do_gradients() -> None:
    pairs = CausalPairs(4)
    values = torch.arange(8.0).view(2, 4)
    event, _, query, _ = pairs.pack(values, values, 10 * values, values)
    packed = (event - query)[None].requires_grad_()
    shared = (100.0 * pairs.distance)[None].requires_grad_()
    square = pairs.unpack(packed, shared)
    steps = torch.arange(4.0)
    expected = values[:, None, :] - 10 * values[:, :, None] + 100.0 * (steps[:, None] - steps)
    past = torch.ones(4, 4).tril().bool()
    torch.testing.assert_close(square[0][:, past], expected[:, past])
    assert (square[0][:, ~past] < FUTURE / 2).all()
    assert (square[0][:, ~past].exp() == 0).all()
    (square[0] * expected.masked_fill(~past, 0.0)).sum().backward()
    told = packed.detach() + shared.detach()[:, None]
    torch.testing.assert_close(packed.grad, told)
    torch.testing.assert_close(shared.grad, told.sum(1))
