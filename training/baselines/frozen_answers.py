"""FrozenAnswers: what a frozen structure model says before events of a log, each encoded once.

Students and patches are fitted to its answers in many passes; the encoder itself is run in one.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.backbone.batches import Events, Windows, training_windows, windows_before
from training.backbone.evaluate import encode_requests
from training.backbone.fit import TrainedBackbone
from training.backbone.objective import RepeatPolicy

ROWS = 32  # windows that are encoded together


class FrozenAnswers:
    """Of n events; the first of every user has no history, and nothing is known there.

    Args:
        trained: the model; it must not learn any more.
        events: whose items are predicted.

    Attributes:
        e_str: [n, d] state before each event.
        copies: [n, W] copy logits of the events from ``first`` on, -inf after the last known.
        first: [n] oldest event that was read.
    """

    def __init__(self, trained: TrainedBackbone, events: Events) -> None:
        n, config = len(events.item), trained.model.config
        self.model, self.table, self.events = trained.model.eval(), trained.table, events
        self.e_str = torch.zeros(n, config.dim)
        self.copies = torch.full((n, config.window), -torch.inf)
        self.first = torch.zeros(n, dtype=torch.int64)
        self._item = torch.from_numpy(events.item.astype(np.int64))
        self._known = np.zeros(n, dtype=np.bool_)

    @torch.no_grad()
    def everywhere(self) -> FrozenAnswers:
        """Encode all events that have a history, window by window.

        A state has between half a window and a window of events before it, as in training.

        Raises:
            DataError: no user has two events.
        """
        width, rng = self.model.config.window, np.random.default_rng(0)
        numbers = training_windows(numbered(self.events), width, max(1, width // 2), rng)
        windows, following = rows_and_items(self.events, numbers)
        for index in torch.split(torch.arange(len(windows)), ROWS):
            batch = windows.rows(index)
            states, logits = self.model.encode(
                self.table(batch.item), batch.age_h, batch.hour, batch.request_hour
            )
            row, place = batch.wanted.nonzero(as_tuple=True)
            at = following[index][row, place]
            self.e_str[at] = states[row, place]
            self.copies[at, : logits.shape[2]] = logits[row, place]
            self.first[at] = numbers.item[index][row, 0]
            self._known[at.numpy()] = True
        return self

    def require(self, rows: NDArray[np.int64]) -> None:
        """Encode those of the events ``rows`` [N] that are not known, each in a whole window.

        Raises:
            DataError: one of them is its user's first.
        """
        new = np.unique(rows[~self._known[rows]])
        if not len(new):
            return
        windows = windows_before(self.events, new, self.model.config.window, new)
        at = torch.from_numpy(new)
        self.e_str[at], self.copies[at] = encode_requests(self.model, self.table, windows)
        self.first[at] = at - windows.length
        self._known[new] = True

    def history(self, rows: Tensor) -> Tensor:
        """[N, W] items beside ``copies``; what comes after the past repeats its oldest item."""
        oldest = self.first[rows][:, None]
        at = oldest + torch.arange(self.copies.shape[1])
        return self._item[torch.where(at < rows[:, None], at, oldest)]

    def offsets(self, rows: Tensor, policy: RepeatPolicy) -> Tensor:
        """[N, I] what is added to <e_str, v_i> before the events ``rows`` [N].

        Bias and returns; with ``exclude``, -inf of past items in the place of returns.
        """
        history = self.history(rows)
        bias = self.table.bias.detach().expand(len(rows), -1)
        if policy == "exclude":
            return bias.scatter(1, history, -torch.inf)
        copies = torch.zeros(bias.shape).scatter_add_(1, history, self.copies[rows].exp())
        return bias + torch.log1p(copies)

    def scores(self, rows: Tensor, policy: RepeatPolicy) -> Tensor:
        """[N, I] scores before the events ``rows`` [N]."""
        vectors = self.table.vectors.detach()
        return torch.addmm(self.offsets(rows, policy), self.e_str[rows], vectors.T)


def numbered(events: Events) -> Events:
    """The same events, each with its own row in the place of its item: windows then hold rows."""
    return replace(events, item=np.arange(len(events.item)))


def rows_and_items(events: Events, windows: Windows) -> tuple[Windows, Tensor]:
    """Windows of ``numbered`` events with items in them again, and the rows that follow [R, W]."""
    item = torch.from_numpy(events.item.astype(np.int64))
    named = replace(windows, item=item[windows.item], next_item=item[windows.next_item])
    return named, windows.next_item
