"""DCCL: the patch's gradient against autograd, what a device adapts to, and distillation."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from shared.split import split_log
from tests.support.logs import drifting_log
from training.backbone.batches import events_of, training_windows
from training.backbone.distil import answers
from training.backbone.fit import TrainedBackbone
from training.backbone.item_table import ItemParameters
from training.baselines.dccl.meta import Descent, MetaTraining, PatchBasis, tasks_of
from training.baselines.dccl.momo import momo, repeated
from training.baselines.dccl.patch import PastTransitions, adapted, loss_and_pulls
from training.baselines.dccl.transitions import transitions_before
from training.baselines.frozen_answers import FrozenAnswers, numbered, rows_and_items
from training.encoders.sasrec import SASRecConfig

DIM, CODES, RANK, USERS, WINDOW, ITEMS = 6, 3, 2, 4, 8, 40
LOG = drifting_log(users=10, events=24, items=ITEMS)


def patch_of(seed: int = 0) -> PatchBasis:
    torch.manual_seed(seed)
    return PatchBasis(DIM, CODES, RANK)


def drawn(seed: int = 0) -> PastTransitions:
    """Of USERS devices: one with all 5 transitions, one with none, and one item that is barred."""
    rng = np.random.default_rng(seed)
    counted = np.array([[True] * 5, [False] * 2 + [True] * 3, [True] * 5, [False] * 5])
    offsets = rng.standard_normal((USERS, 5, 7))
    offsets[:, :, 6] = -np.inf
    target = rng.integers(0, 6, (USERS, 5))
    target[2, 4] = 6  # its target is barred
    return PastTransitions(
        states=rng.standard_normal((USERS, 5, DIM)),
        vectors=rng.standard_normal((USERS, 7, DIM)),
        offsets=offsets,
        target=target,
        counted=counted,
    )


def base_of(*, window: int = WINDOW, returns: bool = True) -> TrainedBackbone:
    torch.manual_seed(3)
    config = SASRecConfig(dim=DIM, layers=1, window=window, return_mechanism=returns)
    table = ItemParameters(ITEMS, DIM).requires_grad_(False)
    return TrainedBackbone(config.build().eval().requires_grad_(False), table, None)  # type: ignore[arg-type]


def test_the_patch_on_a_device_is_the_one_that_was_learned() -> None:
    patch, rng = patch_of(), np.random.default_rng(1)
    z, states = rng.standard_normal((USERS, CODES)), rng.standard_normal((USERS, 5, DIM))
    found = patch.basis().moved(z, states)
    code = torch.from_numpy(np.repeat(z, 5, axis=0)).float()
    expected = patch(code, torch.from_numpy(states.reshape(-1, DIM)).float())
    np.testing.assert_allclose(found.reshape(-1, DIM), expected.detach().numpy(), atol=1e-5)
    nothing = patch.basis().moved(np.zeros((USERS, CODES)), states)
    np.testing.assert_array_equal(nothing, states)


@pytest.mark.parametrize("at_zero", [True, False])
def test_the_gradient_by_the_code_is_that_of_autograd(at_zero: bool) -> None:
    patch, seen = patch_of().double(), drawn()
    scale = 0.0 if at_zero else 0.7
    z = scale * np.random.default_rng(2).standard_normal((USERS, CODES))
    basis = patch.basis()
    losses, pulls = loss_and_pulls(basis.moved(z, seen.states), seen)
    found = basis.gradient(z, seen.states, pulls)
    code = torch.from_numpy(z).requires_grad_(True)
    total = torch.zeros((), dtype=torch.float64)
    for user in range(USERS):
        for place in np.flatnonzero(seen.counted[user]):
            if seen.target[user, place] == 6:
                continue
            state = torch.from_numpy(seen.states[user, place])[None]
            moved = patch(code[user][None], state)[0]
            logits = torch.from_numpy(seen.vectors[user]) @ moved
            logits = logits + torch.from_numpy(seen.offsets[user, place])
            goal = torch.tensor(int(seen.target[user, place]))
            loss = nn.functional.cross_entropy(logits, goal)
            assert float(losses[user, place]) == pytest.approx(float(loss.detach()))
            total = total + loss
    (expected,) = torch.autograd.grad(total, code)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-10)
    assert np.abs(found[:3]).max() > 1e-3
    assert (found[3] == 0).all()  # nothing to adapt to
    assert losses[2, 4] == 0


def test_steps_lower_the_loss_and_who_has_no_past_is_not_patched() -> None:
    basis, seen = patch_of().basis(), drawn()
    mean = []
    for steps in (0, 1, 5):
        z = adapted(basis, seen, rate=0.2, steps=steps)
        assert (z[3] == 0).all()
        mean.append(loss_and_pulls(basis.moved(z, seen.states), seen)[0].sum(1))
    assert (mean[1][:3] < mean[0][:3]).all()
    assert (mean[2][:3] < mean[1][:3]).all()


@pytest.mark.parametrize("policy", ["allow", "exclude"])
def test_a_device_adapts_to_its_last_transitions_and_reads_no_further(policy: Any) -> None:
    events = events_of(LOG)
    base = FrozenAnswers(base_of(), events)
    rows = events.user_start[:3] + np.array([2, 7, 20])
    seen = transitions_before(base, rows, policy, count=5, candidates=4)
    assert seen.counted.sum(1).tolist() == [1, 5, 5]
    vectors = base.table.vectors.numpy()
    for user, row in enumerate(rows):
        for back, place in enumerate(range(4, -1, -1), start=1):
            if not seen.counted[user, place]:
                continue
            item = events.item[row - back]
            at = seen.target[user, place]
            np.testing.assert_allclose(seen.vectors[user, at], vectors[item], atol=1e-6)
            scores = base.scores(torch.tensor([row - back]), policy)[0].numpy()
            ours = seen.states[user, place] @ seen.vectors[user].T + seen.offsets[user, place]
            if np.isfinite(scores[item]):
                assert ours[at] == pytest.approx(scores[item], abs=1e-4)
            else:
                assert ours[at] == -np.inf
    last = np.flatnonzero(np.isfinite(seen.offsets[2, 4]))
    others = {tuple(np.round(v, 5)) for v in seen.vectors[2][last]}
    assert len(others) == len(last)  # nothing competes twice
    item = events.item.copy()
    for row, stop in zip(rows, events.user_start[1:4], strict=True):
        item[row:stop] = (item[row:stop] + 1) % ITEMS
    later = FrozenAnswers(base_of(), dataclasses.replace(events, item=item))
    again = transitions_before(later, rows, policy, count=5, candidates=4)
    for field in dataclasses.fields(seen):
        np.testing.assert_array_equal(getattr(seen, field.name), getattr(again, field.name))


def test_meta_training_finds_a_basis_that_helps_and_repeats_itself() -> None:
    split = split_log(LOG, test_steps=1, validation_steps=1, calibration_steps=8)
    events = events_of(LOG).keep_first(split.validation_start)
    base = FrozenAnswers(base_of(), events).everywhere()
    tasks = tasks_of(base, split)
    assert (tasks.stop - tasks.cut).tolist() == [8] * 10
    descent = Descent(rate=0.5, steps=3, transitions=6, candidates=10)
    losses = []
    for _ in range(2):
        training = MetaTraining(
            patch_of(), base, tasks, descent, "allow", learning_rate=0.02, seed=0
        )
        losses.append([training.learn_pass(epoch, lambda _: None) for epoch in range(12)])
    assert losses[0] == losses[1]
    assert losses[0][-1] < losses[0][0] - 0.01


def test_without_a_block_the_last_fifth_is_judged() -> None:
    split = split_log(LOG, test_steps=1, validation_steps=1)
    base = FrozenAnswers(base_of(), events_of(LOG).keep_first(split.validation_start))
    tasks = tasks_of(base, split)
    assert (tasks.cut - base.events.user_start[:-1]).tolist() == [17] * 10  # of 22
    assert (tasks.stop - base.events.user_start[:-1]).tolist() == [22] * 10


@pytest.mark.parametrize("policy", ["allow", "exclude"])
def test_momo_adds_the_distance_from_personal_answers_to_cross_entropy(policy: Any) -> None:
    events = events_of(LOG)
    backbone = base_of(window=30)  # every history fits, whichever window it is read in
    base = FrozenAnswers(backbone, events).everywhere()
    torch.manual_seed(5)
    states = base.e_str + torch.randn(base.e_str.shape)
    windows = training_windows(numbered(events), 30, 15, np.random.default_rng(0))
    windows = windows.rows(torch.arange(4))
    found = momo(base, states, policy, 0.5)(backbone.model, backbone.table, windows)
    named, following = rows_and_items(events, windows)
    log_p, target = answers(backbone.model, backbone.table, named, policy)
    rows = following[named.wanted]
    if policy == "exclude":
        rows = rows[~repeated(named)[named.wanted]]
    assert len(found) == len(rows) == len(target)
    assert (events.item[rows.numpy()] == target.numpy()).all()
    for place in range(0, len(rows), 5):
        said = base.offsets(rows[[place]], policy) + states[rows[[place]]] @ base.table.vectors.T
        q, p = said[0].softmax(0), log_p[place].exp()
        some = q > 0
        kl = (q[some] * (q[some].log() - p[some].log())).sum()
        expected = -log_p[place, target[place]] + 0.5 * kl
        assert float(found[place]) == pytest.approx(float(expected), abs=1e-4)
