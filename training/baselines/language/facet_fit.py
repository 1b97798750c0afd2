"""Train a FacetNetwork: every training step once for each facet."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from shared.progress import Progress
from training.backbone.batches import Events
from training.baselines.language.facets import FacetNetwork, FacetWriter
from training.collaboration.srm import equal_lengths
from training.generative.candidates import NO_ITEM
from training.generative.fit import CLIP_NORM, WARM_UP_STEPS, covering_windows
from training.learning import (
    Epoch,
    Judged,
    Say,
    descend,
    fit_until,
    mean_loss,
    reproducible,
    set_rate,
)

BATCH = 64  # windows
LEARNING_RATE = 3e-3
WEIGHT_DECAY = 0.01
PATIENCE = 5
LABEL_SMOOTHING = 0.1


def fit_facets(
    network: FacetNetwork,
    writers: Sequence[FacetWriter],
    train: Events,
    judge: Callable[[], float],
    *,
    epochs: int,
    seed: int,
    threads: int,
    progress: Progress | None = None,
) -> tuple[Epoch, ...]:
    """Leave the best epoch's weights in ``network``, in eval mode.

    The loss is the mean cross-entropy of an identifier's tokens, each given the history up to its
    item and the tokens before it, with label smoothing; a facet's share of the steps is even.

    Args:
        train: events that may be targets; nothing else is learned from.
        judge: NDCG@10 of the weights as they are, on validation.

    Raises:
        DataError: there is nothing to learn from, or training diverged.
    """
    windows = covering_windows(train, network.config.history)
    parameters = [*network.parameters()]
    matrices = [p for p in parameters if p.dim() > 1]
    others = [p for p in parameters if p.dim() <= 1]
    optimizer = torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": WEIGHT_DECAY},
            {"params": others, "weight_decay": 0.0},
        ],
        lr=LEARNING_RATE,
        betas=(0.9, 0.98),
    )

    def learn(epoch: int, say: Say) -> float:
        network.train()
        rng = np.random.default_rng([seed, epoch])
        batches = [
            (writer, index)
            for index in equal_lengths(windows.length, BATCH, rng)
            for writer in writers
        ]
        order = rng.permutation(len(batches))

        def step(place: int, batch: int) -> tuple[float, int]:
            done = (epoch - 1 + place / len(batches)) / epochs
            warm = min(1.0, (place + 1) / WARM_UP_STEPS) if epoch == 1 else 1.0
            set_rate(optimizer, LEARNING_RATE * warm * 0.5 * (1 + math.cos(math.pi * done)))
            writer, index = batches[batch]
            rows = windows.rows(index)
            real = torch.arange(rows.item.shape[1]) < rows.length[:, None]
            loss = facet_loss(
                network,
                writer,
                torch.where(real, rows.item, NO_ITEM),
                torch.where(rows.wanted, rows.next_item, NO_ITEM),
            )
            return descend(optimizer, loss, clip=(parameters, CLIP_NORM)), int(rows.wanted.sum())

        return mean_loss(order.tolist(), step, say)

    def judged() -> Judged:
        network.eval()
        return Judged(judge())

    with reproducible(seed, threads):
        history = fit_until(
            epochs,
            network.state_dict(),
            learn,
            judged,
            label="training TransRec's generator",
            progress=progress,
            patience=PATIENCE,
        )
    network.eval()
    return history


def facet_loss(
    network: FacetNetwork, writer: FacetWriter, item: Tensor, following: Tensor
) -> Tensor:
    """Mean cross-entropy, in nats a token, of writing one facet's identifiers.

    Args:
        item: [B, L] items, oldest first, NO_ITEM after the newest.
        following: [B, L] the item after each, NO_ITEM where it is not to be learned.
    """
    read, written = writer.token_of_item[item], writer.token_of_item[following]
    wanted = following != NO_ITEM
    logits = network(read, written, writer.number)
    return torch.nn.functional.cross_entropy(
        logits[wanted].flatten(0, 1), written[wanted].flatten(), label_smoothing=LABEL_SMOOTHING
    )
