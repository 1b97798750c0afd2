"""Train the adapters: an abstract's vector near that of the next item's text.

In-batch softmax over cosines: the candidates of a batch are its own next items, each once. Popular
items are candidates more often, which is put right by the logarithm of their share of the training
pairs (Yi et al., RecSys 2019). Abstracts and item texts go through the same adapters, because one
model embeds both when it serves.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shared.errors import DataError
from shared.metrics import expected_rank, ndcg
from shared.progress import NullProgress, Progress, Task
from training.determinism import reproducible
from training.settings import LoraSettings
from training.tuning.adapters import THREADS, AdaptedEncoder
from training.tuning.checkpoint import Checkpoint, TuningEpoch
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
) -> tuple[TuningEpoch, ...]:
    """Leave the best validation epoch's adapters in ``encoder``; epoch 0 has none.

    Args:
        items: text of every item.
        checkpoint: written after each epoch and read at the start, so that a run that was ended
            goes on with the next epoch and ends with the same weights.

    Raises:
        DataError: there is nothing to learn from or to judge by, or training diverged.
    """
    if len(training) < 2 or len(validation) == 0:
        raise DataError("too few training or validation requests to tune the text model with")
    with reproducible(seed, THREADS):
        fit = _Fit(encoder, items, training, validation, settings, seed)
        return fit.run(checkpoint, progress or NullProgress())


def best_epoch(history: Sequence[TuningEpoch]) -> int:
    """The epoch with the best NDCG@10; of equal ones the earliest."""
    return max(history, key=lambda e: (e.validation_ndcg10, -e.epoch)).epoch


class _Fit:
    def __init__(
        self,
        encoder: AdaptedEncoder,
        items: Sequence[str],
        training: TuningPairs,
        validation: TuningPairs,
        settings: LoraSettings,
        seed: int,
    ) -> None:
        self.encoder, self.items, self.settings, self.seed = encoder, items, settings, seed
        self.training, self.validation = training, validation
        self.log_share = log_share(training.target, len(items))
        self.optimizer = torch.optim.AdamW(
            list(encoder.adapters().values()), lr=settings.learning_rate, weight_decay=0.0
        )

    def run(self, saved: Checkpoint, progress: Progress) -> tuple[TuningEpoch, ...]:
        epochs, n = self.settings.epochs, len(self.training)
        history, best = saved.restore(self.encoder, self.optimizer)
        with progress.task("tuning the text model", (epochs + 1) * n) as task:
            if not history:
                history.append(self._judged(0, None, 0.0))
            task.advance(n * len(history), _note(history[-1]))
            while history[-1].epoch < epochs and not self._tired(history):
                started = time.perf_counter()
                loss = self._epoch(history[-1].epoch + 1, task)
                seconds = time.perf_counter() - started
                history.append(self._judged(history[-1].epoch + 1, loss, seconds))
                if best_epoch(history) == history[-1].epoch:
                    best = self.encoder.copied_adapters()
                saved.write(self.encoder, self.optimizer, history, best)
                task.advance(0, _note(history[-1]))
        self.encoder.load_adapters(best)
        return tuple(history)

    def _tired(self, history: Sequence[TuningEpoch]) -> bool:
        return history[-1].epoch - best_epoch(history) >= PATIENCE

    def _epoch(self, number: int, task: Task) -> float:
        # Of its own seed, so that a run that goes on draws what an unbroken one would.
        order = np.random.default_rng([self.seed, number]).permutation(len(self.training))
        size = self.settings.batch_size
        batches = [order[at : at + size] for at in range(0, len(order), size)]
        total = 0.0
        for place, rows in enumerate(batches):
            self._set_rate(((number - 1) * len(batches) + place + 1), len(batches))
            loss = self._loss(rows)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(self.encoder.adapters().values(), CLIP_NORM)
            self.optimizer.step()
            total += loss.item() * len(rows)
            task.advance(len(rows), f"epoch {number}, loss {loss.item():.3f}")
        if not math.isfinite(total):
            raise DataError("tuning the text model diverged; lower embedder.lora.learning_rate")
        return total / len(order)

    def _set_rate(self, step: int, per_epoch: int) -> None:
        steps = self.settings.epochs * per_epoch
        warm = max(1, round(WARM_UP * steps))
        cosine = 0.5 * (1 + math.cos(math.pi * max(0, step - warm) / max(1, steps - warm)))
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate * min(step / warm, cosine)

    def _loss(self, rows: NDArray[np.int64]) -> Tensor:
        candidates, label = np.unique(self.training.target[rows], return_inverse=True)
        said = self.encoder([self.training.text[row] for row in rows])
        meant = self.encoder([self.items[item] for item in candidates])
        logits = said @ meant.T / self.settings.temperature - self.log_share[candidates]
        return torch.nn.functional.cross_entropy(logits, torch.from_numpy(label))

    def _judged(self, number: int, train_loss: float | None, seconds: float) -> TuningEpoch:
        loss, quality = judge(self.encoder, self.items, self.validation, self.settings.temperature)
        return TuningEpoch(number, train_loss, loss, quality, round(seconds, 1))


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
    ranks = [expected_rank(row, int(at)) for row, at in zip(scores.numpy(), label, strict=True)]
    return float(loss), float(ndcg(ranks, 10).mean())


def _embedded(encoder: AdaptedEncoder, texts: Sequence[str]) -> Tensor:
    """In batches of similar length, which pad little."""
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    parts = [order[at : at + JUDGE_BATCH] for at in range(0, len(order), JUDGE_BATCH)]
    found = torch.cat([encoder([texts[i] for i in part]) for part in parts])
    return found[torch.argsort(torch.tensor(order))]


def _note(epoch: TuningEpoch) -> str:
    return f"epoch {epoch.epoch}, validation NDCG@10 {epoch.validation_ndcg10:.4f}"
