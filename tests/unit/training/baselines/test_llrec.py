"""LLRec's parts by other means: a dense product, numpy, a closed form, and the exported graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from tests.support.logs import drifting_log
from training.backbone.batches import events_of, windows_before
from training.backbone.distil import answers
from training.backbone.fit import TrainedBackbone
from training.backbone.item_table import ItemParameters
from training.baselines.frozen_answers import FrozenAnswers
from training.baselines.llrec.export import STUDENT, export_student
from training.baselines.llrec.method import Lesson, LLRec, taught
from training.baselines.llrec.student import FastGRNN, LLRecStudent, UnrolledStudent
from training.baselines.llrec.tensor_train import TensorTrain, factors
from training.encoders.sasrec import SASRec, SASRecConfig

DIMS, RANK, TT_RANK, WINDOW = (2, 2, 3), 5, 3, 6


def student_of(n_items: int = 40) -> LLRecStudent:
    torch.manual_seed(0)
    counts = np.arange(n_items)
    return LLRecStudent(counts, DIMS, rank=RANK, tt_rank=TT_RANK)


@pytest.mark.parametrize("n", [1, 2, 7, 24, 27, 28, 100, 1682, 5135])
def test_factors_hold_all_items_and_few_others(n: int) -> None:
    sizes = factors(n)
    assert np.prod(sizes) >= n
    assert np.prod(sizes) <= 1.5 * n + 3
    assert max(sizes) <= round(n ** (1 / 3)) + 2


def test_rows_are_those_of_the_dense_product() -> None:
    torch.manual_seed(1)
    train = TensorTrain(23, DIMS, TT_RANK)
    dense = np.einsum(
        "iar,rjbs,skc->ijkabc",
        *(core.detach().double().numpy() for core in (train.first, train.middle, train.last)),
    ).reshape(np.prod(train.sizes), np.prod(DIMS))
    np.testing.assert_allclose(train.table().detach().numpy(), dense[:23], atol=1e-6)
    asked = torch.tensor([[0, 22, 7], [5, 5, 13]])
    np.testing.assert_allclose(train(asked).detach().numpy(), dense[asked], atol=1e-6)


def test_vectors_are_about_as_long_as_those_of_a_table_and_take_little_room() -> None:
    torch.manual_seed(2)
    train = TensorTrain(5135, (4, 4, 2), 8)
    assert 0.7 < float(train.table().detach().square().sum(1).mean()) < 1.4
    numbers = sum(each.numel() for each in train.parameters())
    assert 20 < 5135 * 32 / numbers < 40
    with pytest.raises(ValueError, match="needs items, dimensions and a rank"):
        TensorTrain(0, (4, 4, 2), 8)


def sigmoid(value: Any) -> Any:
    return 1 / (1 + np.exp(-value))


def test_a_step_is_the_papers() -> None:
    torch.manual_seed(3)
    cell = FastGRNN(4, 2)
    with torch.no_grad():
        cell.zeta.fill_(0.3)
        cell.nu.fill_(-0.2)
    x, h = torch.randn(5, 4), torch.randn(5, 4)
    found = cell(cell.mapped(x), h).detach().numpy()
    named = {name: value.detach().double().numpy() for name, value in cell.named_parameters()}
    w, u = named["w_in"] @ named["w_out"], named["u_in"] @ named["u_out"]
    for row in range(5):
        both = w.T @ x[row].numpy() + u.T @ h[row].numpy()
        z, update = sigmoid(both + named["b_z"]), np.tanh(both + named["b_h"])
        zeta, nu = sigmoid(named["zeta"]), sigmoid(named["nu"])
        expected = (zeta * (1 - z) + nu) * update + z * h[row].numpy()
        np.testing.assert_allclose(found[row], expected, atol=1e-6)


def test_what_comes_later_changes_no_state() -> None:
    student = student_of()
    history = torch.randint(0, 40, (3, WINDOW))
    other = history.clone()
    other[:, 4:] = 39
    one, two = (student.states(student.items(items)) for items in (history, other))
    torch.testing.assert_close(one[:, :4], two[:, :4], rtol=0, atol=0)
    assert (one[:, 4:] != two[:, 4:]).any()


def test_the_graph_says_what_the_student_says_of_any_length() -> None:
    student = student_of().eval()
    session = onnxruntime.InferenceSession(export_student(student, WINDOW))
    unrolled = UnrolledStudent(student, WINDOW)
    for length in (1, 3, WINDOW):
        history = torch.randint(0, 40, (2, length))
        with torch.no_grad():
            vectors = student.items(history)
            expected = student.states(vectors)[:, -1].numpy()
            padded = nn.functional.pad(vectors, (0, 0, WINDOW - length, 0))
            known = nn.functional.pad(torch.ones(2, length), (WINDOW - length, 0))
            torch.testing.assert_close(unrolled(padded, known).numpy(), expected)
        feeds = dict(zip(STUDENT.inputs, (padded.numpy(), known.numpy()), strict=True))
        np.testing.assert_allclose(session.run(None, feeds)[0], expected, atol=1e-5)


def test_the_loss_is_cross_entropy_beside_kl_at_a_temperature() -> None:
    torch.manual_seed(4)
    said, asked = torch.randn(6, 9).double(), torch.randn(6, 9).double()
    said[:, 2] = asked[:, 2] = -torch.inf  # may not be recommended
    target = torch.tensor([0, 1, 3, 4, 5, 8])
    found = taught(said, asked, target, 2.0)
    for row in range(6):
        q, p = (torch.softmax(scores[row] / 2, 0) for scores in (said, asked))
        kept = [i for i in range(9) if i != 2]
        kl = sum(float(q[i]) * float(torch.log(q[i] / p[i])) for i in kept)
        assert float(found.teacher[row]) == pytest.approx(4 * kl)
        own = torch.softmax(asked[row], 0)[target[row]]
        assert float(found.label[row]) == pytest.approx(-float(own.log()))
    same = taught(said, said, target, 2.0)
    assert float(same.teacher.abs().max()) < 1e-12


def frozen_teacher(n_items: int, window: int) -> TrainedBackbone:
    torch.manual_seed(5)
    model = SASRec(SASRecConfig(dim=8, layers=1, window=window)).eval()
    return TrainedBackbone(model, ItemParameters(n_items, 8).requires_grad_(False), None)  # type: ignore[arg-type]


@pytest.mark.parametrize("policy", ["allow", "exclude"])
def test_what_is_remembered_is_what_the_model_says(policy: str) -> None:
    events = events_of(drifting_log(users=4, events=14))
    teacher = frozen_teacher(40, window=30)  # every history fits
    frozen = FrozenAnswers(teacher, events).everywhere()
    rows = torch.tensor([1, 2, 13, 15, 27, 40, 55])
    windows = windows_before(events, rows.numpy(), 30, rows.numpy())
    expected, following = answers(teacher.model, teacher.table, windows, policy)  # type: ignore[arg-type]
    found = frozen.scores(rows, policy).log_softmax(1)  # type: ignore[arg-type]
    target = torch.from_numpy(events.item[rows.numpy()].astype(np.int64))
    kept = ~found.gather(1, target[:, None])[:, 0].isneginf()
    torch.testing.assert_close(found[kept], expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(target[kept], following)
    assert len(expected) > 2
    one_by_one = FrozenAnswers(teacher, events)
    one_by_one.require(rows.numpy())
    alone = one_by_one.scores(rows, policy).log_softmax(1)  # type: ignore[arg-type]
    torch.testing.assert_close(alone, found, atol=1e-5, rtol=1e-5)


def test_lessons_bring_the_student_nearer_and_are_the_same_of_the_same_seed() -> None:
    events = events_of(drifting_log(users=12, events=20))
    frozen = FrozenAnswers(frozen_teacher(40, window=10), events).everywhere()
    losses = []
    for _ in range(2):
        student = student_of()
        lesson = Lesson(LLRec(dims=DIMS, targets=30), student, frozen, WINDOW, "allow", seed=0)
        losses.append([lesson.learn_pass(epoch, lambda _: None) for epoch in range(1, 7)])
    assert losses[0] == losses[1]
    assert losses[0][-1] < losses[0][0] - 0.05
