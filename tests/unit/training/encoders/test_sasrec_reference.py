"""SASRec's forward pass and training loss against a plain one: numpy, float64, loops, one request.

Nothing here is batched, padded, packed or masked: a request is answered from its own past, and the
softmax runs over all items. It shares the weights with the product and no line of code.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from training.backbone.batches import Events, Windows, windows_before
from training.backbone.fit import BackboneFit, BackboneOptions, Cycle
from training.backbone.item_table import ItemParameters
from training.backbone.objective import RepeatPolicy, next_item_log_likelihood
from training.encoders.sasrec import SASRec, SASRecConfig

ITEMS, DIM, HEADS, WINDOW = 11, 8, 2, 6
Array = NDArray[np.float64]
Weights = Mapping[str, Array]
KINDS = {
    "one block": {"layers": 1},
    "two blocks": {"layers": 2},
    "no times": {"layers": 2, "has_time": False},
    "no returns": {"layers": 2, "return_mechanism": False},
}


# --- the plain model


def norm(w: Weights, name: str, x: Array) -> Array:
    spread = math.sqrt(((x - x.mean()) ** 2).mean() + 1e-5)
    return (x - x.mean()) / spread * w[f"{name}.weight"] + w[f"{name}.bias"]


def linear(w: Weights, name: str, x: Array) -> Array:
    return w[f"{name}.weight"] @ x + w.get(f"{name}.bias", 0.0)


def gelu(x: Array) -> Array:
    return np.array([0.5 * u * (1 + math.erf(u / math.sqrt(2))) for u in x])


def hour_words(hour: float) -> Array:
    waves = []
    for period in (24, 12, 8, 6, 168, 84, 56):
        angle = 2 * math.pi * hour / period
        waves += [math.cos(angle), math.sin(angle)]
    return np.array([*waves, float(hour >= 5 * 24)])


def age_words(hours: float) -> Array:
    age = math.log(1 + hours)
    knots = (0.5, 2, 6, 14, 30, 80, 200, 700)
    return np.array([age, *(max(0.0, age - math.log(1 + knot)) for knot in knots)])


def pair_words(age: float, event_hour: float, query_hour: float, timed: bool) -> Array:
    if not timed:
        return np.ones(1)
    apart = event_hour - query_hour
    circles = [math.cos(2 * math.pi * apart / period) for period in (24, 12, 8, 6, 168, 84, 56)]
    same_hour = math.exp(700 * (math.cos(2 * math.pi * apart / 168) - 1))
    same_kind = float((event_hour >= 120) == (query_hour >= 120))
    return np.concatenate([age_words(age), circles, [same_hour, same_kind]])


def softmax(logits: Array) -> Array:
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


def block(w: Weights, name: str, states: list[Array], pairs: list[list[Array]]) -> list[Array]:
    """Every state looks back at those before it and at itself; pairs[q][j] relate q to j."""
    size = DIM // HEADS
    normed = [norm(w, f"{name}.norm", x) for x in states]
    asked = [linear(w, f"{name}.query", x) for x in normed]
    keys_values = [linear(w, f"{name}.key_value", x) for x in normed]
    out = []
    for q, x in enumerate(states):
        heads = []
        for h in range(HEADS):
            part = slice(h * size, (h + 1) * size)
            logits = np.array(
                [
                    asked[q][part] @ keys_values[j][:DIM][part] / math.sqrt(size)
                    + w[f"{name}.pair_bias.weight"][h] @ pairs[q][j]
                    + w[f"{name}.distance_bias"][q - j, h]
                    for j in range(q + 1)
                ]
            )
            share = softmax(logits)
            heads.append(sum(share[j] * keys_values[j][DIM:][part] for j in range(q + 1)))
        x = x + linear(w, f"{name}.out", np.concatenate(heads))
        hidden = gelu(linear(w, f"{name}.mlp.1", norm(w, f"{name}.mlp.0", x)))
        out.append(x + linear(w, f"{name}.mlp.3", hidden))
    return out


def answer(
    w: Weights, items: list[int], time_h: Array, hour: Array, timed: bool
) -> tuple[Array, Array]:
    """e_str [d] and copy logits [L] (-inf without returns) of the request after L events.

    time_h, hour: [L + 1], of the events and of the request.
    """
    L = len(items)
    states = []
    for j, item in enumerate(items):
        x = linear(w, "embed_item", w["vectors"][item])
        if timed:
            x = x + w["context.event.weight"] @ hour_words(hour[j])
            x = x + w["context.query.weight"] @ hour_words(hour[j + 1])
            x = x + linear(w, "context.gap", age_words(time_h[j + 1] - time_h[j]))
        states.append(norm(w, "embed_norm", x))
    pairs = [
        [pair_words(time_h[q + 1] - time_h[j], hour[j], hour[q + 1], timed) for j in range(q + 1)]
        for q in range(L)
    ]
    first = below = states
    for number in range(sum(name.endswith("key_value.weight") for name in w)):
        below = states
        states = block(w, f"blocks.{number}", states, pairs)
    state = norm(w, "final_norm", states[-1])
    e_str = linear(w, "to_e_str", state)
    if "copy.query.weight" not in w:
        return e_str, np.full(L, -np.inf)
    asked = linear(w, "copy.query", state) / math.sqrt(DIM)
    logits = []
    for j in range(L):
        before = first[j - 1] if j else np.zeros(DIM)
        key = linear(w, "copy.key", np.concatenate([first[j], before, below[j]]))
        pair = w["copy.pair.2.weight"][0] @ gelu(linear(w, "copy.pair.0", pairs[-1][j]))
        logits.append(asked @ key + pair + w["copy.distance_bias"][L - 1 - j, 0])
    return e_str, np.clip(logits, -30, 30)


def log_p(
    w: Weights, events: Events, first: int, target: int, timed: bool, policy: RepeatPolicy
) -> float | None:
    """log softmax over all items at ``target``, which is asked about from ``first`` on.

    None where the policy leaves it out.
    """
    items = events.item[first:target].tolist()
    goal = int(events.item[target])
    time_h = np.zeros(target + 1) if events.time_s is None else events.time_s / 3600
    e_str, copied = answer(
        w, items, time_h[first : target + 1], events.local_hour[first : target + 1].tolist(), timed
    )
    scores = {}
    for i in range(ITEMS):
        base = e_str @ w["vectors"][i] + w["bias"][i]
        returns = sum(math.exp(c) for x, c in zip(items, copied, strict=True) if x == i)
        if policy == "allow":
            scores[i] = base + math.log(1 + returns)
        elif i not in items:
            scores[i] = base
    if goal not in scores:
        return None
    return scores[goal] - math.log(sum(math.exp(score) for score in scores.values()))


# --- what it is compared with


def make(kind: str) -> tuple[SASRec, ItemParameters, Weights]:
    """Weights that all matter, biases too; no dropout."""
    torch.manual_seed(7)
    config = SASRecConfig(
        dim=DIM, heads=HEADS, window=WINDOW, dropout=0.0, copy_hidden=5, **KINDS[kind]
    )
    model, table = SASRec(config), ItemParameters(ITEMS, DIM)
    with torch.no_grad():
        for parameter in (*model.parameters(), *table.parameters()):
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return model, table, weights_of(model, table)


def weights_of(model: SASRec, table: ItemParameters) -> dict[str, Array]:
    named = (*model.named_parameters(), *table.named_parameters())
    return {name: p.detach().double().numpy().copy() for name, p in named}


def make_events(timed: bool) -> Events:
    rng = np.random.default_rng(3)
    sizes = (3, 9, 6)
    # Multiples of 1/64 hour: exact as float32, so that float64 is all there is to compare.
    gaps = [rng.choice([8, 64, 64 * 30, 64 * 500], n) for n in sizes]
    return Events(
        item=rng.integers(0, ITEMS, sum(sizes)),
        local_hour=rng.uniform(0, 168, sum(sizes)).astype(np.float32),
        user_start=np.concatenate([[0], np.cumsum(sizes)]),
        time_s=np.concatenate([np.cumsum(g) * 3600 / 64 for g in gaps]) if timed else None,
    )


def rows_of(events: Events) -> tuple[Windows, list[list[tuple[int, int]]]]:
    """Rows of 2 to WINDOW events, and of each (first, target) of everything that it predicts."""
    ends = np.array([2, 7, 11, 17])
    user_first = events.user_start[np.searchsorted(events.user_start, ends, side="right") - 1]
    first = np.maximum(user_first, ends - WINDOW)
    asked = [
        [(int(f), t) for t in range(int(f) + 1, int(end) + 1)]
        for f, end in zip(first, ends, strict=True)
    ]
    return windows_before(events, ends, WINDOW, first + 1), asked


def as_double(windows: Windows) -> Windows:
    return dataclasses.replace(
        windows,
        age_h=windows.age_h.double(),
        hour=windows.hour.double(),
        request_hour=windows.request_hour.double(),
    )


def batches(windows: Windows, padded: bool) -> list[Windows]:
    """All rows in one batch, the shorter ones padded; or each by itself, without any padding."""
    rows = torch.arange(len(windows))
    return [windows.rows(index) for index in ([rows] if padded else torch.split(rows, 1))]


@pytest.mark.parametrize("padded", [True, False], ids=["padded", "unpadded"])
@pytest.mark.parametrize("kind", KINDS)
def test_states_and_copy_logits_are_the_plain_ones(kind: str, padded: bool) -> None:
    model, table, w = make(kind)
    events = make_events(timed := KINDS[kind].get("has_time", True))
    windows, asked = rows_of(events)
    assert len(set(windows.length.tolist())) > 1
    model, table = model.double(), table.double()
    row = 0
    for batch in batches(as_double(windows), padded):
        vectors = table(batch.item)
        e_str, copied = model.encode(vectors, batch.age_h, batch.hour, batch.request_hour)
        for e_L, c_LL, n in zip(e_str, copied, batch.length.tolist(), strict=True):
            assert n == len(asked[row])
            for place, (first, target) in enumerate(asked[row]):
                moment = slice(first, target + 1)
                time_h = np.zeros(99) if events.time_s is None else events.time_s / 3600
                items, hours = events.item[first:target].tolist(), events.local_hour[moment]
                e, c = answer(w, items, time_h[moment], hours.tolist(), timed)
                np.testing.assert_allclose(e_L[place].detach(), e, rtol=1e-9, atol=1e-11)
                if np.isfinite(c).all():
                    own = c_LL[place, : place + 1].detach()
                    np.testing.assert_allclose(own, c, rtol=1e-9, atol=1e-11)
            row += 1
    assert row == len(asked)


def expected(
    w: Weights,
    events: Events,
    asked: list[list[tuple[int, int]]],
    timed: bool,
    policy: RepeatPolicy,
) -> list[float]:
    found = (log_p(w, events, *pair, timed, policy) for row in asked for pair in row)
    return [value for value in found if value is not None]


@pytest.mark.parametrize("policy", ["allow", "exclude"])
@pytest.mark.parametrize("padded", [True, False], ids=["padded", "unpadded"])
@pytest.mark.parametrize("kind", KINDS)
def test_log_likelihood_is_the_plain_one(kind: str, padded: bool, policy: RepeatPolicy) -> None:
    """In float64: every item stands once among the negatives, which is the full softmax."""
    model, table, w = make(kind)
    events = make_events(timed := KINDS[kind].get("has_time", True))
    windows, asked = rows_of(events)
    want = expected(w, events, asked, timed, policy)
    everything = torch.arange(ITEMS)
    got = [
        next_item_log_likelihood(model.double(), table.double(), batch, policy, everything)
        for batch in batches(as_double(windows), padded)
    ]
    np.testing.assert_allclose(torch.cat(got).detach(), want, rtol=1e-9, atol=1e-10)
    every = sum(len(row) for row in asked)
    assert len(want) == every if policy == "allow" else 0 < len(want) < every


@pytest.mark.parametrize("policy", ["allow", "exclude"])
def test_the_loss_that_trains_is_the_plain_mean(policy: RepeatPolicy) -> None:
    """As shipped: float32 states, and a full softmax kept in bfloat16, eight bits a number."""
    model, table, w = make("two blocks")
    events = make_events(timed=True)
    windows, asked = rows_of(events)
    want = expected(w, events, asked, True, policy)
    cycles = (Cycle(epochs=1, learning_rate=1e-3),)
    options = BackboneOptions(cycles=cycles, batch_windows=32, repeat_policy=policy)
    fit = BackboneFit(model, table, options, seed=0)
    loss, targets = fit.learn(windows.rows(torch.arange(len(windows))))
    assert targets == len(want)
    assert loss == pytest.approx(-np.mean(want), abs=2**-8)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_slopes_of_the_plain_loss(kind: str) -> None:
    """Packed pairs, terms computed in pieces and padding have backward passes of their own."""
    model, table, w = make(kind)
    events = make_events(timed := KINDS[kind].get("has_time", True))
    windows, asked = rows_of(events)
    batch = windows.rows(torch.arange(len(windows)))
    everything = torch.arange(ITEMS)
    (-next_item_log_likelihood(model, table, batch, negatives=everything).mean()).backward()
    rng, step = np.random.default_rng(0), 1e-5
    for name, parameter in (*model.named_parameters(), *table.named_parameters()):
        direction = rng.normal(size=parameter.shape)
        ends = []
        for sign in (1, -1):
            moved = {**w, name: w[name] + sign * step * direction}
            ends.append(-np.mean(expected(moved, events, asked, timed, "allow")))
        slope = (ends[0] - ends[1]) / (2 * step)
        assert parameter.grad is not None
        got = float((parameter.grad.double().numpy() * direction).sum())
        assert got == pytest.approx(slope, rel=1e-3, abs=2e-6), name
