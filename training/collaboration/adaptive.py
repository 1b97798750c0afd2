"""Adaptive re-training of many devices, each by the code that a device runs (eq. 7)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from device_runtime.ranking.adaptation import adapted
from training.backbone.batches import windows_before
from training.collaboration.asked import Asked, Lists
from training.collaboration.srm import ROWS, EncoderSrm, equal_lengths

ADAPTIVE_STEPS = 5  # of gradient descent
ADAPTIVE_TRANSITIONS = 5  # latest own events that a device is fitted to


@dataclass(frozen=True, eq=False)
class States:
    """What an encoder says of requests and of the transitions before them; computed once.

    Attributes:
        e_str: [R, d] at the requests. transitions: [T, d] before each past event, of which
        request r's own are first[r] .. first[r + 1]; followed: [T] the item that came.
    """

    srm: EncoderSrm
    asked: Asked
    e_str: NDArray[np.float32]
    transitions: NDArray[np.float32]
    followed: NDArray[np.int64]
    first: NDArray[np.int64]


@torch.no_grad()
def states_of(srm: EncoderSrm, asked: Asked, transitions: int) -> States:
    """Encode every request and its user's last ``transitions`` events before it."""
    counts = np.minimum(asked.step - 1, transitions)  # a user's first event follows nothing
    first = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    back = np.arange(first[-1]) - np.repeat(first[:-1], counts) + 1
    past = np.repeat(asked.row, counts) - back
    return States(
        srm=srm,
        asked=asked,
        e_str=_encoded(srm, asked, asked.row),
        transitions=_encoded(srm, asked, past),
        followed=asked.events.item[past].astype(np.int64),
        first=first,
    )


def adaptive_scores(
    states: States, lists: Lists, plain: NDArray[np.floating], *, rate: float, steps: int
) -> NDArray[np.float32]:
    """[R, n] the SRM's scores of each list after the device re-trained itself.

    A device fits the residual to its own latest transitions over the cached candidates and the
    items it met. ``plain`` [R, n] are the scores before; what changes is <e_str, v_i>.
    """
    vectors = states.srm.table.vectors.detach().numpy()
    bias = states.srm.table.bias.detach().numpy()
    scores = np.array(plain, dtype=np.float32)
    for row, items in enumerate(lists.items):
        own = slice(states.first[row], states.first[row + 1])
        if own.start == own.stop:
            continue
        among, place = np.unique(np.concatenate([states.followed[own], items]), return_inverse=True)
        residual = adapted(
            states.transitions[own],
            vectors[among],
            bias[among],
            place[: own.stop - own.start],
            rate=rate,
            steps=steps,
        )
        e_str = states.e_str[row]
        scores[row] += vectors[items] @ (residual.moved(e_str) - e_str)
    return scores


def _encoded(srm: EncoderSrm, asked: Asked, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    srm.model.eval()
    windows = windows_before(asked.events, rows, srm.window, rows)
    states = torch.empty(len(rows), srm.model.config.dim)
    for index in equal_lengths(windows.length, ROWS):
        states[index] = srm.encode(windows.rows(index))[0]
    return states.numpy()
