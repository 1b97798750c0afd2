"""Train the device backbone: encoder and item table, on next-item cross-entropy."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from shared.errors import DataError
from shared.metrics import ndcg
from shared.progress import Progress
from shared.strict import Strict
from training.backbone.batches import Events, Windows, training_windows
from training.backbone.evaluate import target_ranks
from training.backbone.item_table import ItemParameters
from training.backbone.objective import Objective, RepeatPolicy, next_item_log_likelihood
from training.encoders.base import Encoder, EncoderConfig
from training.learning import (
    Epoch,
    Judged,
    Say,
    best_of,
    descend,
    fit_until,
    mean_loss,
    reproducible,
    set_rate,
    weights_of,
)


class Cycle(Strict):
    """One cosine run of the learning rate; later cycles are warm restarts (SGDR)."""

    epochs: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    window: int | None = Field(
        default=None, ge=1, description="events per training window; None = all the encoder sees"
    )


class BackboneOptions(Strict):
    """How to train; the defaults were chosen on validation targets."""

    cycles: tuple[Cycle, ...] = Field(min_length=1)
    batch_windows: int = Field(ge=1)
    stride: int | None = Field(
        default=None, ge=1, description="targets per window; None = half the window"
    )
    weight_decay: float = Field(default=0.01, ge=0)
    negatives: int | None = Field(
        default=None, ge=1, description="uniform negatives per batch; None = full cross-entropy"
    )
    repeat_policy: RepeatPolicy = Field(
        default="allow", description="exclude: items a user had before are never recommended"
    )
    clip_norm: float = Field(default=1.0, gt=0)
    warmup_steps: int = Field(default=50, ge=0)


@dataclass(frozen=True, eq=False)
class TrainedBackbone:
    """The weights of the best validation epoch, in eval mode, and how training went."""

    model: Encoder
    table: ItemParameters
    options: BackboneOptions
    history: tuple[Epoch, ...] = field(default=())

    @property
    def best(self) -> Epoch:
        return best_of(self.history)


def train_backbone(
    events: Events,
    config: EncoderConfig,
    options: BackboneOptions,
    *,
    n_items: int,
    validation_start: NDArray[np.int64],
    test_start: NDArray[np.int64],
    calibration_start: NDArray[np.int64] | None = None,
    item_init: NDArray[np.floating] | None = None,
    objective: Objective | None = None,
    seed: int = 0,
    threads: int = 2,
    progress: Progress | None = None,
) -> TrainedBackbone:
    """Fit the encoder and its item table; keep the epoch with the best validation NDCG@10.

    Args:
        events: the whole log; events from ``test_start`` on are cut away before anything else.
        n_items: I; items that no one touched get a vector too.
        validation_start, test_start: [U] per user, counted from the user's first event: events
            before the first are training targets, those between the two validation targets.
        calibration_start: [U] training targets end here already, so that what is fitted on the
            encoder's answers meets targets it has not learned; None = ``validation_start``.
        item_init: [I, d] start vectors, or None for random ones.
        objective: what is minimised; None = cross-entropy of the next item.
        seed: of everything random; the same seed and threads give the same weights.
        threads: torch threads while training; the former number is restored.
        progress: one task, a unit per epoch, with loss and validation NDCG@10 as its note.

    Raises:
        DataError: the events do not fit together, or there is nothing to learn from.
    """
    for width in (cycle.window or config.window for cycle in options.cycles):
        if width > config.window:
            raise DataError(
                f"a cycle's window {width} is larger than the encoder's, {config.window}"
            )
        if options.stride is not None and options.stride > width:
            raise DataError(f"stride {options.stride} is larger than the window {width}")
    if np.any(validation_start > test_start):
        raise DataError("validation_start lies after test_start")
    train_stop = validation_start if calibration_start is None else calibration_start
    if np.any(train_stop > validation_start):
        raise DataError("calibration_start lies after validation_start")
    if len(events.item) and not 0 <= events.item.min() <= events.item.max() < n_items:
        raise DataError(f"events name items outside 0..{n_items - 1}")
    known = events.keep_first(test_start)
    train = known.keep_first(train_stop)
    validation = _validation_targets(known, validation_start)
    with reproducible(seed, threads):
        model, table = config.build(), ItemParameters(n_items, config.dim, item_init)
        _start_from_popularity(table, train)
        fit = BackboneFit(model, table, options, seed, objective)
        plan = [(cycle, done) for cycle in options.cycles for done in range(cycle.epochs)]
        history = fit_until(
            len(plan),
            weights_of(model=model, table=table),
            lambda epoch, say: fit.learn_pass(train, *plan[epoch - 1], say),
            lambda: Judged(fit.validate(known, validation)),
            label="training the backbone",
            progress=progress,
        )
    return TrainedBackbone(model.eval(), table, options, history)


class BackboneFit:
    """One training run: the state that its steps share."""

    def __init__(
        self,
        model: Encoder,
        table: ItemParameters,
        options: BackboneOptions,
        seed: int,
        objective: Objective | None = None,
    ) -> None:
        self.model, self.table, self.options = model, table, options
        self.objective = objective or self._cross_entropy
        self.rng = np.random.default_rng(seed)
        self.parameters = [*model.parameters(), *table.parameters()]
        self.optimizer = torch.optim.AdamW(
            _decay_groups(model, table, options.weight_decay), betas=(0.9, 0.98), fused=True
        )
        self.steps_taken = 0

    def learn_pass(self, train: Events, cycle: Cycle, epochs_done: int, say: Say) -> float:
        """Mean loss of one pass over the training targets.

        Distances that the cycle's window does not reach follow those that it does.
        """
        self.model.train()
        options = self.options
        width = cycle.window or self.model.config.window
        stride = options.stride or max(1, width // 2)
        windows = training_windows(train, width, stride, self.rng)
        order = torch.from_numpy(self.rng.permutation(len(windows)))
        batches = torch.split(order, options.batch_windows)

        def step(place: int, index: Tensor) -> tuple[float, int]:
            self._set_rate(cycle, (epochs_done + place / len(batches)) / cycle.epochs)
            return self.learn(windows.rows(index))

        loss = mean_loss(batches, step, say)
        if width < self.model.config.window:
            self.model.extend_distances(width)
        return loss

    def learn(self, batch: Windows) -> tuple[float, int]:
        """One step of the optimizer on a batch: mean loss of its targets, and their number."""
        losses = self.objective(self.model, self.table, batch)
        if len(losses) == 0:  # every next item of the batch is a repeat and those are left out
            return math.nan, 0
        value = descend(
            self.optimizer, losses.mean(), clip=(self.parameters, self.options.clip_norm)
        )
        self.steps_taken += 1
        return value, len(losses)

    def _cross_entropy(self, model: Encoder, table: ItemParameters, batch: Windows) -> Tensor:
        return -next_item_log_likelihood(
            model, table, batch, self.options.repeat_policy, self._negatives()
        )

    def _set_rate(self, cycle: Cycle, done: float) -> None:
        """Cosine over the cycle, with a linear warm-up over the very first steps."""
        warm = min(1.0, (self.steps_taken + 1) / max(1, self.options.warmup_steps))
        rate = cycle.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * done))
        set_rate(self.optimizer, rate)

    def _negatives(self) -> Tensor | None:
        if self.options.negatives is None:
            return None
        drawn = self.rng.integers(0, len(self.table.bias), self.options.negatives)
        return torch.from_numpy(drawn)

    def validate(self, known: Events, validation: NDArray[np.int64]) -> float:
        if len(validation) == 0:
            return math.nan
        exclude = self.options.repeat_policy == "exclude"
        ranks = target_ranks(self.model, self.table, known, validation, exclude_seen=exclude)
        return float(ndcg(ranks, 10).mean())


def _validation_targets(known: Events, start: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows of ``known`` from ``start`` [U] on, leaving out events without any history."""
    size = np.diff(known.user_start)
    place = np.arange(len(known.item)) - np.repeat(known.user_start[:-1], size)
    return np.flatnonzero(place >= np.repeat(np.maximum(start, 1), size))


def _start_from_popularity(table: ItemParameters, train: Events) -> None:
    """b_i = log frequency, the best answer that knows no user: nothing is spent on learning it."""
    counts = np.bincount(train.item, minlength=len(table.bias))
    share = (counts + 1.0) / (counts + 1.0).mean()
    with torch.no_grad():
        table.bias.copy_(torch.from_numpy(np.log(share)))


def _decay_groups(model: Encoder, table: ItemParameters, decay: float) -> list[dict[str, object]]:
    """Weight decay on matrices and item vectors; none on biases, norms and distance tables."""
    named = [*model.named_parameters(), *table.named_parameters()]
    matrices = [p for name, p in named if p.dim() > 1 and "distance" not in name]
    others = [p for name, p in named if p.dim() <= 1 or "distance" in name]
    return [
        {"params": matrices, "weight_decay": decay},
        {"params": others, "weight_decay": 0.0},
    ]
