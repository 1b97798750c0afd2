"""How everything here learns: pass by pass, judged on validation, the best weights kept.

A fit brings its batches, its loss and what its weights are worth; the loop is the same for all.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from shared.errors import DataError
from shared.files import write_whole
from shared.progress import NullProgress, Progress, Task

Weights = Mapping[str, Tensor]  # by name; those of a fit are live, as ``state_dict`` gives them
Say = Callable[[str], None]  # words beside the progress bar
Batch = TypeVar("Batch")

_MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # of AdamW, by parameter


class Judged(NamedTuple):
    """What weights are worth on validation; the higher the score the better."""

    score: float  # NDCG@10 as a rule; NaN where there is nothing to judge by
    loss: float | None = None


@dataclass(frozen=True)
class Epoch:
    """What one finished pass showed; epoch 0 is of the weights as they came.

    Attributes:
        train_loss: mean over the pass, in nats; None for epoch 0.
        validation_ndcg10: what the best epoch is chosen by; NaN without validation targets.
        seconds: of learning alone.
        validation_loss: where judging yields one.
    """

    epoch: int
    train_loss: float | None
    validation_ndcg10: float
    seconds: float
    validation_loss: float | None = None


def best_of(history: Sequence[Epoch]) -> Epoch:
    """The epoch with the highest score: of equal ones the earliest, the last one if it has none."""
    best = history[0]
    for epoch in history[1:]:
        if not epoch.validation_ndcg10 <= best.validation_ndcg10:
            best = epoch
    return best


def fit_until(
    epochs: int,
    weights: Weights,
    learn: Callable[[int, Say], float],
    judge: Callable[[], Judged],
    *,
    label: str,
    scored: str = "NDCG@10",
    progress: Progress | None = None,
    patience: int | None = None,
    start: Callable[[], Judged] | None = None,
    resume: tuple[Checkpoint, torch.optim.Optimizer] | None = None,
) -> tuple[Epoch, ...]:
    """Leave the best epoch's values in ``weights``; returns all epochs in order.

    Args:
        learn: one pass over the training data, epochs counted from 1; its mean loss.
        judge: what the weights are worth now.
        label: of the task, with a unit per epoch. scored: what the scores are, in its notes.
        patience: stop after so many epochs without a better one.
        start: what the weights are worth as they came (epoch 0); None: any epoch is better.
        resume: where each epoch is kept, with the optimizer's moments. A run that was ended goes on
            with the next epoch and comes to the same, if ``learn`` takes its randomness and its
            rates from the epoch's number alone.
    """
    history: list[Epoch] = []
    kept = copied(weights)
    if resume is not None:
        history, kept = resume[0].restore(weights, resume[1])
    with (progress or NullProgress()).task(label, epochs) as task:
        if history:
            task.advance(history[-1].epoch, f"going on after epoch {history[-1].epoch}")
        elif start is not None:
            score, loss = start()
            history.append(
                Epoch(
                    epoch=0,
                    train_loss=None,
                    validation_ndcg10=score,
                    seconds=0.0,
                    validation_loss=loss,
                )
            )
        for number in range(history[-1].epoch + 1 if history else 1, epochs + 1):
            if patience is not None and _since_best(history) >= patience:
                break
            name = f"epoch {number}/{epochs}"
            started = time.perf_counter()
            train_loss = learn(number, partial(_say, task, name))
            seconds = time.perf_counter() - started
            score, loss = judge()
            history.append(
                Epoch(
                    epoch=number,
                    train_loss=train_loss,
                    validation_ndcg10=score,
                    seconds=seconds,
                    validation_loss=loss,
                )
            )
            if _since_best(history) == 0:
                kept = copied(weights)
            if resume is not None:
                resume[0].write(weights, kept, resume[1], history)
            task.advance(1, f"{name}, loss {train_loss:.3f}, validation {scored} {score:.4f}")
    load(weights, kept)
    return tuple(history)


def _since_best(history: Sequence[Epoch]) -> int:
    return history[-1].epoch - best_of(history).epoch if history else 0


def _say(task: Task, epoch: str, words: str) -> None:
    task.advance(0, f"{epoch}, {words}")


def mean_loss(
    batches: Sequence[Batch], step: Callable[[int, Batch], tuple[float, int]], say: Say
) -> float:
    """Mean loss of one pass; ``step`` learns from the batch at a place: its mean loss and size."""
    total, count = 0.0, 0
    for place, batch in enumerate(batches):
        value, size = step(place, batch)
        if size:
            total, count = total + value * size, count + size
            say(f"batch {place + 1}/{len(batches)}, loss {value:.3f}")
    return total / max(1, count)


def descend(
    optimizer: torch.optim.Optimizer,
    loss: Tensor,
    *,
    clip: tuple[Sequence[nn.Parameter], float] | None = None,
    knob: str = "the learning rate",
) -> float:
    """One step down the gradient of ``loss``; returns its value.

    Args:
        clip: parameters and the greatest norm of their gradient.
        knob: what to lower where training diverges.

    Raises:
        DataError: the loss is not finite.
    """
    value = loss.item()
    if not math.isfinite(value):
        raise DataError(f"training diverged (loss {value}): lower {knob}")
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    if clip is not None:
        torch.nn.utils.clip_grad_norm_(*clip)
    optimizer.step()
    return value


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def weights_of(**modules: nn.Module) -> dict[str, Tensor]:
    """Live weights of several modules, each's names behind its own."""
    return {
        f"{part}.{name}": tensor
        for part, module in modules.items()
        for name, tensor in module.state_dict().items()
    }


def copied(weights: Weights) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in weights.items()}


@torch.no_grad()
def load(weights: Weights, values: Weights) -> None:
    """Put ``values`` into live ``weights``."""
    for name, tensor in weights.items():
        tensor.copy_(values[name])


@dataclass(frozen=True)
class Checkpoint:
    """An unfinished fit in one safetensors file: weights now and at best, moments, history."""

    path: Path

    def write(
        self,
        weights: Weights,
        best: Weights,
        optimizer: torch.optim.Optimizer,
        history: Sequence[Epoch],
    ) -> None:
        """Replace the file at once: a reader sees the old or the new one whole."""
        tensors = {f"now.{name}": value for name, value in copied(weights).items()}
        tensors |= {f"best.{name}": value for name, value in best.items()}
        for number, state in optimizer.state_dict()["state"].items():
            tensors |= {f"moments.{number}.{name}": state[name].clone() for name in _MOMENTS}
        metadata = {"history": json.dumps([asdict(epoch) for epoch in history])}
        write_whole(self.path, save(tensors, metadata=metadata))

    def restore(
        self, weights: Weights, optimizer: torch.optim.Optimizer
    ) -> tuple[list[Epoch], dict[str, Tensor]]:
        """Epochs that are done and the best weights; nothing done where no file fits."""
        try:
            with safe_open(self.path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            history = [Epoch(**one) for one in json.loads(metadata["history"])]
            now, best = (_part(tensors, prefix) for prefix in ("now.", "best."))
            if not _shapes(now) == _shapes(best) == _shapes(weights):
                return [], copied(weights)
            moments: dict[int, dict[str, Tensor]] = {}
            for name, value in _part(tensors, "moments.").items():
                number, _, moment = name.partition(".")
                moments.setdefault(int(number), {})[moment] = value
            optimizer.load_state_dict(optimizer.state_dict() | {"state": moments})
        except (OSError, SafetensorError, KeyError, ValueError, TypeError, RuntimeError):
            return [], copied(weights)
        load(weights, now)
        return history, best

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)


def _part(tensors: Weights, prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _shapes(weights: Weights) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in weights.items()}


def few(rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """At most ``most`` of ``rows``, in their order: where judging all takes too long.

    The same every time, so that epochs and runs are judged alike.
    """
    if len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng(0).choice(rows, most, replace=False))


@contextmanager
def reproducible(seed: int, threads: int) -> Iterator[None]:
    """Seeded torch with ``threads`` threads: the same of both, the same weights.

    The former state of both comes back afterwards.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(before)
