"""Cooperative training: the SRM learns to re-rank the cloud's own lists (LSC4Rec eqs. 5 and 6).

A training request's list is augmented with items that the cloud confuses with its candidates
(their tokens begin alike) and, if it is missing, with the target; cross-entropy runs over these
items alone. The cloud's model does not change.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from shared.errors import DataError
from shared.item_tokens import ItemTokens
from shared.metrics import ndcg
from shared.progress import NullProgress, Progress
from training.determinism import reproducible
from training.lsc4rec.asked import Asked
from training.lsc4rec.cloud_lists import Lists
from training.lsc4rec.ranks import list_ranks
from training.lsc4rec.srm import Srm, equal_lengths, list_scores, windows_of

WEIGHT_DECAY = 0.01
CLIP_NORM = 1.0


class CooperativeOptions(BaseModel):
    """How the SRM is fine-tuned."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int
    exclude_seen: bool
    learning_rate: float = 3e-4
    batch: int = Field(default=256, description="requests")
    similar: int = Field(default=14, description="items of similar tokens added to a list (eq. 5)")


@dataclass(frozen=True)
class CooperativeEpoch:
    """Validation NDCG@10 is of the SRM alone within late lists."""

    train_loss: float
    validation_ndcg10: float
    seconds: float


@dataclass(frozen=True, eq=False)
class Cooperative:
    """The SRM after the best validation epoch, in eval mode."""

    srm: Srm
    epochs: tuple[CooperativeEpoch, ...] = field(default=())


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
    training: Asked,
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
    windows = windows_of(srm, training)
    alike = tokens.similar(np.arange(len(tokens)))
    allowed = validation.allowed(validation_lists.items, exclude_seen=options.exclude_seen)
    epochs: list[CooperativeEpoch] = []
    best, best_state = -math.inf, (srm.model.state_dict(), srm.table.state_dict())
    label = "training the SRM on the cloud's lists"
    with (
        reproducible(seed, threads),
        (progress or NullProgress()).task(label, options.epochs) as task,
    ):
        for _ in range(options.epochs):
            started, total = time.perf_counter(), 0.0
            drawn = augmented(lists.items, training.target, alike, options.similar, rng)
            candidates = torch.from_numpy(drawn)
            srm.model.train()
            for index in equal_lengths(windows.length, options.batch, rng):
                among = candidates[index]
                scores = srm.of(windows.rows(index), among.clamp(min=0))
                scores = scores.masked_fill(among < 0, -math.inf)
                loss = (scores.logsumexp(1) - scores[:, 0]).mean()
                if not math.isfinite(loss.item()):
                    raise DataError(f"cooperative training diverged (loss {loss.item()})")
                # Rows of rare lengths make small batches: each request counts alike.
                (loss * (len(index) / options.batch)).backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(parameters, CLIP_NORM)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                total += loss.item() * len(index)
            spent = time.perf_counter() - started
            scores_now = list_scores(srm, validation, validation_lists.items)
            ranks = list_ranks(scores_now, validation_lists.items, validation.target, allowed)
            score = float(ndcg(ranks, 10).mean()) if len(ranks) else math.nan
            if not score <= best:
                best = score
                best_state = copy.deepcopy((srm.model.state_dict(), srm.table.state_dict()))
            epochs.append(CooperativeEpoch(total / len(training), score, spent))
            task.advance(note=f"loss {total / len(training):.3f}, NDCG@10 in lists {score:.4f}")
    srm.model.load_state_dict(best_state[0])
    srm.table.load_state_dict(best_state[1])
    srm.model.eval()
    return Cooperative(srm, tuple(epochs))
