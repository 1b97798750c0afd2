"""Real-time scores of the cloud's lists by each way of training, and what validation chooses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from device_runtime.ranking.list_fusion import fused
from shared.metrics import Ranks, ndcg
from training.collaboration.adaptive import (
    ADAPTIVE_STEPS,
    ADAPTIVE_TRANSITIONS,
    States,
    adaptive_scores,
    states_of,
)
from training.collaboration.asked import Asked, Lists
from training.collaboration.ranks import list_ranks
from training.collaboration.srm import EncoderSrm, Srm, list_scores
from training.settings import Lsc4recSettings

ALPHAS = tuple(round(0.05 * place, 2) for place in range(21))
INDEPENDENT = "independent"
# Names of the ways of training: without and with adaptive re-training.
ADAPTIVE = {INDEPENDENT: "adaptive", "cooperative": "both"}

Floats = NDArray[np.floating]
Place = tuple[int, int]  # list length, gap


@dataclass(eq=False)
class Reranker:
    """The SRMs on one set of requests.

    Attributes:
        srms: trained independently and cooperatively, by name.
        allowed: [R, n] of the longest lists, by gap.
    """

    srms: Mapping[str, Srm]
    asked: Asked
    lists: Mapping[int, Lists]
    chosen: Lsc4recSettings
    exclude_seen: bool
    allowed: dict[int, NDArray[np.bool_]] = field(init=False)
    _plain: dict[tuple[str, int], NDArray[np.float32]] = field(default_factory=dict)
    _states: dict[str, States] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.allowed = {
            gap: self.asked.allowed(lists.items, exclude_seen=self.exclude_seen)
            for gap, lists in self.lists.items()
        }

    def plain(self, name: str, place: Place) -> NDArray[np.float32]:
        """Scores [R, n] by the SRM as it was trained."""
        n, gap = place
        if (name, gap) not in self._plain:
            found = list_scores(self.srms[name], self.asked, self.lists[gap].items)
            self._plain[name, gap] = found
        return self._plain[name, gap][:, :n]

    def adapted(self, name: str, place: Place, rate: float) -> NDArray[np.float32]:
        """Scores [R, n] after the device re-trained that SRM on its own events."""
        srm, (n, gap) = self.srms[name], place
        if not isinstance(srm, EncoderSrm):
            raise ValueError("only an encoder's e_str can be adapted on the device")
        if name not in self._states:
            self._states[name] = states_of(srm, self.asked, ADAPTIVE_TRANSITIONS)
        return adaptive_scores(
            self._states[name],
            self.lists[gap].first(n),
            self.plain(name, place),
            rate=rate,
            steps=ADAPTIVE_STEPS,
        )

    def ranks(self, scores: Floats, place: Place) -> Ranks:
        n, gap = place
        items = self.lists[gap].items[:, :n]
        return list_ranks(scores, items, self.asked.target, self.allowed[gap][:, :n])

    def ndcg10_each(self, scores: Floats, place: Place) -> NDArray[np.float64]:
        """[R] of every request."""
        return ndcg(self.ranks(scores, place), 10)

    def ndcg10(self, scores: Floats, place: Place) -> float:
        return float(self.ndcg10_each(scores, place).mean())

    def initial(self, place: Place) -> NDArray[np.float32]:
        """[R, n] the cloud's scores."""
        return self.lists[place[1]].scores[:, : place[0]]

    def best_alpha(
        self, rerank: Floats, place: Place, initial: Floats | None = None
    ) -> tuple[float, float]:
        """The share of the initial scores with the highest NDCG@10, and that figure.

        Args:
            initial: [R, n] other scores in the place of the cloud's.
        """
        other = self.initial(place) if initial is None else initial
        found = [self.ndcg10(fused(other, rerank, alpha), place) for alpha in ALPHAS]
        best = int(np.argmax(found))
        return ALPHAS[best], found[best]


@dataclass(frozen=True)
class Choice:
    """What validation requests decided.

    Attributes:
        rates: step size of adaptive re-training, by the SRM's training.
        alphas: share of the initial scores, by way of training and place.
        raw: alpha of the fusion without normalisation, by place.
        best: the way of training that fuses best with late lists of the longest kind.
        validation: NDCG@10 of each way there.
    """

    rates: Mapping[str, float]
    alphas: Mapping[tuple[str, Place], float]
    raw: Mapping[Place, float]
    best: str
    validation: Mapping[str, float]

    @property
    def base(self) -> str:
        """The SRM behind the best way, before any adaptation."""
        plain = {adaptive: name for name, adaptive in ADAPTIVE.items()}
        return plain.get(self.best, self.best)


def scores_of(reranker: Reranker, place: Place, rates: Mapping[str, float]) -> dict[str, Floats]:
    """Rerank scores [R, n] by way of training."""
    found: dict[str, Floats] = {name: reranker.plain(name, place) for name in reranker.srms}
    for name, rate in rates.items():
        found[ADAPTIVE[name]] = reranker.adapted(name, place, rate)
    return found


def unnormalised(initial: Floats, rerank: Floats, alpha: float) -> NDArray[np.float64]:
    """Eq. 10 without eq. 9: an ablation."""
    return alpha * initial.astype(np.float64) + (1.0 - alpha) * rerank.astype(np.float64)


def choose(validation: Reranker, places: tuple[Place, ...]) -> Choice:
    """Tune step sizes, alphas and the way of training; the first place decides the latter."""
    first = places[0]
    rates: dict[str, float] = {}
    for name, srm in validation.srms.items():
        if isinstance(srm, EncoderSrm):
            tried = {
                rate: validation.best_alpha(validation.adapted(name, first, rate), first)[1]
                for rate in validation.chosen.adaptive_rates
            }
            rates[name] = max(tried, key=lambda rate: tried[rate])
    alphas: dict[tuple[str, Place], float] = {}
    figures: dict[str, float] = {}
    raw: dict[Place, float] = {}
    for place in places:
        scores = scores_of(validation, place, rates)
        for name, rerank in scores.items():
            alphas[name, place], figure = validation.best_alpha(rerank, place)
            if place == first:
                figures[name] = figure
        best = max(figures, key=lambda name: figures[name])
        initial = validation.initial(place)
        tried = {
            alpha: validation.ndcg10(unnormalised(initial, scores[best], alpha), place)
            for alpha in ALPHAS
        }
        raw[place] = max(tried, key=lambda alpha: tried[alpha])
    return Choice(rates=rates, alphas=alphas, raw=raw, best=best, validation=figures)
