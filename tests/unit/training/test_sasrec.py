"""The encoder's promises: causality, padding invariance, time, the counter as a special case."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError

from training.encoders.pairs import FUTURE, CausalPairs
from training.encoders.return_mechanism import NO_COPY
from training.encoders.sasrec import SASRec, SASRecConfig
from training.encoders.time_features import hour_features
from training.encoders.word_dropout import WordDropout
from training.evaluate import structural_scores
from training.item_table import ItemTable

DIM, WINDOW = 8, 12


def make_model(**changes: object) -> SASRec:
    torch.manual_seed(3)
    settings: dict[str, object] = {"dim": DIM, "window": WINDOW, "copy_hidden": 4}
    model = SASRec(SASRecConfig(**(settings | changes)))
    with torch.no_grad():  # biases that start at zero must matter in these tests
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model.eval()


def make_request(batch: int, length: int) -> tuple[torch.Tensor, ...]:
    rng = torch.Generator().manual_seed(length)
    vectors = torch.randn(batch, length, DIM, generator=rng)
    age = torch.rand(batch, length, generator=rng).mul(300.0).sort(1, descending=True).values
    hour = torch.rand(batch, length, generator=rng) * 168.0
    return vectors, age, hour, torch.rand(batch, generator=rng) * 168.0


@pytest.mark.parametrize("length", [1, 2, 5, WINDOW])
def test_shapes(length: int) -> None:
    e_str, copy_logit = make_model()(*make_request(3, length))
    assert e_str.shape == (3, DIM)
    assert copy_logit.shape == (3, length)
    assert torch.isfinite(e_str).all()
    assert torch.isfinite(copy_logit).all()


def test_the_request_path_equals_the_last_place_of_the_training_path() -> None:
    model, request = make_model(), make_request(4, 9)
    e_str, copy_logit = model(*request)
    all_e_str, all_copy = model.encode(*request)
    torch.testing.assert_close(e_str, all_e_str[:, -1], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(copy_logit, all_copy[:, -1], rtol=1e-5, atol=1e-5)


def test_every_place_equals_the_request_made_at_the_next_event() -> None:
    """Training on all places at once teaches exactly what a device computes later."""
    model = make_model()
    vectors, age, hour, request_hour = make_request(2, 7)
    e_str, copy_logit = model.encode(vectors, age, hour, request_hour)
    for n in range(1, 7):
        then = age[:, n : n + 1]  # the request is made when event n happens
        e_n, copy_n = model(vectors[:, :n], age[:, :n] - then, hour[:, :n], hour[:, n])
        torch.testing.assert_close(e_n, e_str[:, n - 1], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(copy_n, copy_logit[:, n - 1, :n], rtol=1e-4, atol=1e-4)


def test_later_items_and_times_do_not_reach_earlier_places() -> None:
    model = make_model()
    vectors, age, hour, request_hour = make_request(2, 8)
    e_str, copy_logit = model.encode(vectors, age, hour, request_hour)
    place = 4  # its request is made at event 5, whose time it may know but whose item it may not
    vectors, age, hour = vectors.clone(), age.clone(), hour.clone()
    vectors[:, place + 1 :] = 9.0
    age[:, place + 2 :], hour[:, place + 2 :] = 0.0, 3.0
    e_changed, copy_changed = model.encode(vectors, age, hour, request_hour + 1.0)
    torch.testing.assert_close(e_changed[:, : place + 1], e_str[:, : place + 1])
    torch.testing.assert_close(copy_changed[:, : place + 1], copy_logit[:, : place + 1])
    assert not torch.allclose(e_changed[:, place + 1], e_str[:, place + 1])
    assert (copy_logit[:, place, place + 1 :] == NO_COPY).all()


def test_padding_on_the_right_changes_nothing() -> None:
    model = make_model()
    lengths = [3, 7, 5]
    requests = [make_request(1, n) for n in lengths]
    vectors, age, hour = torch.full((3, 7, DIM), 5.0), torch.zeros(3, 7), torch.zeros(3, 7)
    for row, (n, (v, a, h, now)) in enumerate(zip(lengths, requests, strict=True)):
        vectors[row, :n], age[row, :n], hour[row, :n], hour[row, n:] = v[0], a[0], h[0], now[0]
    request_hour = torch.cat([request[3] for request in requests])
    e_str, copy_logit = model.encode(vectors, age, hour, request_hour)
    for row, (n, request) in enumerate(zip(lengths, requests, strict=True)):
        e_single, copy_single = model(*request)
        torch.testing.assert_close(e_str[row, n - 1], e_single[0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(copy_logit[row, n - 1, :n], copy_single[0], rtol=1e-4, atol=1e-5)


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
    table = ItemTable(20, DIM)
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
    model, table = make_model(return_mechanism=False), ItemTable(5, DIM)
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
    packed = (event - query).requires_grad_()
    square = pairs.unpack(packed)
    expected = values[:, None, :] - 10 * values[:, :, None]
    past = torch.ones(4, 4).tril().bool()
    torch.testing.assert_close(square, expected.masked_fill(~past, FUTURE))
    (square * expected).sum().backward()
    torch.testing.assert_close(packed.grad, packed.detach())
