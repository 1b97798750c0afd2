"""Federation: rounds of local training, averaged on each edge; now and then edges meet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from training.backbone.batches import Events, Windows, training_windows
from training.baselines.frozen_answers import numbered, rows_and_items
from training.baselines.prefer.clients import (
    BIAS,
    PERSONAL,
    VECTORS,
    Clients,
    Weights,
    federated_average,
)
from training.baselines.prefer.edges import Edges
from training.learning import Say

TOGETHER = 24  # clients that are simulated at once


@dataclass(frozen=True, kw_only=True)
class Rounds:
    """How the federation learns.

    Attributes:
        number: rounds in all. share: of an edge's users that learn in a round.
        first_rate, last_rate: of gradient descent, falling geometrically over the rounds.
        negatives: sampled for each step. meeting: edges average every so many rounds.
        meeting_weight: of the mean of all edges in that.
    """

    number: int = 60
    share: float = 0.2
    first_rate: float = 0.1
    last_rate: float = 0.01
    negatives: int = 256
    meeting: int = 10
    meeting_weight: float = 0.5

    def rate(self, done: int) -> float:
        """Of the round after ``done`` ones."""
        part = done / max(1, self.number - 1)
        return float(self.first_rate * (self.last_rate / self.first_rate) ** part)


class Federation:
    """Weights of all edges, a personal vector for each user, and how they learn.

    Args:
        start: weights that all edges start from.
        learned: events of training.
        edges: [U] of each user.
        window: events that a device reads.
    """

    def __init__(
        self,
        clients: Clients,
        start: Weights,
        learned: Events,
        edges: Edges,
        rounds: Rounds,
        *,
        window: int,
        seed: int,
    ) -> None:
        self.clients, self.learned, self.edges = clients, learned, edges
        self.rounds, self.window = rounds, window
        count = int(edges.max()) + 1
        self.weights = {
            name: value.detach()[None].repeat(count, *[1] * value.dim())
            for name, value in start.items()
        }
        self.personal = torch.zeros(len(edges), start[VECTORS].shape[1])
        self.rng = np.random.default_rng(seed)
        self.done = 0

    def learn(self, rounds: int, say: Say) -> float:
        """So many rounds more; the mean loss of all targets that were learned from."""
        total, targets = 0.0, 0
        for _ in range(rounds):
            loss, count = self._round()
            total, targets = total + loss, targets + count
            say(f"round {self.done}/{self.rounds.number}")
        return total / max(1, targets)

    def _round(self) -> tuple[float, int]:
        windows, of_user = self._windows()
        total, targets = 0.0, 0
        for edge in range(len(self.weights[BIAS])):
            able = [u for u in np.flatnonzero(self.edges == edge).tolist() if u in of_user]
            if not able:
                continue
            size = max(1, round(self.rounds.share * len(able)))
            chosen = self.rng.choice(able, size, replace=False).tolist()
            loss, count = self._edge_round(edge, chosen, windows, of_user)
            total, targets = total + loss, targets + count
        self.done += 1
        if self.done % self.rounds.meeting == 0:
            self._meet()
        return total, targets

    def _windows(self) -> tuple[Windows, dict[int, list[int]]]:
        """Windows of all users' training events, and the rows of each user, oldest first."""
        stride = max(1, self.window // 2)
        numbers = training_windows(numbered(self.learned), self.window, stride, self.rng)
        first = numbers.item[:, 0].numpy()
        owners = np.searchsorted(self.learned.user_start, first, side="right") - 1
        of_user: dict[int, list[int]] = {}
        for row, owner in enumerate(owners.tolist()):
            of_user.setdefault(owner, []).insert(0, row)  # a user's newest window comes first
        return rows_and_items(self.learned, numbers)[0], of_user

    def _edge_round(
        self, edge: int, users: list[int], windows: Windows, of_user: dict[int, list[int]]
    ) -> tuple[float, int]:
        # Users with about as many windows go together: who is done waits for the others.
        users = sorted(users, key=lambda user: (len(of_user[user]), user))
        start = {name: value[edge] for name, value in self.weights.items()}
        total = {name: torch.zeros_like(value) for name, value in start.items()}
        rate = self.rounds.rate(self.done)
        summed, targets = 0.0, 0
        for first in range(0, len(users), TOGETHER):
            some = users[first : first + TOGETHER]
            rows = torch.full((len(some), max(len(of_user[user]) for user in some)), -1)
            for place, user in enumerate(some):
                rows[place, : len(of_user[user])] = torch.tensor(of_user[user])
            own = {name: value.expand(len(some), *value.shape) for name, value in start.items()}
            own[PERSONAL] = self.personal[some]
            learned, loss = self.clients.learn(own, windows, rows, rate, self._draw)
            self.personal[some] = learned.pop(PERSONAL)
            counted = torch.where(rows >= 0, windows.wanted.sum(1)[rows.clamp(min=0)], 0).sum(1)
            events = int(counted.sum())
            for name, value in federated_average(learned, counted).items():
                total[name] += events * value
            summed, targets = summed + loss, targets + events
        for name, value in total.items():
            self.weights[name][edge] = value / targets
        return summed, targets

    def _draw(self) -> Tensor:
        items = self.weights[BIAS].shape[1]
        return torch.from_numpy(self.rng.integers(0, items, self.rounds.negatives))

    def _meet(self) -> None:
        for value in self.weights.values():
            value.copy_(meet(value, self.rounds.meeting_weight))


def meet(weights: Tensor, share: float) -> Tensor:
    """(1 - share) w_e + share mean_e w_e of the weights [E, ...] of edges."""
    return (1 - share) * weights + share * weights.mean(0, keepdim=True)
