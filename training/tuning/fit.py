"""Train the adapters: an abstract's vector near that of the next item's text.

In-batch softmax over cosines: the candidates of a batch are its own next items, each once. Popular
items are candidates more often, which is put right by the logarithm of their share of the training
pairs (Yi et al., RecSys 2019). Abstracts and item texts go through the same adapters, because one
model embeds both when it serves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shared.errors import DataError
from shared.metrics import ndcg, ranks_of
from shared.progress import Progress
from training.learning import (
    Checkpoint,
    Epoch,
    Judged,
    Say,
    descend,
    fit_until,
    mean_loss,
    reproducible,
    set_rate,
)
from training.settings import LoraSettings
from training.tuning.adapters import THREADS, AdaptedEncoder
from training.tuning.pairs import TuningPairs

WARM_UP = 0.1  # of all steps; then the learning rate falls along a cosine
CLIP_NORM = 1.0
PATIENCE = 2  # epochs without a better validation NDCG@10 before it stops
JUDGE_BATCH = 64


def tune(
    encoder: AdaptedEncoder,
    items: Sequence[str],
    training: TuningPairs,
    validation: TuningPairs,
    settings: LoraSettings,
    *,
    checkpoint: Checkpoint,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[Epoch, ...]:
    """Leave the best validation epoch's adapters in ``encoder``; epoch 0 has none.

    Args:
        items: text of every item.
        checkpoint: written after each epoch and read at the start, so that a run that was ended
            goes on with the next epoch and ends with the same weights.

    Raises:
        DataError: there is nothing to learn from or to judge by, or training diverged.
    """
    if len(training) < 2 or len(validation) == 0:
        raise DataError(
            "too few training or validation requests to tune the text model with: take a log of "
            "longer histories, or hold less out (training.test_steps, training.validation_steps, "
            "training.calibration_steps)"
        )
    with reproducible(seed, THREADS):
        fit = _TuningFit(encoder, items, training, settings, seed)

        def judged() -> Judged:
            loss, quality = judge(encoder, items, validation, settings.temperature)
            return Judged(quality, loss)

        return fit_until(
            settings.epochs,
            encoder.adapters(),
            fit.learn,
            judged,
            label="tuning the text model",
            progress=progress,
            patience=PATIENCE,
            start=judged,
            resume=(checkpoint, fit.optimizer),
        )


class _TuningFit:
    def __init__(
        self,
        encoder: AdaptedEncoder,
        items: Sequence[str],
        training: TuningPairs,
        settings: LoraSettings,
        seed: int,
    ) -> None:
        self.encoder, self.items, self.settings, self.seed = encoder, items, settings, seed
        self.training, self.log_share = training, log_share(training.target, len(items))
        self.parameters = [*encoder.adapters().values()]
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=settings.learning_rate, weight_decay=0.0
        )

    def learn(self, number: int, say: Say) -> float:
        # Of its own seed, so that a run that goes on draws what an unbroken one would.
        order = np.random.default_rng([self.seed, number]).permutation(len(self.training))
        size = self.settings.batch_size
        batches = [order[at : at + size] for at in range(0, len(order), size)]

        def step(place: int, rows: NDArray[np.int64]) -> tuple[float, int]:
            self._set_rate((number - 1) * len(batches) + place + 1, len(batches))
            value = descend(
                self.optimizer,
                self._loss(rows),
                clip=(self.parameters, CLIP_NORM),
                knob="embedder.lora.learning_rate",
            )
            return value, len(rows)

        return mean_loss(batches, step, say)

    def _set_rate(self, step: int, per_epoch: int) -> None:
        steps = self.settings.epochs * per_epoch
        warm = max(1, round(WARM_UP * steps))
        cosine = 0.5 * (1 + math.cos(math.pi * max(0, step - warm) / max(1, steps - warm)))
        set_rate(self.optimizer, self.settings.learning_rate * min(step / warm, cosine))

    def _loss(self, rows: NDArray[np.int64]) -> Tensor:
        candidates, label = np.unique(self.training.target[rows], return_inverse=True)
        said = self.encoder([self.training.text[row] for row in rows])
        meant = self.encoder([self.items[item] for item in candidates])
        logits = said @ meant.T / self.settings.temperature - self.log_share[candidates]
        return torch.nn.functional.cross_entropy(logits, torch.from_numpy(label))


def log_share(target: NDArray[np.int64], n_items: int) -> Tensor:
    """[I] logarithm of each item's share of the targets; of items that are none, as if it was."""
    count = np.maximum(np.bincount(target, minlength=n_items), 1)
    return torch.from_numpy(np.log(count / len(target))).float()


@torch.no_grad()
def judge(
    encoder: AdaptedEncoder, items: Sequence[str], pairs: TuningPairs, temperature: float
) -> tuple[float, float]:
    """Cross-entropy and NDCG@10 of each next item among all next items of ``pairs``, by cosine."""
    candidates, label = np.unique(pairs.target, return_inverse=True)
    said = _embedded(encoder, pairs.text)
    meant = _embedded(encoder, [items[item] for item in candidates])
    scores = said @ meant.T
    loss = torch.nn.functional.cross_entropy(scores / temperature, torch.from_numpy(label))
    return float(loss), float(ndcg(ranks_of(scores.numpy(), label), 10).mean())


def _embedded(encoder: AdaptedEncoder, texts: Sequence[str]) -> Tensor:
    """In batches of similar length, which pad little."""
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    parts = [order[at : at + JUDGE_BATCH] for at in range(0, len(order), JUDGE_BATCH)]
    found = torch.cat([encoder([texts[i] for i in part]) for part in parts])
    return found[torch.argsort(torch.tensor(order))]
