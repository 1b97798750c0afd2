"""Transitions: what a device asked with and what it met next, the latest few (LSC4Rec eq. 7)."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from device_runtime.ranking.adaptation import adapted
from device_runtime.state.item_vectors import ItemVectors, structural_part
from shared.bundle import CollaborationSpec

Floats = NDArray[np.float32]
Items = NDArray[np.int32]


class Transitions:
    """The device's real-time data for adaptive re-training.

    A transition is e_str at the last request before an event, and the event's item: nothing is
    encoded twice, and what is learned from is what was really ranked with. Events that no request
    came before teach nothing. Kept in memory alone: a restarted device gathers anew.

    Attributes:
        spec: how much is kept, how it is learned from, and alpha.
    """

    def __init__(self, spec: CollaborationSpec) -> None:
        self.spec = spec
        self._asked: Floats | None = None
        self._kept: deque[tuple[Floats, int]] = deque(maxlen=spec.adaptation_transitions)

    def asked(self, e_str: Floats | None) -> None:
        """A request was made with this state [d]; None without usable history."""
        self._asked = e_str

    def observe(self, item: int | None) -> None:
        """An event came; None if its item is unknown to the bundle."""
        if item is not None and self._asked is not None and self.spec.adaptation_rate:
            self._kept.append((self._asked, item))
        self._asked = None

    def shift(self, e_str: Floats, vectors: ItemVectors, listed: Items) -> Floats | None:
        """R e_str [d], to be added to e_str: what re-training says of this request.

        The residual R is fitted over the list and the items met, anew at each request.

        Args:
            e_str: [d] at this request.
            vectors: of items; a met item without one teaches nothing.
            listed: [n] the cloud's candidates whose vectors are known, in any order.

        Returns:
            None where there is nothing to learn from, as always without a rate.
        """
        if not self._kept:
            return None
        followed = np.array([item for _, item in self._kept], dtype=np.int32)
        usable = vectors.known(followed)
        if not usable.any():
            return None
        states = np.stack([state for state, _ in self._kept])[usable]
        among, place = np.unique(np.concatenate([followed[usable], listed]), return_inverse=True)
        rows, bias = vectors.of(among)
        # A rate too large for these states may diverge: then the model as trained ranks on.
        with np.errstate(over="ignore", invalid="ignore"):
            residual = adapted(
                states,
                structural_part(rows, len(e_str)),
                bias,
                place[: len(states)],
                rate=self.spec.adaptation_rate,
                steps=self.spec.adaptation_steps,
            )
            moved = residual.moved(e_str)
        return moved - e_str if np.isfinite(moved).all() else None
