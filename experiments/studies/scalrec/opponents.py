"""Opponents: what a practitioner would try on a cached embedding before calibrating it.

A linear corrector, drift compensation and a mean of the last snapshots. Each is given what the
calibrated device has: the same own score (structure, counts, words), the same fusion weight, and
factors on that weight by age. The corrector is fitted on the calibration block; its penalty, the
distance that drift is followed, how many snapshots are averaged and the factors are chosen on
validation, under each setting by itself. A fresh snapshot is taken as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from device_runtime.state.cues import CUES
from shared.bundle import AgeRule
from training.baselines.remedies.averaged import averaged, fit_count
from training.baselines.remedies.drift_compensation import Compensation, drifts, fit_compensation
from training.baselines.remedies.ridge import LinearCorrector, fit_ridge
from training.calibration.age_rules import choose_discount, trusted
from training.calibration.inputs import Inputs, joined
from training.calibration.judge import Judge
from training.calibration.pairs import Pairs, recent_means
from training.twin import Twin

Floats = NDArray[np.float64]

SCORERS = ("ridge", "drift_compensation", "averaged")
# Events between the snapshots that are averaged; at 1 a store has had a call at every event.
SPACINGS = (1, 5)


@dataclass(frozen=True, eq=False)
class Held:
    """P snapshots that devices hold, and what they know beside them.

    Attributes:
        inputs: as a linear corrector reads them; of the cues only the age is filled in.
        drift: [P, d] mean of the items met since tau minus that of those before.
    """

    twin: Twin
    pairs: Pairs
    inputs: Inputs
    drift: Tensor

    def mean(self, count: int, every: int) -> Tensor:
        """[P, d] of ``averaged``."""
        anchors = self.twin.requests.anchors
        return averaged(anchors, self.pairs, self.twin.e_sem, count=count, every=every)


@torch.no_grad()
def held_by(twin: Twin, pairs: Pairs) -> Held:
    requests, window = twin.requests, twin.profile.window
    fresh, stale = torch.from_numpy(pairs.fresh), torch.from_numpy(pairs.stale)
    tau = requests.anchors.tau
    cues = torch.zeros(len(pairs), len(CUES))
    cues[:, CUES.index("delta")] = torch.from_numpy(tau[pairs.fresh] - tau[pairs.stale]).float()
    old = twin.e_sem[stale]
    recent = recent_means(requests, pairs, window)
    parts = (old, requests.e_str[fresh], requests.e_str[stale], recent)
    return Held(twin, pairs, Inputs(cues, old, parts), drifts(requests, pairs, window))


@dataclass(frozen=True, eq=False)
class Opponents:
    """As fitted for one setting.

    Attributes:
        count, every: how many snapshots are averaged, and how many events lie between them.
        discounts: by scorer, factors on the fusion weight by age.
    """

    corrector: LinearCorrector
    compensation: Compensation
    count: int
    every: int
    discounts: Mapping[str, tuple[AgeRule, ...]]

    def embeddings(self, held: Held) -> dict[str, Tensor]:
        """By scorer, [P, d] what is fused with the plain fusion weight."""
        inputs = held.inputs
        mended = self.mended(held)
        return {
            name: trusted(self.discounts[name], inputs.ages, inputs.moved, e_sem, inputs.stale)
            for name, e_sem in mended.items()
        }

    def mended(self, held: Held) -> dict[str, Tensor]:
        """By scorer, [P, d] what each takes e_sem(t) to be."""
        inputs = held.inputs
        return {
            "ridge": self.corrector.of(inputs),
            "drift_compensation": self.compensation.of(inputs.stale, held.drift, inputs.ages),
            "averaged": held.mean(self.count, self.every),
        }

    def chosen(self) -> dict[str, float]:
        """What was chosen, by name."""
        found = {"ridge_penalty": self.corrector.penalty}
        for start, beta in zip((1, *self.compensation.edges), self.compensation.betas, strict=True):
            found[f"drift_beta_from{start}"] = beta
        found |= {"averaged_count": float(self.count), "averaged_every": float(self.every)}
        for name, rules in self.discounts.items():
            stale = [rule for rule in rules if rule.from_delta > 0]
            found |= {f"{name}_weight_from{rule.from_delta}": rule.weight for rule in stale}
        return found


def fit_opponents(twin: Twin, learned: Sequence[tuple[Twin, Pairs]], judge: Judge) -> Opponents:
    """Fitted on ``learned``, and chosen by ``judge``.

    Args:
        twin: of the requests of ``judge``.
        learned: pairs whose targets no model of their twin was trained on.
        judge: of a setting.
    """
    stale = _StalePairs(judge)
    held = held_by(twin, stale.pairs)
    corrector = fit_ridge(
        joined([held_by(whose, pairs).inputs for whose, pairs in learned]),
        torch.cat([whose.e_sem[torch.from_numpy(pairs.fresh)] for whose, pairs in learned]),
        lambda tried: _mean(stale.scores(tried.of(held.inputs))),
    )
    compensation = fit_compensation(held.inputs.stale, held.drift, held.inputs.ages, stale.scores)
    counts = {
        every: fit_count(
            lambda count, every=every: held.mean(count, every),  # type: ignore[misc]
            lambda e_sem: _mean(stale.scores(e_sem)),
        )
        for every in SPACINGS
    }
    every = max(SPACINGS, key=lambda every: _mean(stale.scores(held.mean(counts[every], every))))
    plain = Opponents(
        corrector=corrector,
        compensation=compensation,
        count=counts[every],
        every=every,
        discounts={},
    )
    discounts = {
        name: _corrected(choose_discount(stale.with_embeddings(e_sem), judge.pairs))
        for name, e_sem in plain.mended(held).items()
    }
    return replace(plain, discounts=discounts)


def _corrected(rules: tuple[AgeRule, ...]) -> tuple[AgeRule, ...]:
    """The same factors, on what is mended instead of what is cached, but for a fresh snapshot."""
    return tuple(
        rule.model_copy(update={"correct": True, "moved_correct": True})
        if rule.from_delta > 0
        else rule
        for rule in rules
    )


class _StalePairs:
    """The pairs of a judge at all gaps above 0, one gap after the other."""

    def __init__(self, judge: Judge) -> None:
        self.judge = judge
        self.gaps = [gap for gap in judge.pairs if gap > 0]
        several = [judge.pairs[gap] for gap in self.gaps]
        self.pairs = Pairs(
            np.concatenate([pairs.fresh for pairs in several]),
            np.concatenate([pairs.stale for pairs in several]),
        )
        self._sizes = [len(pairs) for pairs in several]

    def by_gap(self, e_sem: Tensor) -> dict[int, Tensor]:
        return dict(zip(self.gaps, torch.split(e_sem, self._sizes), strict=True))

    def scores(self, e_sem: Tensor) -> Floats:
        """[P] NDCG@10 of own score + w <e_sem, v'_i> for e_sem [P, d]."""
        parts = self.by_gap(e_sem)
        return np.concatenate([self.judge.scores(gap, part, 1.0) for gap, part in parts.items()])

    def with_embeddings(self, e_sem: Tensor) -> _Mended:
        return _Mended(self.judge, self.by_gap(e_sem))


@dataclass(frozen=True, eq=False)
class _Mended:
    """A judge for whom ``embeddings`` [P, d] of each gap are what is cached."""

    judge: Judge
    embeddings: Mapping[int, Tensor]

    def stale_embedding(self, gap: int) -> Tensor:
        return self.embeddings[gap]

    def scores(self, gap: int, e_sem: Tensor, scale: float) -> Floats:
        return self.judge.scores(gap, e_sem, scale)

    def moved(self, gap: int) -> NDArray[np.bool_]:
        return self.judge.moved(gap)

    def users(self, gap: int) -> NDArray[np.int64]:
        return self.judge.users(gap)


def _mean(scores: Floats) -> float:
    return float(scores.mean()) if len(scores) else 0.0
