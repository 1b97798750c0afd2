"""LLRec (Wang et al., WWW 2020): a recurrent model small enough for a phone, taught by a large one.

The student is a FastGRNN over item vectors in tensor-train form; the teacher is a SASRec of the
product with its return mechanism, its times and a window of 200, frozen. Per target, with teacher
q and student p over the whole catalogue,

    L = (1 - a) * -log p(next item) + a * T^2 * KL(q_T || p_T),

_T for softmax at temperature T (Hinton et al., arXiv 1503.02531).

Simplifications. The paper's networks of a place's context are left out: times reach the student
through its teacher alone. Places of the tensor train are item indices as the log has them. The
student has no return mechanism; beside it stand the counts of own events that every device has.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from shared.errors import DataError
from shared.progress import Progress
from training.backbone.batches import training_windows
from training.backbone.distil import divergence
from training.backbone.fit import TrainedBackbone
from training.backbone.objective import RepeatPolicy
from training.background import in_thread
from training.baselines.base import (
    FLOAT_BYTES,
    FittedBaseline,
    Fitting,
    MethodCosts,
    Reads,
    Rows,
    World,
    weights_in,
)
from training.baselines.device_time import CANDIDATES
from training.baselines.frozen_answers import FrozenAnswers, numbered, rows_and_items
from training.baselines.llrec.export import request_us
from training.baselines.llrec.student import LLRecStudent
from training.learning import (
    Judged,
    Say,
    descend,
    fit_until,
    mean_loss,
    reproducible,
    weights_of,
)

MOST_UNROLLED = 50  # events; the graph of more would be long to export and to load


@dataclass(frozen=True)
class LLRec:
    """Options.

    Attributes:
        dims: d1, d2, d3 of the tensor train; d is their product.
        tt_rank: of the tensor train. rank: of the recurrence's matrices.
        teacher_window: events that the teacher reads.
        share: a, of the teacher in the loss. temperature: T.
        targets: of a batch, about.
    """

    dims: tuple[int, int, int] = (4, 4, 2)
    tt_rank: int = 8
    rank: int = 16
    teacher_window: int = 200
    share: float = 0.5
    temperature: float = 2.0
    learning_rate: float = 3e-3
    weight_decay: float = 0.01
    epochs: int = 20
    patience: int = 5
    targets: int = 1600

    reads: Reads = "device"

    async def fit(self, fitting: Fitting) -> FittedBaseline:
        """See ``Baseline.fit``; the teacher is a stage of its own, trained once a seed."""
        teacher = await fitting.sibling(
            window=self.teacher_window, backbone="sasrec", return_mechanism=True
        ).backbone()
        return await in_thread(lambda shown: self._train(fitting, teacher, shown), fitting.progress)

    def _train(self, fitting: Fitting, teacher: TrainedBackbone, progress: Progress) -> FittedLLRec:
        window, policy = fitting.run.settings.profile.window, fitting.run.policy
        learned = fitting.learned
        with reproducible(fitting.seed, fitting.threads):
            frozen = FrozenAnswers(teacher, learned).everywhere()
            counts = np.bincount(learned.item, minlength=fitting.n_items)
            student = LLRecStudent(counts, self.dims, rank=self.rank, tt_rank=self.tt_rank)
            lesson = Lesson(self, student, frozen, window, policy, seed=fitting.seed)
            fitted = FittedLLRec(student, window)
            fit_until(
                fitting.epochs(self.epochs),
                weights_of(student=student),
                lesson.learn_pass,
                lambda: Judged(fitting.ndcg10(fitted.scores)),
                label="training LLRec's student",
                progress=progress,
                patience=self.patience,
            )
        student.eval().requires_grad_(False)
        if fitting.most_epochs is not None or window > MOST_UNROLLED:
            return fitted
        return replace(fitted, device_us=request_us(student, window, CANDIDATES))


class Taught(NamedTuple):
    """Loss [N] of each target: of the label, and of the teacher."""

    label: Tensor
    teacher: Tensor


def taught(said: Tensor, asked: Tensor, target: Tensor, temperature: float) -> Taught:
    """Both losses for teacher scores ``said`` and student scores ``asked`` [N, I].

    An item with -inf is no answer; both must agree on those.
    """
    label = -asked.log_softmax(1).gather(1, target[:, None])[:, 0]
    log_q, log_p = ((scores / temperature).log_softmax(1) for scores in (said, asked))
    return Taught(label, temperature**2 * divergence(log_q, log_p))


class Lesson:
    """Passes over the training events, by windows of the device's own width."""

    def __init__(
        self,
        options: LLRec,
        student: LLRecStudent,
        teacher: FrozenAnswers,
        window: int,
        policy: RepeatPolicy,
        *,
        seed: int,
    ) -> None:
        self.options, self.student, self.teacher = options, student, teacher
        self.window, self.policy = window, policy
        self.rng = np.random.default_rng(seed)
        self.optimizer = torch.optim.AdamW(
            student.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay
        )

    def learn_pass(self, epoch: int, say: Say) -> float:
        """Mean loss of one pass.

        Raises:
            DataError: training diverged, or no target may be recommended.
        """
        self.student.train()
        events, stride = self.teacher.events, max(1, self.window // 2)
        numbers = training_windows(numbered(events), self.window, stride, self.rng)
        windows, following = rows_and_items(events, numbers)
        order = torch.from_numpy(self.rng.permutation(len(windows)))
        batches = torch.split(order, max(1, self.options.targets // stride))

        def step(place: int, index: Tensor) -> tuple[float, int]:
            batch = windows.rows(index)
            row, at = batch.wanted.nonzero(as_tuple=True)
            rows, target = following[index][row, at], batch.next_item[row, at]
            with torch.no_grad():
                said = self.teacher.scores(rows, self.policy)
                kept = ~said.gather(1, target[:, None])[:, 0].isneginf()
            if not kept.any():
                return 0.0, 0
            states = self.student.states(self.student.items(batch.item))[row[kept], at[kept]]
            said = said[kept]
            asked = self.student.scores(states).masked_fill(said.isneginf(), -torch.inf)
            losses = taught(said, asked, target[kept], self.options.temperature)
            share = self.options.share
            mixed = (1 - share) * losses.label + share * losses.teacher
            return descend(self.optimizer, mixed.mean()), int(kept.sum())

        loss = mean_loss(batches, step, say)
        if epoch == 1 and loss == 0.0:
            raise DataError("every training target repeats an item, and repeats are excluded")
        self.student.eval()
        return loss


@dataclass(frozen=True, eq=False)
class FittedLLRec:
    """The student alone.

    Attributes:
        window: events that it reads.
        device_us: microseconds of a request; None where it was not measured.
    """

    student: LLRecStudent
    window: int
    device_us: float | None = None

    @property
    def costs(self) -> MethodCosts:
        """Of the student, in float32; the teacher ships nowhere."""
        numbers = weights_in(self.student)
        return MethodCosts(
            parameters=numbers, device_bytes=FLOAT_BYTES * numbers, device_us=self.device_us
        )

    @torch.no_grad()
    def scores(self, world: World, fresh: Rows, stale: Rows) -> Tensor:
        """As ``FittedBaseline.scores``; with the counts of own events that a device has."""
        windows = world.windows(fresh, self.window)
        windows = windows.rows(torch.arange(len(windows)))
        states = self.student.states(self.student.items(windows.item))
        # What pads a row on the right comes after its answer.
        asked = states[torch.arange(len(windows)), windows.length - 1]
        return self.student.scores(asked) + world.count_bonus(fresh)
