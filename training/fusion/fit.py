"""The weights of a device's score, chosen on steps that no model was trained on.

own(i) = s_str(i) + a log(1 + c n_i) + b <e_text, v'_i>, and with a snapshot + w <e_sem, v'_i>
(SCaLRec eq. 4, with what the device itself knows beside it).
"""

from __future__ import annotations

from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from shared.own_score import OwnCounts
from shared.profile import DeviceProfile
from shared.strict import Strict
from training.choosing import best_if_ahead
from training.pools import Ranked
from training.semantic.held_out import HeldOut, added
from training.semantic.own_terms import OwnTerms, count_bonus
from training.semantic.requests import Requests

COUNT_WEIGHTS = (0.25, 0.5, 0.75, 1.0)
COUNT_SCALES = (0.3, 1.0, 3.0, 10.0, 30.0)
HALF_LIVES = (20.0, 50.0)
# Of the text student and of fresh semantics; "off" is always among the choices.
WEIGHTS = (0.03125, 0.0625, 0.125, 0.1875, 0.25, 0.375, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)

MARGIN = 1.0  # standard errors that a weight must be ahead by, else it is off
COUNTS_MARGIN = 2.0  # the best of forty count terms is ahead of none by chance alone


class FittedFusion(Strict):
    """What was chosen, and the mean NDCG@10 on the very requests that it was chosen on.

    Attributes:
        counts: None: the own history adds nothing to structure.
        text_weight: b; 0: no student, or it adds nothing.
        fusion_weight: w; 0: fresh semantics add nothing to what the device knows.
        chosen_on: structure, counts, text, fresh: with all before it.
    """

    counts: OwnCounts | None = None
    text_weight: float = 0.0
    fusion_weight: float = 1.0
    chosen_on: dict[str, float] = Field(default_factory=dict)

    def terms(self, text: Tensor | None, kept: int | None) -> OwnTerms:
        """Those of requests at which the student says ``text`` [A, d]; see ``OwnTerms``."""
        return OwnTerms(self.counts, text if self.text_weight else None, self.text_weight, kept)


class FusionOptions(Strict):
    """What may be chosen.

    Attributes:
        own_counts: whether there may be a count term.
        kept: events that a device keeps; None: all.
    """

    own_counts: bool
    kept: int | None
    exclude_seen: bool


def kept_by(profile: DeviceProfile) -> int | None:
    """Events that a device keeps; None: all."""
    return profile.window if profile.retain == "window" else None


def fit_fusion(
    requests: Requests,
    e_sem: Tensor,
    text: Tensor | None,
    pairs: tuple[NDArray[np.int64], NDArray[np.int64]],
    ranked: Ranked,
    options: FusionOptions,
) -> FittedFusion:
    """Choose the count term, then the weight of text on top of it, then that of fresh semantics.

    The first two are for a device whatever its snapshot's age is: they are chosen among the
    candidates of an old one. Each is off unless it is ahead by a standard error.

    Args:
        requests: without own terms; their semantic vectors are those of ``e_sem``.
        e_sem: [A, d]. text: [A, d] of the text student; None without one.
        pairs: rows of the requests to choose on, none of them learned from, and of their old
            snapshots.
        ranked: what devices rank.
    """
    fresh, stale = pairs
    users = requests.anchors.user
    chosen_on: dict[str, float] = {}
    old = _held(requests, fresh, stale, ranked, options)
    whose = users[old.rows]
    structure = old.ndcg_of(old.own)
    chosen_on["structure"] = _mean(structure)
    counts = _choose_counts(requests, old, whose, options) if options.own_counts else None
    own = requests.equipped(requests.semantics, OwnTerms(counts, kept=options.kept))
    held = old if counts is None else _held(own, fresh, stale, ranked, options)
    chosen_on["counts"] = _mean(held.ndcg_of(held.own))
    text_weight = 0.0
    if text is not None:
        text_weight, chosen_on["text"] = _choose_weight(held, text, whose)
        said = FittedFusion(counts=counts, text_weight=text_weight)
        own = requests.equipped(requests.semantics, said.terms(text, options.kept))
    now = _held(own, fresh, fresh, ranked, options)
    fusion_weight, chosen_on["fresh"] = _choose_weight(now, e_sem, users[now.rows])
    return FittedFusion(
        counts=counts,
        text_weight=text_weight,
        fusion_weight=fusion_weight,
        chosen_on={name: value for name, value in chosen_on.items() if np.isfinite(value)},
    )


def _held(
    requests: Requests,
    fresh: NDArray[np.int64],
    stale: NDArray[np.int64],
    ranked: Ranked,
    options: FusionOptions,
) -> HeldOut:
    pool = ranked.pool(requests, fresh, stale)
    return HeldOut(requests, fresh, exclude_seen=options.exclude_seen, pool=pool)


def _choose_counts(
    requests: Requests, held: HeldOut, users: NDArray[np.int64], options: FusionOptions
) -> OwnCounts | None:
    choices: list[tuple[OwnCounts, NDArray[np.float64]]] = []
    for half_life in HALF_LIVES:
        unit = OwnTerms(OwnCounts(weight=1, scale=1, half_life=half_life), kept=options.kept)
        counts = held.gathered(lambda index, unit=unit: requests.counts(index, unit))  # type: ignore[misc]
        for scale, weight in product(COUNT_SCALES, COUNT_WEIGHTS):
            term = OwnCounts(weight=weight, scale=scale, half_life=half_life)
            scores = [s + count_bonus(n, term) for s, n in zip(held.own, counts, strict=True)]
            choices.append((term, held.ndcg_of(scores)))
    return best_if_ahead(choices, held.ndcg_of(held.own), users, margin=COUNTS_MARGIN)


def _choose_weight(
    held: HeldOut, embedding: Tensor, users: NDArray[np.int64]
) -> tuple[float, float]:
    """The weight of an embedding [A, d] on top of the own score, and what it scores."""
    more = held.semantic(embedding[torch.from_numpy(held.rows)])
    off = held.ndcg_of(held.own)
    found = {weight: held.ndcg_of(added(held.own, more, weight)) for weight in WEIGHTS}
    best = best_if_ahead(list(found.items()), off, users, margin=MARGIN)
    return (0.0, _mean(off)) if best is None else (best, _mean(found[best]))


def _mean(scores: NDArray[np.float64]) -> float:
    return float(scores.mean()) if len(scores) else float("nan")
