"""Train a candidate scorer and its item table on sampled softmax.

A backbone is trained on every place of a window at once (see `training.backbone`); a candidate
scorer reads the history anew for every candidate, so its targets are rows of their own, and the
softmax runs over the target and uniform negatives that a batch shares.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from shared.errors import DataError
from shared.metrics import RANK, Ranks, ndcg
from shared.progress import Progress
from shared.strict import Strict
from training.backbone.batches import Events, Windows, windows_before
from training.backbone.evaluate import dense_ranks
from training.backbone.item_table import ItemParameters
from training.encoders.candidate_scorer import CandidateScorer, ScorerConfig
from training.learning import (
    Epoch,
    Judged,
    Say,
    descend,
    few,
    fit_until,
    mean_loss,
    reproducible,
    weights_of,
)

ROWS_PER_BATCH = 64
ITEMS_PER_BATCH = 1024
VALIDATION_ROWS = 512


class ScorerOptions(Strict):
    """How to train."""

    epochs: int = Field(ge=1)
    learning_rate: float = Field(default=2e-3, gt=0)
    batch_targets: int = Field(default=256, ge=1)
    negatives: int = Field(default=128, ge=1, description="uniform items that a batch shares")
    weight_decay: float = Field(default=0.01, ge=0)
    exclude_seen: bool = Field(default=True, description="items a user had do not compete")
    clip_norm: float = Field(default=1.0, gt=0)


@dataclass(frozen=True, eq=False)
class TrainedScorer:
    """The weights of the best validation epoch, in eval mode."""

    model: CandidateScorer
    table: ItemParameters
    history: tuple[Epoch, ...] = field(default=())


def train_scorer(
    events: Events,
    config: ScorerConfig,
    options: ScorerOptions,
    *,
    n_items: int,
    validation_start: NDArray[np.int64],
    test_start: NDArray[np.int64],
    calibration_start: NDArray[np.int64] | None = None,
    item_init: NDArray[np.floating] | None = None,
    seed: int = 0,
    threads: int = 1,
    progress: Progress | None = None,
) -> TrainedScorer:
    """Fit the scorer; keep the epoch with the best NDCG@10 of at most 512 validation targets.

    Args:
        events: the whole log; events from ``test_start`` on are cut away before anything else.
        validation_start, test_start: [U] per user, counted from the user's first event.
        calibration_start: [U] training targets end here already; None = ``validation_start``.
        item_init: [I, d] start vectors, or None for random ones.

    Raises:
        DataError: there is nothing to learn from, or training diverged.
    """
    known = events.keep_first(test_start)
    size = np.diff(known.user_start)
    place = np.arange(len(known.item)) - np.repeat(known.user_start[:-1], size)
    train_stop = validation_start if calibration_start is None else calibration_start
    stop = np.repeat(train_stop, size)
    targets = np.flatnonzero((place > 0) & (place < stop))
    if len(targets) == 0:
        raise DataError("no user has two training events: there is nothing to learn from")
    held = np.flatnonzero((place > 0) & (place >= np.repeat(validation_start, size)))
    rng = np.random.default_rng(seed)
    held = few(held, VALIDATION_ROWS)
    with reproducible(seed, threads):
        model, table = config.build(), ItemParameters(n_items, config.dim, item_init)
        counts = np.bincount(known.item[place < stop], minlength=n_items) + 1.0
        with torch.no_grad():
            table.bias.copy_(torch.from_numpy(np.log(counts / counts.mean())))
        return _fit(model, table, options, known, targets, held, rng, progress)


def _fit(
    model: CandidateScorer,
    table: ItemParameters,
    options: ScorerOptions,
    known: Events,
    targets: NDArray[np.int64],
    held: NDArray[np.int64],
    rng: np.random.Generator,
    progress: Progress | None,
) -> TrainedScorer:
    parameters = [*model.parameters(), *table.parameters()]
    optimizer = torch.optim.AdamW(
        parameters, lr=options.learning_rate, weight_decay=options.weight_decay, betas=(0.9, 0.98)
    )
    windows = windows_before(known, targets, model.config.window, targets)
    length = windows.length.numpy()
    steps = options.epochs * math.ceil(len(targets) / options.batch_targets)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, options.learning_rate, total_steps=steps + options.epochs, pct_start=0.1
    )

    def learn(_: int, say: Say) -> float:
        model.train()
        return mean_loss(_batches(length, options.batch_targets, rng), step, say)

    def step(_: int, rows: NDArray[np.int64]) -> tuple[float, int]:
        drawn = torch.from_numpy(rng.integers(0, len(table.bias), options.negatives))
        goal = torch.from_numpy(known.item[targets[rows]].astype(np.int64))
        loss = _loss(model, table, windows.rows(torch.from_numpy(rows)), goal, drawn, options)
        value = descend(optimizer, loss, clip=(parameters, options.clip_norm))
        schedule.step()
        return value, len(rows)

    def judge() -> Judged:
        if not len(held):
            return Judged(math.nan)
        ranks = scorer_ranks(model, table, known, held, exclude_seen=options.exclude_seen)
        return Judged(float(ndcg(ranks, 10).mean()))

    history = fit_until(
        options.epochs,
        weights_of(model=model, table=table),
        learn,
        judge,
        label="training the candidate scorer",
        progress=progress,
    )
    return TrainedScorer(model.eval(), table, history)


def _batches(
    length: NDArray[np.int64], size: int, rng: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Rows of about equal length together, so that little is padded; batches in random order."""
    order = np.argsort(length + rng.random(len(length)), kind="stable")
    batches = [order[first : first + size] for first in range(0, len(order), size)]
    return [batches[place] for place in rng.permutation(len(batches))]


def _loss(
    model: CandidateScorer,
    table: ItemParameters,
    rows: Windows,
    goal: Tensor,
    drawn: Tensor,
    options: ScorerOptions,
) -> Tensor:
    """Mean -log p(target) with the sum over all items estimated from the ``drawn`` [S]."""
    vectors = history_vectors(table, rows)
    items = torch.cat([goal[:, None], drawn.expand(len(goal), -1)], 1)  # [N, 1 + S]
    scores = model(vectors, table(items)) + table.bias[items]
    out = drawn == goal[:, None]
    if options.exclude_seen:
        out = out | (drawn == rows.item[:, :, None]).any(1)
    others = scores[:, 1:].masked_fill(out, -math.inf).logsumexp(1)
    scale = math.log(len(table.bias) / len(drawn))
    loss: Tensor = (torch.logaddexp(scores[:, 0], others + scale) - scores[:, 0]).mean()
    return loss


def history_vectors(table: ItemParameters, rows: Windows) -> Tensor:
    """[R, L, d] with zeros in padding."""
    real = torch.arange(rows.item.shape[1]) < rows.length[:, None]
    vectors: Tensor = table(rows.item) * real[..., None]
    return vectors


@torch.no_grad()
def score_all(model: CandidateScorer, table: ItemParameters, rows: Windows) -> Tensor:
    """[R, I] scores of every item."""
    model.eval()
    vectors = history_vectors(table, rows)
    scores = []
    for items in torch.split(torch.arange(len(table.bias)), ITEMS_PER_BATCH):
        among = table(items).expand(len(vectors), -1, -1)
        scores.append(model(vectors, among) + table.bias[items])
    return torch.cat(scores, 1)


def score_candidates(
    model: CandidateScorer, table: ItemParameters, rows: Windows, items: Tensor
) -> Tensor:
    """[R, C] scores of each row's own candidates [R, C]; gradients flow."""
    scores: Tensor = model(history_vectors(table, rows), table(items)) + table.bias[items]
    return scores


def scorer_ranks(
    model: CandidateScorer,
    table: ItemParameters,
    events: Events,
    target: NDArray[np.int64],
    *,
    exclude_seen: bool,
) -> Ranks:
    """Rank [R] of each target event among all items (see `evaluate.target_ranks`)."""
    windows = windows_before(events, target, model.config.window, target)
    ranks = np.empty(len(target), RANK)
    # Rows of equal length go together: nothing is padded.
    order = torch.argsort(windows.length, stable=True)
    for index in torch.split(order, ROWS_PER_BATCH):
        scores = score_all(model, table, windows.rows(index))
        ranks[index.numpy()] = dense_ranks(
            scores, events, target[index.numpy()], exclude_seen=exclude_seen
        )
    return ranks
