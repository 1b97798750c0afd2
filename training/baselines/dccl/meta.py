"""Meta-training: a basis in which a few steps on a user's past help with what comes after.

First order: a user's code is taken as it comes out of the device's own steps, and the loss of later
events moves the basis, not the way the code was found.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from shared.errors import DataError
from shared.split import Split
from training.backbone.objective import RepeatPolicy
from training.baselines.dccl.patch import Basis, Floats, adapted
from training.baselines.dccl.transitions import Rows, transitions_before
from training.baselines.frozen_answers import FrozenAnswers
from training.learning import Say, descend, mean_loss

USERS = 64  # of a step
SUPPORT_SHARE = 0.8  # of a user's transitions, where there is no calibration block


class PatchBasis(nn.Module):
    """The basis as it is learned; the same patch as ``Basis``.

    Args:
        dim: d. codes: K. rank: r.
    """

    def __init__(self, dim: int, codes: int, rank: int) -> None:
        super().__init__()
        scale = 1.0 / math.sqrt(dim)
        self.down = nn.Parameter(scale * torch.randn(codes, rank, dim))
        self.up = nn.Parameter(scale * torch.randn(codes, dim, rank))
        self.shift = nn.Parameter(torch.randn(rank))

    def forward(self, z: Tensor, states: Tensor) -> Tensor:
        """e' [N, d] of e [N, d] under a code [N, K] of each."""
        down = torch.einsum("nk,krd->nrd", z, self.down)
        up = torch.einsum("nk,kdr->ndr", z, self.up)
        active = torch.tanh(torch.einsum("nrd,nd->nr", down, states) + self.shift)
        return states + torch.einsum("ndr,nr->nd", up, active)

    def basis(self) -> Basis:
        """As a device holds it."""
        parts = (self.down, self.up, self.shift)
        down, up, shift = (part.detach().double().numpy() for part in parts)
        return Basis(down, up, shift)


@dataclass(frozen=True, kw_only=True)
class Descent:
    """How a device adapts.

    Attributes:
        rate: of gradient descent on z. steps: of it.
        transitions: latest ones that are fitted. candidates: that compete beside own items.
    """

    rate: float
    steps: int
    transitions: int
    candidates: int

    def codes(self, basis: Basis, base: FrozenAnswers, rows: Rows, policy: RepeatPolicy) -> Floats:
        """[M, K] codes of the devices at the events ``rows`` [M]."""
        seen = transitions_before(
            base, rows, policy, count=self.transitions, candidates=self.candidates
        )
        return adapted(basis, seen, rate=self.rate, steps=self.steps)


@dataclass(frozen=True, eq=False)
class MetaTasks:
    """Of T users: adapt before ``cut``, be judged from there on.

    Attributes:
        cut: [T] event rows. stop: [T] the events judged end before it.
    """

    cut: Rows
    stop: Rows


def tasks_of(base: FrozenAnswers, split: Split) -> MetaTasks:
    """One task of every user with transitions on both sides.

    What follows the cut is the calibration block: the model has learned all that comes before it
    by heart and would find nothing to adapt to there. Without a block it is the last fifth.

    Raises:
        DataError: no user has events enough.
    """
    first = base.events.user_start[:-1]
    begins, ends = split.calibration_start, split.validation_start
    fifth = np.floor(SUPPORT_SHARE * ends).astype(np.int64)
    cut = np.where(begins < ends, begins, fifth)
    able = (cut >= 2) & (cut < ends)
    if not able.any():
        raise DataError("no user has three training events: there is nothing to adapt to")
    return MetaTasks((first + cut)[able], (first + ends)[able])


class MetaTraining:
    """Passes over the users of ``tasks``."""

    def __init__(
        self,
        patch: PatchBasis,
        base: FrozenAnswers,
        tasks: MetaTasks,
        steps: Descent,
        policy: RepeatPolicy,
        *,
        learning_rate: float,
        seed: int,
    ) -> None:
        self.patch, self.base, self.tasks = patch, base, tasks
        self.steps, self.policy = steps, policy
        self.rng = np.random.default_rng(seed)
        self.optimizer = torch.optim.AdamW(patch.parameters(), lr=learning_rate, weight_decay=0.0)

    def learn_pass(self, _: int, say: Say) -> float:
        """Mean loss of what follows the cuts, each user's code adapted before."""
        order = self.rng.permutation(len(self.tasks.cut))
        batches = [order[start : start + USERS] for start in range(0, len(order), USERS)]
        return mean_loss(batches, self._step, say)

    def _step(self, _: int, users: Rows) -> tuple[float, int]:
        cut, count = self.tasks.cut[users], self.tasks.stop[users] - self.tasks.cut[users]
        z = self.steps.codes(self.patch.basis(), self.base, cut, self.policy)
        offset = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        rows = np.repeat(cut, count) + offset
        self.base.require(rows)
        at = torch.from_numpy(rows)
        target = torch.from_numpy(self.base.events.item[rows].astype(np.int64))
        offsets = self.base.offsets(at, self.policy)
        kept = ~offsets.gather(1, target[:, None])[:, 0].isneginf()
        if not kept.any():
            return 0.0, 0
        code = torch.from_numpy(np.repeat(z, count, axis=0)).float()
        moved = self.patch(code[kept], self.base.e_str[at][kept])
        scores = torch.addmm(offsets[kept], moved, self.base.table.vectors.detach().T)
        loss = nn.functional.cross_entropy(scores, target[kept])
        return descend(self.optimizer, loss), int(kept.sum())
