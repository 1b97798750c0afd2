"""Cooperative training: the SRM learns to re-rank the cloud's own lists (LSC4Rec eqs. 5 and 6).

The list of a request whose target neither model was trained on is augmented with items that the
cloud confuses with its candidates (their tokens begin alike) and, if it is missing, with the
target; cross-entropy runs over these items alone. The cloud's model does not change.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from shared.item_tokens import ItemTokens
from shared.metrics import ndcg
from shared.progress import Progress
from shared.strict import Strict
from training.collaboration.asked import Asked, Lists
from training.collaboration.ranks import list_ranks
from training.collaboration.srm import Srm, equal_lengths, list_scores, windows_of
from training.learning import (
    Epoch,
    Judged,
    Say,
    descend,
    fit_until,
    mean_loss,
    reproducible,
    weights_of,
)

WEIGHT_DECAY = 0.01
CLIP_NORM = 1.0


class CooperativeOptions(Strict):
    """How the SRM is fine-tuned."""

    exclude_seen: bool
    epochs: int = 4
    learning_rate: float = 3e-4
    batch: int = Field(default=256, description="requests")
    similar: int = Field(default=14, description="items of similar tokens added to a list (eq. 5)")


@dataclass(frozen=True, eq=False)
class Cooperative:
    """The SRM after the best epoch, in eval mode: by NDCG@10 of it alone within late lists."""

    srm: Srm
    epochs: tuple[Epoch, ...] = field(default=())


def augmented(
    items: NDArray[np.integer],
    target: NDArray[np.integer],
    alike: Sequence[NDArray[np.integer]],
    similar: int,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """S_aug [R, n + similar + 1], the target first; distinct in each row, -1 where there is none.

    Args:
        items: [R, n] the cloud's lists. target: [R].
        alike: of every item in the catalogue, those that differ from it in their last code alone.
        similar: at most so many of them are added.
    """
    found = np.full((len(items), items.shape[1] + similar + 1), -1, dtype=np.int64)
    for place, row in enumerate(items):
        others = np.concatenate([alike[item] for item in row]) if similar else row
        new = np.setdiff1d(others, np.append(row, target[place]))
        new = rng.permutation(new)[:similar]
        listed = row[row != target[place]]
        full = np.concatenate([[target[place]], listed, new])
        found[place, : len(full)] = full
    return found


def cooperate(
    independent: Srm,
    calibration: Asked,
    lists: Lists,
    validation: Asked,
    validation_lists: Lists,
    tokens: ItemTokens,
    options: CooperativeOptions,
    *,
    seed: int,
    threads: int,
    progress: Progress | None = None,
) -> Cooperative:
    """Fine-tune a copy of ``independent``; that one stays as it is.

    Raises:
        DataError: training diverged.
    """
    srm = copy.deepcopy(independent)
    parameters = [*srm.model.parameters(), *srm.table.parameters()]
    optimizer = torch.optim.AdamW(
        parameters, lr=options.learning_rate, weight_decay=WEIGHT_DECAY, betas=(0.9, 0.98)
    )
    rng = np.random.default_rng(seed)
    windows = windows_of(srm, calibration)
    alike = tokens.similar(np.arange(len(tokens)))
    allowed = validation.allowed(validation_lists.items, exclude_seen=options.exclude_seen)

    def learn(_: int, say: Say) -> float:
        drawn = augmented(lists.items, calibration.target, alike, options.similar, rng)
        candidates = torch.from_numpy(drawn)
        srm.model.train()

        def step(_: int, index: Tensor) -> tuple[float, int]:
            among = candidates[index]
            scores = srm.of(windows.rows(index), among.clamp(min=0))
            scores = scores.masked_fill(among < 0, -math.inf)
            loss = (scores.logsumexp(1) - scores[:, 0]).mean()
            # Rows of rare lengths make small batches: each request counts alike.
            share = len(index) / options.batch
            descend(optimizer, loss * share, clip=(parameters, CLIP_NORM))
            return loss.item(), len(index)

        return mean_loss(list(equal_lengths(windows.length, options.batch, rng)), step, say)

    def judge() -> Judged:
        scores = list_scores(srm, validation, validation_lists.items)
        ranks = list_ranks(scores, validation_lists.items, validation.target, allowed)
        return Judged(float(ndcg(ranks, 10).mean()) if len(ranks) else math.nan)

    with reproducible(seed, threads):
        epochs = fit_until(
            options.epochs,
            weights_of(model=srm.model, table=srm.table),
            learn,
            judge,
            label="training the SRM on the cloud's lists",
            scored="NDCG@10 in lists",
            progress=progress,
        )
    srm.model.eval()
    return Cooperative(srm, epochs)
