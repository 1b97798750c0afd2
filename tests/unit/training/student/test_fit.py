from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

from device_runtime.abstract.words import ItemWords
from device_runtime.student.student import TextStudent
from shared.abstract_form import AbstractForm
from shared.errors import DataError
from shared.interactions import InteractionLog
from shared.metrics import ranks_of
from shared.profile import DeviceProfile
from shared.split import split_log
from shared.text_student import pack_student
from tests.support.logs import drifting_log
from tests.support.sections import talkative_log
from training.backbone.batches import events_of
from training.backbone.item_table import ItemParameters
from training.encoders.sasrec import SASRec, SASRecConfig
from training.semantic.anchors import merge, stale_anchors
from training.semantic.requests import Requests, make_requests
from training.student.bags import Bags, every_training_step, sections_at, student_bags
from training.student.fit import (
    FittedStudent,
    Student,
    StudentOptions,
    _StudentFit,
    embed_bags,
    fit_student,
)

DIM, ROWS = 8, 1024
FORM, PROFILE = AbstractForm(), DeviceProfile(window=10)
QUICK = StudentOptions(rows=ROWS, epochs=6, batch_size=64, learning_rate=2e-2, exclude_seen=False)


@cache
def made(returns: bool = True) -> tuple[InteractionLog, Bags, Requests, np.ndarray, np.ndarray]:
    """Queries that name the target's kind; structure knows nothing."""
    log = drifting_log(users=30, events=24, returns=returns)
    said = tuple(f"a {log.catalogue.categories[i][0]} please" for i in log.item.tolist())
    log = talkative_log(log, query=said)
    split = split_log(log, test_steps=2)
    steps, points = every_training_step(split), stale_anchors(split.validation(), ())
    torch.manual_seed(0)
    model = SASRec(SASRecConfig(dim=DIM, layers=1, window=5, return_mechanism=False)).eval()
    table = ItemParameters(len(log.catalogue), DIM)
    with torch.no_grad():
        table.vectors[:, :4] = 2.0 * torch.eye(4)[torch.arange(len(log.catalogue)) % 4]
        model.to_e_str.weight.mul_(0.01)
    requests = make_requests(model, table, events_of(log).keep_first(split.test_start), points)
    anchors = merge(steps, points)
    bags = student_bags(log, anchors, FORM, PROFILE, rows=ROWS)
    return log, bags, requests, anchors.find(steps.user, steps.tau), np.arange(len(points))


def fitted(
    options: StudentOptions = QUICK, seed: int = 0, *, returns: bool = True, **told: object
) -> FittedStudent:
    _, bags, requests, training, validation = made(returns)
    return fit_student(
        bags, requests, training, validation, options, seed=seed, threads=1, **told  # type: ignore[arg-type]
    )  # fmt: skip


def test_learns_what_words_say_and_weighs_it() -> None:
    found = fitted()
    assert found.validation_text > found.validation_own + 0.1
    assert found.validation_fused > found.validation_own + 0.1
    assert found.weight > 0
    frozen = made()[2].table.vectors.detach().numpy()
    np.testing.assert_array_equal(found.vectors, frozen)


def test_the_device_says_what_training_says() -> None:
    """Parts added up in numpy, against rows of the same weights in torch: vectors and ranks."""
    log, bags, *_ = made()
    found = fitted()
    student = TextStudent(found.weights, ItemWords(log.catalogue, FORM.level))
    told = sections_at(log, bags.anchors, ItemWords(log.catalogue, FORM.level), FORM, PROFILE)
    ours = np.stack([student.embed(sections) for sections in told])
    theirs = found.embed(bags)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)
    target = log.item[log.user_start[bags.anchors.user] + bags.anchors.tau].astype(np.int64)
    ranks, other = (ranks_of(e @ found.vectors.T, target)["expected"] for e in (ours, theirs))
    assert np.mean(ranks == other) > 0.97


def test_int8_changes_little() -> None:
    """Of a table of every size of row, what is packed ranks as what was trained."""
    _, bags, *_ = made()
    torch.manual_seed(1)
    student = Student(ROWS, DIM)
    with torch.no_grad():
        student.words.weight.copy_(torch.randn(ROWS, DIM) * torch.rand(ROWS, 1))
    start, row, weight = (torch.from_numpy(part) for part in bags.take(np.arange(len(bags))))
    exact = student(start, row.long(), weight).detach().numpy()
    packed = pack_student(student.words.weight.detach().numpy(), np.zeros(DIM, np.float32), 4.0)
    assert np.abs(embed_bags(packed, bags) - exact).max() < 0.01 * np.abs(exact).max()


def test_same_seed_same_weights() -> None:
    options = QUICK.model_copy(update={"epochs": 2})
    torch.manual_seed(123)
    first = fitted(options, 5)
    torch.manual_seed(321)
    again, other = fitted(options, 5), fitted(options, 6)
    np.testing.assert_array_equal(first.weights.codes, again.weights.codes)
    assert first.weights.out_scale == again.weights.out_scale
    assert not np.array_equal(first.weights.codes, other.weights.codes)


def test_own_vectors_are_trained_and_start_from_what_is_given() -> None:
    given = np.random.default_rng(0).standard_normal((40, DIM)).astype(np.float32)
    options = QUICK.model_copy(update={"own_vectors": True, "epochs": 1, "learning_rate": 1e-3})
    found = fitted(options, vectors=given)
    moved = np.abs(found.vectors - given).max()
    assert 0 < moved < 0.1
    assert np.array_equal(made()[2].table.vectors.detach().numpy()[:, 4:], fitted().vectors[:, 4:])


def test_the_loss_is_the_cross_entropy_of_the_next_item() -> None:
    _, bags, requests, _, _ = made()
    table = requests.table.vectors.detach()
    anchors = requests.anchors
    rows = bags.anchors.find(anchors.user, anchors.tau)
    options = QUICK.model_copy(update={"token_dropout": 0.0})
    fit = _StudentFit(bags, requests, table, options)
    torch.manual_seed(3)
    with torch.no_grad():
        fit.student.words.weight.normal_(std=0.1)
    index = torch.from_numpy(rows[:16])
    start, row, weight = (torch.from_numpy(part) for part in bags.take(index.numpy()))
    log_p = (fit.student(start, row.long(), weight) @ table.T).log_softmax(1)
    wanted = -log_p[torch.arange(16), fit.target[index]]
    torch.testing.assert_close(fit.loss(index), wanted.mean(), rtol=5e-3, atol=5e-3)


@pytest.mark.parametrize("returns", [True, False])
def test_logs_without_returns_bar_what_was_seen(returns: bool) -> None:
    options = QUICK.model_copy(update={"exclude_seen": True, "epochs": 3})
    found = fitted(options, returns=returns)
    assert found.validation_text > found.validation_own
    _, bags, requests, training, _ = made(returns)
    fit = _StudentFit(bags, requests, requests.table.vectors.detach(), options)
    new = fit.new_to_user(training)
    for place in range(0, len(training), 17):
        user, tau = bags.anchors.user[training[place]], bags.anchors.tau[training[place]]
        first = int(requests.events.user_start[user])
        seen = requests.events.item[first : first + tau]
        assert bool(new[place]) == (requests.events.item[first + tau] not in seen)
    assert returns or bool(new.all())


def test_what_does_not_fit_together_is_refused() -> None:
    _, bags, requests, training, validation = made()
    with pytest.raises(ValueError, match="rows"):
        fitted(QUICK.model_copy(update={"rows": ROWS * 2}))
    with pytest.raises(DataError, match="enough events"):
        fit_student(bags, requests, training[:0], validation, QUICK)
    few = student_bags(made()[0], every_training_step(split_log(made()[0], test_steps=9)), FORM,
                       PROFILE, rows=ROWS)  # fmt: skip
    with pytest.raises(ValueError, match="no bag"):
        fit_student(few, requests, np.arange(len(few)), validation, QUICK)
