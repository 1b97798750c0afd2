"""PREFER: averages by hand, a client's steps against torch's own optimiser, and who meets whom."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.logs import drifting_log
from training.backbone.batches import Events, events_of, windows_before
from training.backbone.item_table import ItemParameters
from training.backbone.objective import next_item_log_likelihood
from training.baselines.prefer.clients import (
    BIAS,
    CLIP,
    MODEL,
    PERSONAL,
    VECTORS,
    Clients,
    Seen,
    Weights,
    federated_average,
)
from training.baselines.prefer.edges import by_locality, by_taste
from training.baselines.prefer.federation import Federation, Rounds, meet
from training.encoders.gru4rec import GRU4Rec, GRU4RecConfig

DIM, ITEMS, WINDOW, USERS = 6, 40, 6, 12
LOG = drifting_log(users=USERS, events=20, items=ITEMS)


def encoder_of() -> GRU4Rec:
    torch.manual_seed(0)
    config = GRU4RecConfig(
        dim=DIM, layers=1, hidden=DIM, window=WINDOW, dropout=0.0, return_mechanism=False
    )
    return config.build()


def start_of(encoder: GRU4Rec) -> Weights:
    rng = torch.Generator().manual_seed(1)
    own = {MODEL + name: value.detach() for name, value in encoder.named_parameters()}
    vectors = torch.randn(ITEMS, DIM, generator=rng)
    return own | {VECTORS: vectors, BIAS: torch.randn(ITEMS, generator=rng)}


def windows_of(rows: np.ndarray, events: Events | None = None) -> Any:
    events = events_of(LOG) if events is None else events
    user = np.searchsorted(events.user_start, rows, side="right") - 1
    first = np.maximum(events.user_start[user] + 1, rows - 2)
    return windows_before(events, rows, WINDOW, first)


@pytest.mark.parametrize("policy", ["allow", "exclude"])
def test_clients_side_by_side_do_what_each_does_alone(policy: Any) -> None:
    """Two steps of plain SGD by autograd on the product's own loss, one client after the other."""
    encoder, negatives = encoder_of(), torch.arange(ITEMS)
    start = start_of(encoder)
    windows = windows_of(np.array([5, 30, 38, 47]))
    personal = torch.randn(3, DIM)
    rows = torch.tensor([[0, -1], [1, 2], [3, -1]])
    together = {name: value.expand(3, *value.shape) for name, value in start.items()}
    together[PERSONAL] = personal
    clients = Clients(encoder, policy)
    found, total = clients.learn(together, windows, rows, 0.3, lambda: negatives)
    expected_total = 0.0
    for client in range(3):
        alone, table = copy.deepcopy(encoder), ItemParameters(ITEMS, DIM, start[VECTORS].numpy())
        with torch.no_grad():
            table.bias.copy_(start[BIAS])
        own = torch.nn.Parameter(personal[client].clone())
        moved = [*alone.parameters(), *table.parameters(), own]
        optimizer = torch.optim.SGD(moved, lr=0.3)
        for row in rows[client].tolist():
            if row < 0:
                continue
            batch = windows.rows(torch.tensor([row]))
            shifted = copy.deepcopy(alone)
            shifted.encode = lambda *a, alone=alone, own=own, **k: (  # type: ignore[method-assign]
                alone.encode(*a, **k)[0] + own,
                alone.encode(*a, **k)[1],
            )
            # Every item once among the negatives: the sampled sum is the whole one.
            log_p = next_item_log_likelihood(shifted, table, batch, policy, negatives)
            if len(log_p) == 0:
                continue
            loss = -log_p.mean()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(moved, CLIP)
            optimizer.step()
            expected_total += float(loss.detach()) * int(batch.wanted.sum())
        for name, value in alone.named_parameters():
            torch.testing.assert_close(
                found[MODEL + name][client], value.detach(), atol=1e-5, rtol=1e-4
            )
        torch.testing.assert_close(
            found[VECTORS][client], table.vectors.detach(), atol=1e-5, rtol=1e-4
        )
        torch.testing.assert_close(found[PERSONAL][client], own.detach(), atol=1e-5, rtol=1e-4)
        assert not torch.equal(own.detach(), personal[client])
    assert total == pytest.approx(expected_total, rel=1e-4)


def test_an_average_counts_events() -> None:
    parts = {"a": torch.tensor([[1.0, 2.0], [3.0, 6.0]]), "b": torch.tensor([10.0, 20.0])}
    found = federated_average(parts, torch.tensor([3, 1]))
    assert found["a"].tolist() == [1.5, 3.0]
    assert float(found["b"]) == 12.5
    with pytest.raises(ValueError, match="needs a client with events"):
        federated_average(parts, torch.tensor([0, 0]))


def test_edges_meet_half_way() -> None:
    found = meet(torch.tensor([[0.0, 4.0], [2.0, 0.0]]), 0.5)
    assert found.tolist() == [[0.5, 3.0], [1.5, 1.0]]


def federation_of(seed: int = 0, **rounds: Any) -> Federation:
    encoder = encoder_of()
    edges = np.arange(USERS) % 3
    chosen = Rounds(**{"negatives": 30, "share": 0.5, **rounds})
    clients = Clients(encoder, "allow")
    learned = events_of(LOG).keep_first(np.full(USERS, 16))
    return Federation(clients, start_of(encoder), learned, edges, chosen, window=WINDOW, seed=seed)


def test_a_round_is_the_average_of_its_clients_from_the_same_start() -> None:
    federation = federation_of(share=1.0, meeting=100)
    before = {name: value[1].clone() for name, value in federation.weights.items()}
    again = federation_of(share=1.0, meeting=100)
    windows, of_user = again._windows()
    again._edge_round(0, [0, 3, 6, 9], windows, of_user)
    personal = again.personal.clone()
    assert (personal[[1, 2, 4]] == 0).all()
    assert (personal[[0, 3, 6, 9]].abs().sum(1) > 0).all()
    for name, value in before.items():
        torch.testing.assert_close(again.weights[name][1], value, rtol=0, atol=0)
    # One client after the other, each from the edge's start, and their mean by events.
    parts, counts = [], []
    fresh = federation_of(share=1.0, meeting=100)
    drawn = fresh._windows()[0]
    torch.testing.assert_close(drawn.item, windows.item)
    fresh._draw = lambda: torch.arange(ITEMS)  # type: ignore[method-assign]
    start = {name: value[0].clone() for name, value in fresh.weights.items()}
    fresh._edge_round(0, [0, 3], windows, of_user)
    for user in (0, 3):
        own = {name: value[None] for name, value in start.items()}
        own[PERSONAL] = torch.zeros(1, DIM)
        rows = torch.tensor([of_user[user]])
        learned, _ = fresh.clients.learn(own, windows, rows, 0.1, lambda: torch.arange(ITEMS))
        parts.append({name: value[0] for name, value in learned.items() if name != PERSONAL})
        counts.append(int(windows.wanted[rows[0]].sum()))
    for name, value in fresh.weights.items():
        expected = sum(n * part[name] for n, part in zip(counts, parts, strict=True)) / sum(counts)
        torch.testing.assert_close(value[0], expected, atol=1e-5, rtol=1e-4)


def test_rounds_lower_the_loss_and_repeat_themselves() -> None:
    losses, ends = [], []
    for _ in range(2):
        federation = federation_of(first_rate=0.5, last_rate=0.4, number=6, meeting=3)
        losses.append([federation.learn(2, lambda _: None) for _ in range(3)])
        ends.append({name: value.clone() for name, value in federation.weights.items()})
    assert losses[0] == losses[1]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    assert losses[0][-1] < losses[0][0] - 0.05
    vectors = ends[0][VECTORS]
    assert not torch.equal(vectors[0], vectors[1])  # edges differ, though they have met


def test_rates_fall_geometrically() -> None:
    rounds = Rounds()
    assert rounds.rate(0) == pytest.approx(0.1)
    assert rounds.rate(59) == pytest.approx(0.01)
    assert rounds.rate(20) / rounds.rate(10) == pytest.approx(rounds.rate(40) / rounds.rate(30))


def test_a_client_without_windows_left_learns_nothing() -> None:
    encoder = encoder_of()
    windows = windows_of(np.array([5, 30]))
    seen = Seen.of(windows, torch.tensor([1, -1]))
    weights = {name: value.expand(2, *value.shape) for name, value in start_of(encoder).items()}
    weights[PERSONAL] = torch.zeros(2, DIM)
    moved, loss = Clients(encoder, "allow").step(weights, seen, torch.arange(ITEMS), 0.5)
    assert loss[0] > 0
    assert loss[1] == 0
    for name, value in moved.items():
        assert torch.equal(value[1], weights[name][1])
    assert not torch.equal(moved[VECTORS][0], weights[VECTORS][0])


def test_users_join_the_locality_of_most_of_their_events() -> None:
    areas = ("", "Soho", "Queens", "Bronx", "Soho")
    items = [[1, 4, 2], [2, 2, 0], [3, 1, 1], [0, 0, 0], [3, 2, 2], [3, 3, 0]]
    events = Events(
        np.array(items).ravel(), np.zeros(18, np.float32), np.arange(0, 19, 3).astype(np.int64)
    )
    # Soho and Queens lead two users each, the Bronx one.
    found = by_locality(events, areas, 3)
    assert len(set(found[[0, 2]])) == 1
    assert len(set(found[[1, 4]])) == 1
    assert len({found[0], found[1], found[5]}) == 3
    few = by_locality(events, areas, 2)
    assert set(few.tolist()) == {0, 1}
    assert few[3] == few[5] == 0  # nothing told, or a locality without an edge
    assert by_locality(events, ("",) * 5, 3).tolist() == [0] * 6


def test_users_of_one_taste_share_an_edge() -> None:
    vectors = np.zeros((ITEMS, 4))
    vectors[np.arange(ITEMS), np.arange(ITEMS) % 4] = 1.0
    item = np.repeat(np.arange(8) % 4, 5)
    events = Events(item, np.zeros(40, np.float32), np.arange(0, 41, 5).astype(np.int64))
    found = by_taste(events, vectors, 4, seed=0)
    assert (found[:4] == found[4:]).all()
    assert len(set(found.tolist())) == 4
    again = by_taste(dataclasses.replace(events), vectors, 4, seed=0)
    np.testing.assert_array_equal(found, again)
