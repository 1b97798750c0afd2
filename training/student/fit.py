"""Fitting the text student: e_text from a bag of words, on every step that training may use."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from shared.errors import DataError
from shared.progress import Progress
from shared.strict import Strict
from shared.text_student import StudentWeights, pack_student
from training.backbone.objective import linear_logsumexp
from training.learning import (
    Judged,
    Say,
    best_of,
    descend,
    fit_until,
    mean_loss,
    reproducible,
    weights_of,
)
from training.semantic.requests import Requests, new_to_users, seen_lines
from training.student.bags import Bags
from training.student.judge import StudentJudge

ROWS_PER_BATCH = 2048  # of bags that are only read
FIRST_SCALE = 4.0  # of e_text: what a bag of length one begins with


class StudentOptions(Strict):
    """How to fit the text student."""

    rows: int = Field(default=16_384, ge=1, description="of the table that words are hashed into")
    epochs: int = Field(default=15, ge=1)
    patience: int = Field(default=4, ge=1, description="epochs without a better validation score")
    batch_size: int = Field(default=512, ge=1)
    learning_rate: float = Field(default=3e-3, gt=0)
    weight_decay: float = Field(default=1e-2, ge=0)
    token_dropout: float = Field(default=0.5, ge=0, lt=1, description="share of words left out")
    own_vectors: bool = Field(
        default=False, description="train the semantic item vectors together with the student"
    )
    exclude_seen: bool


class Student(nn.Module):
    """Bags of weighted rows -> e_text [B, d]; linear, so that a device can add up kept parts."""

    def __init__(self, rows: int, dim: int) -> None:
        super().__init__()
        self.words = nn.EmbeddingBag(rows, dim, mode="sum")
        # Words that training never met say nothing, rather than something at random.
        nn.init.zeros_(self.words.weight)
        self.bias = nn.Parameter(torch.zeros(dim))
        self.scale = nn.Parameter(torch.tensor(FIRST_SCALE))

    def forward(self, start: Tensor, row: Tensor, weight: Tensor) -> Tensor:
        total: Tensor = self.words(row, start, per_sample_weights=weight)
        return total * self.scale + self.bias


@dataclass(frozen=True, eq=False)
class FittedStudent:
    """The best validation epoch, as a device holds it.

    Attributes:
        vectors: [I, d] v'_i that e_text is multiplied with: those that were given, or trained.
        weight: b of the served score, 0 where validation is better without.
        validation_own, validation_text, validation_fused: NDCG@10 over what may be answered, by the
            device's own score without the student, by the student alone, and by both.
    """

    weights: StudentWeights
    vectors: NDArray[np.float32]
    weight: float
    validation_own: float
    validation_text: float
    validation_fused: float
    best_epoch: int

    def embed(self, bags: Bags) -> NDArray[np.float32]:
        """[S, d] e_text of every bag, from the weights that a device has."""
        return embed_bags(self.weights, bags)


def fit_student(
    bags: Bags,
    requests: Requests,
    training: NDArray[np.int64],
    validation: NDArray[np.int64],
    options: StudentOptions,
    *,
    vectors: NDArray[np.float32] | None = None,
    seed: int = 0,
    threads: int = 2,
    progress: Progress | None = None,
) -> FittedStudent:
    """Fit the student to the next item, and choose its weight beside the device's own score.

    The loss of a step is the cross-entropy of its target under <e_text, v'_i> over the catalogue.
    The epoch with the best sum of NDCG@10 of the student alone and beside the own score is kept, as
    for f_sem.

    Args:
        bags: of every step that is used, at ``options.rows``.
        requests: validation requests and their own scores among others.
        training: rows of ``bags``. validation: rows of ``requests``; each has a bag.
        vectors: [I, d] v'_i, or with ``own_vectors`` what they start from; None: those of
            structure.

    Raises:
        DataError: nothing to train on, or the loss is not finite.
        ValueError: bags of another table, or a validation request without a bag.
    """
    if bags.table_rows != options.rows:
        raise ValueError(f"bags are of {bags.table_rows} rows, the student of {options.rows}")
    start = requests.table.vectors.detach() if vectors is None else torch.from_numpy(vectors)
    with reproducible(seed, threads):
        fit = _StudentFit(bags, requests, start, options)
        rows = torch.from_numpy(training)
        if options.exclude_seen:
            rows = torch.from_numpy(training[fit.new_to_user(training)])
        if len(rows) == 0:
            raise DataError(
                "no user has enough events to train a text student on: hold out fewer "
                "(training.test_steps, validation_steps, calibration_steps), or go without one "
                "(training.text_student=false)"
            )
        judge = StudentJudge(requests, validation, exclude_seen=options.exclude_seen)
        held = bags.anchors.find(judge.user, judge.step)
        if (held < 0).any():
            raise ValueError("a validation request has no bag: make bags of all anchors")

        def judged() -> Judged:
            if not len(held):
                return Judged(-fit.mean_loss)
            alone, _, fused = judge.of(_embedded(fit.student, bags, held), fit.vectors)
            return Judged(alone + fused)

        history = fit_until(
            options.epochs,
            fit.weights(),
            partial(fit.learn, rows),
            judged,
            label="fitting the text student",
            scored="NDCG@10 text + fused",
            progress=progress,
            patience=options.patience,
        )
        return fit.result(judge, held, best_of(history).epoch)


class _StudentFit:
    def __init__(
        self, bags: Bags, requests: Requests, vectors: Tensor, options: StudentOptions
    ) -> None:
        self.bags, self.options = bags, options
        self.student = Student(options.rows, vectors.shape[1])
        # Trained or not, a parameter: one loss serves both.
        self._table = nn.Parameter(vectors.clone(), requires_grad=options.own_vectors)
        self._no_bias = torch.zeros(len(vectors))
        events = requests.events
        at = events.user_start[bags.anchors.user] + bags.anchors.tau
        # Bags of test steps have no event that training may read; they are not trained on.
        held = events.item[at.clip(max=len(events.item) - 1)]
        self.target = torch.from_numpy(held.astype(np.int64))
        self.requests = requests
        parameters = [*self.student.parameters(), *([self._table] if options.own_vectors else [])]
        self.optimizer = torch.optim.AdamW(
            parameters, lr=options.learning_rate, weight_decay=options.weight_decay, fused=True
        )
        self.mean_loss = 0.0

    @property
    def vectors(self) -> Tensor:
        return self._table.detach()

    def weights(self) -> dict[str, Tensor]:
        return {**weights_of(student=self.student), "vectors": self._table.detach()}

    def new_to_user(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """[R] whether the target of each row is new to its user."""
        return new_to_users(self.requests.events, self.bags.anchors, rows, self.target[rows])

    def learn(self, rows: Tensor, number: int, say: Say) -> float:
        batches = torch.split(rows[torch.randperm(len(rows))], self.options.batch_size)
        self.mean_loss = mean_loss(
            batches, lambda _, i: (descend(self.optimizer, self.loss(i)), len(i)), say
        )
        return self.mean_loss

    def loss(self, index: Tensor) -> Tensor:
        start, row, weight = (torch.from_numpy(part) for part in self.bags.take(index.numpy()))
        kept = 1.0 - self.options.token_dropout
        weight = weight * (torch.rand(len(weight)) < kept) / kept
        e_text = self.student(start, row.long(), weight)
        towards = self._table[self.target[index]]
        barred = None
        if self.options.exclude_seen:
            barred = seen_lines(self.requests.events, self.bags.anchors, index.numpy())
        log_z = linear_logsumexp(e_text, self._table, self._no_bias, barred)
        loss: Tensor = (log_z - (e_text * towards).sum(-1)).mean()
        return loss

    def result(self, judge: StudentJudge, held: NDArray[np.int64], epoch: int) -> FittedStudent:
        student = self.student
        scale = float(student.scale.detach())
        rows = student.words.weight.detach().numpy() * np.float32(np.sign(scale) or 1.0)
        packed = pack_student(rows, student.bias.detach().numpy(), abs(scale))
        # Judged as devices hold it: in few bytes.
        e_text = torch.from_numpy(embed_bags(packed, self.bags, held))
        alone, weight, fused = judge.of(e_text, self.vectors)
        return FittedStudent(
            weights=packed,
            vectors=self.vectors.numpy().copy(),
            weight=weight,
            validation_own=judge.own,
            validation_text=alone,
            validation_fused=fused,
            best_epoch=epoch,
        )


@torch.no_grad()
def embed_bags(
    weights: StudentWeights, bags: Bags, index: NDArray[np.int64] | None = None
) -> NDArray[np.float32]:
    """[B, d] e_text of bags ``index`` [B], of all without it, as a device with these weights."""
    student = Student(len(weights.codes), weights.dim)
    student.words.weight.copy_(torch.from_numpy(weights.unpack()))
    student.bias.copy_(torch.from_numpy(weights.bias))
    student.scale.fill_(weights.out_scale)
    return _embedded(student, bags, np.arange(len(bags)) if index is None else index).numpy()


@torch.no_grad()
def _embedded(student: Student, bags: Bags, index: NDArray[np.int64]) -> Tensor:
    """[B, d] e_text of bags ``index`` [B]."""
    parts = [torch.empty(0, len(student.bias))]
    for at in np.split(index, range(ROWS_PER_BATCH, len(index), ROWS_PER_BATCH)):
        start, row, weight = (torch.from_numpy(part) for part in bags.take(at))
        parts.append(student(start, row.long(), weight))
    return torch.cat(parts)
