"""Candidate lists of many users: beam search in batches of similar length."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from cloud_service.generation.beam import BeamSearch
from cloud_service.generation.network import GenerativeNetwork
from shared.errors import DataError
from shared.item_tokens import ItemTokens
from shared.progress import NullProgress, Progress

NO_ITEM = -1


def candidate_lists(
    model: GenerativeNetwork,
    tokens: ItemTokens,
    histories: Sequence[NDArray[np.integer]],
    n: int,
    *,
    exclude_seen: bool = False,
    batch: int = 256,
    progress: Progress | None = None,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The ``n`` items that the model holds likeliest to follow each history.

    Args:
        model: its dropout is switched off and stays so.
        histories: R arrays of item indices, oldest first; the model reads the last
            ``model.config.history`` of each.
        n: list length; the beams are as many (and as many more as items are left out).
        exclude_seen: items of a history (all of it) are not answered.
        batch: rows decoded together.

    Returns:
        items [R, n] int32, distinct in each row, and log-probabilities [R, n] float32 of their
        token sequences; best first.

    Raises:
        DataError: a history is empty, or the catalogue is too small for lists of ``n``.
    """
    if any(len(history) == 0 for history in histories):
        raise DataError("an empty history: a generative model needs one item at least")
    seen = [np.unique(history) for history in histories] if exclude_seen else []
    longest = max(map(len, seen), default=0)
    if n + longest > len(tokens):
        raise DataError(f"{len(tokens)} items are too few for lists of {n} beside {longest} seen")
    model.eval()
    search = BeamSearch(model, tokens)
    known = [history[-model.config.history :] for history in histories]
    items = np.empty((len(known), n), dtype=np.int32)
    scores = np.empty((len(known), n), dtype=np.float32)
    weight = [len(seen[row]) if exclude_seen else len(known[row]) for row in range(len(known))]
    order = np.argsort(weight, kind="stable")
    with (progress or NullProgress()).task("writing candidate lists", len(known)) as task:
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            history = torch.from_numpy(padded([known[row] for row in rows]))
            banned = torch.from_numpy(padded([seen[row] for row in rows])) if exclude_seen else None
            found, score = search.search(history, n, banned)
            items[rows], scores[rows] = found.numpy(), score.numpy()
            task.advance(len(rows))
    return items, scores


def padded(histories: Sequence[NDArray[np.integer]]) -> NDArray[np.int64]:
    """Histories as one matrix [R, L], padded with NO_ITEM after the newest."""
    matrix = np.full((len(histories), max(map(len, histories))), NO_ITEM, dtype=np.int64)
    for row, history in zip(matrix, histories, strict=True):
        row[: len(history)] = history
    return matrix
