"""f_sem: from a text embedding of an abstract to the user's semantic embedding (SCaLRec eq. 3)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from shared.errors import DataError
from shared.progress import Progress
from shared.strict import Strict
from training.backbone.objective import linear_logsumexp
from training.learning import (
    Judged,
    Say,
    Weights,
    best_of,
    descend,
    fit_until,
    mean_loss,
    reproducible,
    set_rate,
)
from training.semantic.held_out import HeldOut
from training.semantic.requests import Requests, seen_lines
from training.semantic.text_map import TextMap

HIDDEN = 256
# Of the semantic channel beside structure; epochs are judged at the best of them.
JUDGED_WEIGHTS = (0.0625, 0.125, 0.25, 0.5, 1.0, 2.0)


class Projector(nn.Module):
    """text [B, m] -> e_sem [B, d]: a linear skip beside an MLP, over standardised inputs.

    Abstracts share most of their wording, so raw embeddings differ little from their mean; the
    normaliser (fitted on training abstracts, part of the graph) makes the difference visible.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, text_dim: int, dim: int, hidden: int = HIDDEN, dropout: float = 0.2) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(text_dim))
        self.register_buffer("scale", torch.ones(text_dim))
        self.skip = nn.Linear(text_dim, dim)
        self.mlp = nn.Sequential(
            nn.Linear(text_dim, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, dim),
        )
        self.dropout = nn.Dropout(dropout)

    def fit_normaliser(self, text: Tensor) -> None:
        """Take mean and spread of ``text`` [n, m]; one spread for all, to keep directions."""
        self.mean.copy_(text.mean(0))
        spread = (text - self.mean).square().mean().sqrt().clamp(min=1e-6)
        self.scale.fill_(float(1.0 / spread))

    def forward(self, text: Tensor) -> Tensor:
        x = self.dropout((text - self.mean) * self.scale)
        out: Tensor = self.skip(x) + self.mlp(x)
        return out


class ProjectorOptions(Strict):
    """How to fit f_sem."""

    epochs: int = Field(ge=1)
    patience: int = Field(default=5, ge=1, description="epochs without a better validation score")
    batch_size: int = Field(default=256, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=1e-2, ge=0)
    dropout: float = Field(ge=0, lt=1)
    horizon: int = Field(ge=1, description="a training target is one of the next so many events")
    own_vectors: bool = Field(
        default=False, description="items get vectors of their own for this channel"
    )
    exclude_seen: bool


@dataclass(frozen=True, eq=False)
class FittedProjector:
    """The best validation epoch, in eval mode, and what it scored (NDCG@10, full ranking).

    Attributes:
        vectors: [I, d] v'_i, the items' vectors of the semantic channel; None: those of structure.
        text_map: what items' texts say of their vectors, where those of rare items lean on it.
    """

    projector: Projector
    vectors: Tensor | None
    validation_structure: float
    validation_semantic: float
    validation_fused: float
    best_epoch: int
    text_map: TextMap | None = None


def fit_projector(
    requests: Requests,
    text: NDArray[np.float32],
    training: NDArray[np.int64],
    validation: NDArray[np.int64],
    options: ProjectorOptions,
    *,
    stop: NDArray[np.int64] | None = None,
    seed: int = 0,
    threads: int = 2,
    progress: Progress | None = None,
) -> FittedProjector:
    """Fit f_sem with the structural channel frozen.

    The loss of a training row is the cross-entropy of its target under <e_sem, v'_i> alone, which
    is what retrieval ranks by (eq. 7). Structure has met the training targets before and would
    leave semantics too little to explain, so the fused score takes no part; but both uses count on
    validation: the epoch with the best sum of semantic-only NDCG@10 and fused NDCG@10, at the best
    of JUDGED_WEIGHTS, is kept.

    The paper has one vector an item for both channels (eq. 4). Structure's are trained beside
    mechanisms that name an item without its vector, and may be far from what a text can point at:
    with ``own_vectors`` the items get v'_i, which start from v_i and are trained with f_sem.

    Args:
        text: [A, m] embedding of every row's abstract.
        training, validation: rows of ``requests``.
        stop: [U] first event of each user that may not be a target of training; needed for a
            horizon beyond 1. A cached snapshot serves requests to come, not only its own: with a
            longer horizon its candidates stay useful for longer.

    Raises:
        DataError: nothing to train on, or the loss is not finite.
    """
    rows = torch.from_numpy(training)
    if options.exclude_seen:
        rows = rows[torch.from_numpy(requests.fresh_targets(training))]
    if len(rows) == 0:
        raise DataError("no user has enough events for a training abstract")
    text_AM = torch.from_numpy(text)
    with reproducible(seed, threads):
        d = requests.e_str.shape[1]
        projector = Projector(text.shape[1], d, dropout=options.dropout)
        projector.fit_normaliser(text_AM[rows])
        held = HeldOut(requests, validation, exclude_seen=options.exclude_seen)
        fit = _ProjectorFit(requests, text_AM, projector, options, stop, seed)

        def judge() -> Judged:
            judged = fit.judge(held)
            return Judged(judged.semantic + judged.fused if len(validation) else -fit.mean_loss)

        history = fit_until(
            options.epochs,
            fit.weights(),
            partial(fit.learn, rows),
            judge,
            label="fitting the projector",
            scored="NDCG@10 semantic + fused",
            progress=progress,
            patience=options.patience,
        )
        projector.eval()
        judged = fit.judge(held)
        return FittedProjector(
            projector=projector,
            vectors=fit.vectors.detach() if options.own_vectors else None,
            validation_structure=judged.structure,
            validation_semantic=judged.semantic,
            validation_fused=judged.fused,
            best_epoch=best_of(history).epoch,
        )


@dataclass(frozen=True)
class _Judged:
    structure: float
    fused: float  # NDCG@10 at the best weight
    semantic: float  # NDCG@10 of semantics alone


class _ProjectorFit:
    def __init__(
        self,
        requests: Requests,
        text: Tensor,
        projector: Projector,
        options: ProjectorOptions,
        stop: NDArray[np.int64] | None,
        seed: int,
    ) -> None:
        self.requests, self.text, self.stop = requests, text, stop
        self.rng = np.random.default_rng(seed)
        self.projector, self.options = projector, options
        self.vectors = requests.semantics.clone().requires_grad_(options.own_vectors)
        groups: list[dict[str, object]] = [{"params": list(projector.parameters())}]
        if options.own_vectors:
            # Decay would draw them to zero, not to where they started.
            groups.append({"params": [self.vectors], "weight_decay": 0.0})
        self.optimizer = torch.optim.AdamW(
            groups, lr=options.learning_rate, weight_decay=options.weight_decay
        )
        self.mean_loss = math.nan  # of the last pass

    def weights(self) -> Weights:
        """Live, by name."""
        return {**self.projector.state_dict(), "vectors": self.vectors.detach()}

    def learn(self, rows: Tensor, number: int, say: Say) -> float:
        self.projector.train()
        rate = 0.5 * (1 + math.cos(math.pi * (number - 1) / self.options.epochs))
        set_rate(self.optimizer, self.options.learning_rate * rate)
        batches = torch.split(rows[torch.randperm(len(rows))], self.options.batch_size)
        self.mean_loss = mean_loss(
            batches, lambda _, i: (descend(self.optimizer, self.loss(i)), len(i)), say
        )
        return self.mean_loss

    def loss(self, index: Tensor) -> Tensor:
        e_sem = self.projector(self.text[index])
        target = self._target(index.numpy())
        barred = None
        if self.options.exclude_seen:
            requests = self.requests
            barred = seen_lines(requests.events, requests.anchors, index.numpy())
        log_z = linear_logsumexp(e_sem, self.vectors, torch.zeros(len(self.vectors)), barred)
        reached = nn.functional.embedding(target, self.vectors)
        loss: Tensor = (log_z - (e_sem * reached).sum(-1)).mean()
        return loss

    def _target(self, rows: NDArray[np.int64]) -> Tensor:
        """[B] the item of an event drawn from the next ``horizon``."""
        requests, horizon = self.requests, self.options.horizon
        if horizon == 1 or self.stop is None:
            return requests.target[torch.from_numpy(rows)]
        user, tau = requests.anchors.user[rows], requests.anchors.tau[rows]
        room = np.clip(self.stop[user] - tau, 1, horizon)
        event = requests.events.user_start[user] + tau + self.rng.integers(0, room)
        return torch.from_numpy(requests.events.item[event].astype(np.int64))

    @torch.no_grad()
    def judge(self, held: HeldOut) -> _Judged:
        self.projector.eval()
        e_sem = self.projector(self.text[torch.from_numpy(held.rows)])
        held.vectors = self.vectors.detach()
        return _Judged(
            structure=held.mean(e_sem, 0.0),
            fused=max(held.mean(e_sem, weight) for weight in JUDGED_WEIGHTS),
            semantic=held.mean(e_sem, 1.0, own=False),
        )
