"""Scores: every scorer's view of a batch of requests over all items, and ranks among candidates."""

from __future__ import annotations

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from experiments.selection import STRATA
from shared.metrics import Ranks, hit_rate, ndcg
from training.calibration.age_rules import SCALES
from training.pools import Pools
from training.semantic.own_terms import OwnTerms, count_bonus
from training.semantic.requests import Requests

LOO_GAPS = (0, 5)  # gaps and settings at which each user's very last step is also told apart
# Settings in which parts are told apart: returns from discoveries, and targets by training count.
PARTED = ("S1", "device", "full")
STRATUM_TOPS = (0, 5, 20, 100)  # largest training count of each stratum of STRATA but the last


class Scores:
    """Dense scores [B, I] of a batch of B requests, by everything that a study compares.

    Args:
        pools: of the requests at ``rows`` [B] of ``requests``.
        popularity: [I] training counts.
        half_life: of the decayed counter, in events.
        plain: [B, I] structural scores, without the device's other terms. second: [B, I] those
            of another model.
    """

    def __init__(
        self,
        pools: Pools,
        requests: Requests,
        rows: NDArray[np.int64],
        *,
        popularity: Tensor,
        half_life: float,
        plain: Tensor,
        second: Tensor,
    ) -> None:
        index = torch.from_numpy(rows)
        self.pools, self.structural = pools, pools.structural
        self.counters = _counters(requests, index, popularity, half_life)
        own = requests.own or OwnTerms()
        bonus = torch.zeros_like(plain)
        if own.counts is not None:
            bonus = count_bonus(requests.counts(index, own), own.counts)
        ensemble = (plain.log_softmax(1) + second.log_softmax(1)) / 2
        self.alone = {
            "structure": plain,
            "counts": plain + bonus,
            "student": pools.structural,
            "ensemble": ensemble,
            "ensemble_counts": ensemble + bonus,
        }
        if own.text is not None:
            self.alone["words"] = own.text[index] @ requests.semantics.T

    def on_ensemble(self, scores: Tensor) -> Tensor:
        """What else ``scores`` [B, I] say, beside the ensemble in the place of structure."""
        return self.alone["ensemble"] + scores - self.alone["structure"]

    def semantic(self, e_sem: Tensor) -> Tensor:
        return e_sem @ self.pools.vectors.T

    def log_p(self, scores: Tensor) -> Tensor:
        """[B] log softmax of each target under ``scores`` [B, I], over what may be recommended.

        The target counts even where a repeat policy bars it, so that every request has a value.
        """
        target, barred = self.pools.target[:, None], self.pools.barred
        if barred is not None:
            scores = scores.masked_fill(barred.scatter(1, target, False), -torch.inf)
        return scores.log_softmax(1).gather(1, target)[:, 0]

    def best(self, weighted: Tensor, among: Tensor | None) -> Ranks:
        """Ranks of an oracle that knows how far to trust the semantic channel at each request."""
        semantic = weighted @ self.pools.vectors.T
        ranks = np.stack(
            [self.pools.ranks(self.structural + scale * semantic, among) for scale in SCALES]
        )
        best: Ranks = ranks[ranks["expected"].argmin(0), np.arange(ranks.shape[1])]
        return best

    def mixed(self, old: Tensor, fresh: Tensor, share: float) -> Tensor:
        """As many candidates as ``old`` [B, I] has: ``share`` of them its own, the rest new.

        New ones are the fresh candidates it lacks, then the items structure likes best.
        """
        size = int(old[0].sum())
        kept = round(share * size)
        order = self.structural.masked_fill(~old, -torch.inf)
        chosen = torch.zeros_like(old)
        if kept:
            chosen.scatter_(1, order.topk(kept, 1).indices, True)
        if size - kept:
            new = self.structural.masked_fill(old, -torch.inf)
            new = torch.where(fresh & ~old, new + 1e6, new)
            chosen.scatter_(1, new.topk(size - kept, 1).indices, True)
        return chosen


def _counters(
    requests: Requests, rows: Tensor, popularity: Tensor, half_life: float
) -> dict[str, Tensor]:
    """Popularity and personal counts: over the window, and (``_all``) over every event."""
    shape = (len(rows), len(popularity))
    window = requests.history[rows]
    length = torch.from_numpy(requests.length[rows.numpy()])[:, None]
    place = torch.arange(window.shape[1])[None]
    real = (place < length).float()
    age = (length - 1 - place).clamp(min=0).float()
    frequency = torch.zeros(shape).scatter_add_(1, window, real)
    decayed = torch.zeros(shape).scatter_add_(1, window, real * torch.exp2(-age / half_life))
    where, item = requests.seen(rows)
    count = torch.bincount(where, minlength=len(rows))
    last = count.cumsum(0) - 1
    age_all = (last[where] - torch.arange(len(where))).float()
    flat = where * shape[1] + item
    size = shape[0] * shape[1]
    frequency_all = torch.bincount(flat, minlength=size).float().view(shape)
    decayed_all = torch.bincount(
        flat, weights=torch.exp2(-age_all / half_life), minlength=size
    ).view(shape)
    return {
        "popularity": popularity.float().expand(shape),
        "frequency": frequency,
        "decayed": decayed,
        "frequency_all": frequency_all,
        "decayed_all": decayed_all,
    }


class StepRanks:
    """Ranks [R] of the scored requests, by setting, gap and scorer.

    Args:
        rows: [R] of ``requests``.
        test_stop: [U] of the split: the event before it is the leave-one-out target.
        popularity: [I] training events of each item.
    """

    def __init__(
        self,
        requests: Requests,
        rows: NDArray[np.int64],
        test_stop: NDArray[np.int64],
        popularity: NDArray[np.floating],
    ) -> None:
        self.user = requests.anchors.user[rows]
        self.last = requests.anchors.tau[rows] == test_stop[self.user] - 1
        self.discovery = requests.fresh_targets(rows)
        self.stratum = strata_of(popularity[requests.target[torch.from_numpy(rows)].numpy()])
        self.found: dict[tuple[str, int, str], Ranks] = {}

    def parts(self) -> dict[str, NDArray[np.bool_]]:
        """[R] which requests belong to each of PARTS."""
        parts = {
            "all": np.ones(len(self.user), dtype=np.bool_),
            "return": ~self.discovery,
            "discovery": self.discovery,
        }
        return parts | {name: self.stratum == place for place, name in enumerate(STRATA)}

    def add(self, setting: str, gap: int, scorer: str, ranks: Ranks) -> None:
        self.found[setting, gap, scorer] = ranks


def strata_of(counts: NDArray[np.floating]) -> NDArray[np.int64]:
    """[R] place in STRATA of targets with ``counts`` [R] training events each.

    Half-open, the upper end inside: 0, (0, 5], (5, 20], (20, 100] and above 100.
    """
    return np.searchsorted(STRATUM_TOPS, counts, side="left").astype(np.int64)


def aggregate(ranks: StepRanks) -> pl.DataFrame:
    """Sums of the metrics per user.

    Columns: user i4, scorer, setting, gap i4, part (see PARTS), loo (only the last
    step of each user), n i4 and the sums ndcg10, ndcg5, hr10, hr5 f8 over those n steps.
    """
    users, place = np.unique(ranks.user, return_inverse=True)
    parts = ranks.parts()
    frames = []
    for (setting, gap, scorer), found in ranks.found.items():
        metrics = {
            "ndcg10": ndcg(found, 10),
            "ndcg5": ndcg(found, 5),
            "hr10": hit_rate(found, 10),
            "hr5": hit_rate(found, 5),
        }
        for part, inside in parts.items():
            if part != "all" and setting not in PARTED:
                continue
            for loo in (False, True):
                if loo and (gap not in LOO_GAPS or part != "all"):
                    continue
                use = inside & ranks.last if loo else inside
                n = np.bincount(place[use], minlength=len(users))
                sums = {
                    name: np.bincount(place[use], values[use], minlength=len(users)).astype(float)
                    for name, values in metrics.items()
                }
                some = n > 0
                frames.append(
                    pl.DataFrame(
                        {
                            "user": users[some].astype(np.int32),
                            "n": n[some].astype(np.int32),
                            **{name: values[some] for name, values in sums.items()},
                        }
                    ).with_columns(
                        scorer=pl.lit(scorer),
                        setting=pl.lit(setting),
                        gap=pl.lit(gap, dtype=pl.Int32),
                        part=pl.lit(part),
                        loo=pl.lit(loo),
                    )
                )
    return pl.concat(frames)
