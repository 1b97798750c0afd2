"""Train P5 or POD on the sequential task: from the items before it to the next item's tokens."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from cloud_service.generation.beam import BeamSearch
from cloud_service.generation.network import NO_WORDS, TEMPLATES, GenerativeNetwork
from shared.errors import DataError
from shared.generator_config import GeneratorConfig
from shared.item_tokens import ItemTokens
from shared.metrics import Ranks, as_ranks, ndcg
from shared.progress import Progress
from shared.strict import Strict
from training.backbone.batches import Events, Windows, windows_before
from training.generative.candidates import NO_ITEM, candidate_lists
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

WARM_UP_STEPS = 200
CLIP_NORM = 1.0
BATCHES_PER_BUCKET = 64  # rows of so many are sorted by length before they are cut


class GeneratorOptions(Strict):
    """How to train."""

    epochs: int = Field(ge=1)
    exclude_seen: bool
    precision: Literal["float32", "bfloat16"]
    patience: int = Field(default=5, ge=1, description="epochs without a better validation score")
    batch_size: int = Field(default=64, ge=1, description="users' sequences in a training batch")
    learning_rate: float = Field(default=3e-3, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)


@dataclass(frozen=True, eq=False)
class Validation:
    """Held-out requests: R histories, oldest first, and the items [R] that followed."""

    histories: tuple[NDArray[np.int64], ...]
    target: NDArray[np.int64]


def train_generator(
    train: Events,
    validation: Validation,
    tokens: ItemTokens,
    config: GeneratorConfig,
    options: GeneratorOptions,
    *,
    checkpoint: Checkpoint,
    seed: int = 0,
    threads: int = 1,
    progress: Progress | None = None,
) -> tuple[GenerativeNetwork, tuple[Epoch, ...]]:
    """The weights of the best validation epoch, in eval mode, and how each epoch went.

    Args:
        train: events that may be targets; nothing else is learned from.
        checkpoint: written after each epoch and read at the start, so that a run
            that was ended goes on with the next epoch and ends with the same weights.

    Raises:
        DataError: there is nothing to learn from, or training diverged.
    """
    with reproducible(seed, threads):
        network = GenerativeNetwork(config)
        fit = GeneratorFit(network, tokens, options, seed)
        history = fit_until(
            options.epochs,
            network.state_dict(),
            partial(fit.learn, train),
            lambda: Judged(fit.validate(validation)),
            label="training the generator",
            progress=progress,
            patience=options.patience,
            resume=(checkpoint, fit.optimizer),
        )
    return network.eval(), history


class GeneratorFit:
    """One training run: the state that its steps share."""

    def __init__(
        self, network: GenerativeNetwork, tokens: ItemTokens, options: GeneratorOptions, seed: int
    ) -> None:
        self.network, self.tokens, self.options, self.seed = network, tokens, options, seed
        self.token_of_item = BeamSearch(network, tokens).token_of_item
        matrices = [p for p in network.parameters() if p.dim() > 1]
        others = [p for p in network.parameters() if p.dim() <= 1]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": options.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=options.learning_rate,
            betas=(0.9, 0.98),
            fused=True,
        )

    def learn(self, train: Events, epoch: int, say: Say) -> float:
        """Mean loss, in nats a token, of one pass over all targets.

        Randomness is that of seed and epoch alone: a resumed run goes the way it would have gone.
        """
        self.network.train()
        rng = np.random.default_rng([self.seed, epoch])
        torch.manual_seed(self.seed * 100_003 + epoch)
        history = self.network.config.history
        windows = covering_windows(train, history)
        batches = list(_batches(windows, self.options.batch_size, rng))

        def step(place: int, index: Tensor) -> tuple[float, int]:
            done = (epoch - 1 + place / len(batches)) / self.options.epochs
            self._set_rate(done, epoch, place)
            return self._learn(windows.rows(index), self._template(rng))

        return mean_loss(batches, step, say)

    def _learn(self, batch: Windows, template: int) -> tuple[float, int]:
        """One step of the optimizer: mean loss a token, and number of targets."""
        real = torch.arange(batch.item.shape[1]) < batch.length[:, None]
        history = self.token_of_item[torch.where(real, batch.item, NO_ITEM)]
        following = self.token_of_item[torch.where(batch.wanted, batch.next_item, NO_ITEM)]
        with torch.autocast("cpu", torch.bfloat16, enabled=self.options.precision == "bfloat16"):
            logits = self.network(history, following, template)
        loss = torch.nn.functional.cross_entropy(
            logits[batch.wanted].float().flatten(0, 1),
            following[batch.wanted].flatten(),
            label_smoothing=self.options.label_smoothing,
        )
        value = descend(
            self.optimizer,
            loss,
            clip=([*self.network.parameters()], CLIP_NORM),
            knob="generative.learning_rate",
        )
        return value, int(batch.wanted.sum())

    def _template(self, rng: np.random.Generator) -> int:
        """P5: one of the discrete prompts. POD: at times none, so that its vectors learn to do
        without; with words beside them the vectors meet what the words say."""
        least = NO_WORDS if self.network.config.model == "pod" else 0
        return int(rng.integers(least, len(TEMPLATES)))

    def _set_rate(self, done: float, epoch: int, step: int) -> None:
        """Cosine over all epochs, with a linear warm-up over the first epoch's first steps."""
        warm = min(1.0, (step + 1) / WARM_UP_STEPS) if epoch == 1 else 1.0
        rate = self.options.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * done))
        set_rate(self.optimizer, rate)

    def validate(self, validation: Validation) -> float:
        """NDCG@10 of the first ten written; 0 without held-out requests."""
        if len(validation.target) == 0:
            return 0.0
        items, _ = candidate_lists(
            self.network,
            self.tokens,
            validation.histories,
            10,
            exclude_seen=self.options.exclude_seen,
        )
        return float(ndcg(list_ranks(items, validation.target), 10).mean())


def list_ranks(items: NDArray[np.integer], target: NDArray[np.integer]) -> Ranks:
    """[R] rank of each target [R] in its list [R, n], whose places are its own."""
    hit = items == target[:, None]
    return as_ranks(np.where(hit.any(1), hit.argmax(1) + 1.0, np.inf))


def covering_windows(events: Events, width: int) -> Windows:
    """Every event that has one before it exactly once as a target, in as few windows as can be.

    A user's windows overlap by half: targets see ``width`` // 2 items at least, where there are.

    Raises:
        DataError: no user has two events.
    """
    stride = max(1, width // 2)
    start, size = events.user_start[:-1], np.diff(events.user_start)
    able = np.flatnonzero(size > 1)
    if len(able) == 0:
        raise DataError("no user has two training events: there is nothing to learn from")
    start, last = start[able], start[able] + size[able] - 1
    count = 1 + np.maximum(0, -(-(last - start - width) // stride))
    owner = np.repeat(np.arange(len(able)), count)
    number = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    end = last[owner] - number * stride
    oldest = number == count[owner] - 1
    return windows_before(events, end, width, np.where(oldest, start[owner], end - stride) + 1)


def _batches(windows: Windows, size: int, rng: np.random.Generator) -> Iterator[Tensor]:
    """All rows once, in random batches [<= size] of similar length."""
    order = torch.from_numpy(rng.permutation(len(windows)))
    cut: list[Tensor] = []
    for some in torch.split(order, size * BATCHES_PER_BUCKET):
        by_length = some[torch.argsort(windows.length[some], stable=True)]
        cut.extend(torch.split(by_length, size))
    return (cut[number] for number in rng.permutation(len(cut)))
