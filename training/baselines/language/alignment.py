"""Align an ID model with a frozen text model: contrast of a batch's targets and hard negatives."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shared.progress import Progress
from training.baselines.language.soft_prompts import PromptWords, SoftPrompted
from training.learning import Epoch, Judged, Say, descend, fit_until, mean_loss, set_rate

WARM_UP = 0.1  # of all steps
CLIP_NORM = 1.0
WEIGHT_DECAY = 0.01
NORMALISED = 256  # requests whose states the projector's normaliser is fitted on


@dataclass(frozen=True, eq=False, kw_only=True)
class PromptedRequests:
    """R training requests.

    Attributes:
        prompts: [R, P, d] vectors of the ID model.
        texts: [R] abstracts.
        target: [R] item that followed.
        confused: [R, A] items that the ID model ranks first, without the target.
    """

    prompts: Tensor
    texts: Sequence[str]
    target: Tensor
    confused: Tensor

    def __len__(self) -> int:
        return len(self.target)


@dataclass(frozen=True, kw_only=True)
class AlignmentOptions:
    """How to train.

    Attributes:
        negatives: of a request, drawn anew in every pass from those confused with its target.
    """

    batch: int
    epochs: int
    negatives: int
    temperature: float
    learning_rate: float


def align(
    model: SoftPrompted,
    words: PromptWords,
    vectors: Tensor,
    bias: Tensor,
    requests: PromptedRequests,
    options: AlignmentOptions,
    judge: Callable[[], float],
    *,
    seed: int,
    progress: Progress | None = None,
) -> tuple[Epoch, ...]:
    """Leave the best pass's maps and instructions in ``model``.

    Args:
        vectors: [I, d] of the items, which stay as they are, and their biases [I].
        judge: NDCG@10 of the weights as they are, on validation.

    Raises:
        DataError: training diverged.
    """
    trained = model.trained()
    parameters = [*trained.values()]
    optimizer = torch.optim.AdamW(parameters, lr=options.learning_rate, weight_decay=WEIGHT_DECAY)
    counts = np.bincount(requests.target.numpy(), minlength=len(vectors))
    log_q = log_inclusion(counts, options.batch)
    chosen_of = requests.confused.shape[1]
    negative_log_q = math.log(min(1.0, options.negatives / max(1, chosen_of)))
    steps = options.epochs * -(-len(requests) // options.batch)
    warm = max(1, round(WARM_UP * steps))

    def learn(epoch: int, say: Say) -> float:
        model.train()
        rng = np.random.default_rng([seed, epoch])
        order = rng.permutation(len(requests))
        batches = [order[at : at + options.batch] for at in range(0, len(order), options.batch)]

        def step(place: int, index: NDArray[np.int64]) -> tuple[float, int]:
            done = (epoch - 1) * len(batches) + place + 1
            cosine = 0.5 * (1 + math.cos(math.pi * max(0, done - warm) / max(1, steps - warm)))
            set_rate(optimizer, options.learning_rate * min(done / warm, cosine))
            drawn = rng.random((len(index), chosen_of)).argsort(1)[:, : options.negatives]
            at = torch.from_numpy(index)
            ids, mask = words.of([requests.texts[row] for row in index.tolist()])
            loss = contrastive(
                model(requests.prompts[at], ids, mask),
                vectors,
                bias,
                requests.target[at],
                requests.confused[at].gather(1, torch.from_numpy(drawn)),
                log_q,
                negative_log_q=negative_log_q,
                temperature=options.temperature,
            )
            return descend(optimizer, loss, clip=(parameters, CLIP_NORM)), len(index)

        return mean_loss(batches, step, say)

    def judged() -> Judged:
        model.eval()
        return Judged(judge())

    _fit_normaliser(model, words, requests)
    history = fit_until(
        options.epochs, trained, learn, judged, label="aligning RARec", progress=progress
    )
    model.eval()
    return history


@torch.no_grad()
def _fit_normaliser(model: SoftPrompted, words: PromptWords, requests: PromptedRequests) -> None:
    some = np.random.default_rng(0).permutation(len(requests))[:NORMALISED]
    ids, mask = words.of([requests.texts[row] for row in some.tolist()])
    states = model.pooled(requests.prompts[torch.from_numpy(some)], ids, mask)
    model.projector.fit_normaliser(states)


def log_inclusion(counts: NDArray[np.integer], batch: int) -> Tensor:
    """[I] log of the chance that an item is a target in a batch: 1 - (1 - share)^batch.

    Args:
        counts: [I] training requests of each item; one that has none counts as if it had one.
    """
    share = np.maximum(counts, 1) / max(1, int(counts.sum()))
    missing = batch * np.log1p(-np.minimum(share, 1 - 1e-9))
    return torch.from_numpy(np.log(-np.expm1(missing))).float()


def contrastive(
    e: Tensor,
    vectors: Tensor,
    bias: Tensor,
    target: Tensor,
    negatives: Tensor,
    log_q: Tensor,
    *,
    negative_log_q: float,
    temperature: float,
) -> Tensor:
    """Mean cross-entropy of each target among the batch's targets, each once, and own negatives.

    Args:
        e: [B, d]. vectors: [I, d], bias: [I]; a logit is <e, v_i> / temperature + bias_i.
        target: [B]. negatives: [B, n] without the target.
        log_q: [I] log of an item's chance to be among the batch's targets.
        negative_log_q: the same of an own negative.
    """
    shared, label = torch.unique(target, return_inverse=True)
    among = e @ vectors[shared].T / temperature + bias[shared] - log_q[shared]
    own = (vectors[negatives] @ e[:, :, None])[:, :, 0] / temperature + bias[negatives]
    own = own - negative_log_q
    return torch.nn.functional.cross_entropy(torch.cat([among, own], dim=1), label)
