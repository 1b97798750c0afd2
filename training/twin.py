"""Twin: what a device would rank and know, for many requests and snapshots at once.

The only answer to that question outside ``device_runtime.device.Device`` itself: studies, the
frontier and what is learned of refreshes ask here, and one test holds it to the shipped device,
rank by rank. What a device may rank is in ``training.pools``; here is what it knows of a snapshot
and fuses: the cues, the bounded correction and the rules by age.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shared.bundle import AgeRule
from shared.metrics import RANK, Ranks
from shared.profile import DeviceProfile
from shared.progress import Task
from training.calibration.age_rules import trusted
from training.calibration.fit import FittedCalibration
from training.calibration.inputs import Inputs, make_inputs
from training.calibration.pairs import Pairs, top_candidates
from training.fusion.fit import kept_by
from training.pools import Pools, Ranked, Setting, make_pools
from training.semantic.requests import Requests
from training.settings import Recipe

if TYPE_CHECKING:
    from training.trained import TrainedModel

Floats = NDArray[np.float64]
ROWS = 256  # requests whose scores of all items are in memory


@dataclass(frozen=True, eq=False)
class Twin:
    """Devices of one profile, and a snapshot of every anchor's moment.

    Attributes:
        requests: one per anchor.
        e_sem: [A, d] and candidates [A, N], best first, of each anchor's snapshot.
        calibration: both networks and the age rules.
        profile: of the devices.
        popularity: [I] training counts.
        fusion_weight: of eq. 4. top_l: L of eq. 10.
        exclude_seen: items that a user had may not be recommended again.
    """

    requests: Requests
    e_sem: Tensor
    candidates: Tensor
    calibration: FittedCalibration
    profile: DeviceProfile
    popularity: NDArray[np.floating]
    fusion_weight: float
    top_l: int
    exclude_seen: bool

    def pools(self, rows: NDArray[np.integer]) -> Pools:
        """What the devices at ``rows`` [B] of the requests can rank."""
        return make_pools(
            self.requests, rows, self.profile, self.popularity, exclude_seen=self.exclude_seen
        )

    def ranked(self, setting: Setting) -> Ranked:
        """What these devices rank; in the settings of the paper, what those rank."""
        return Ranked(
            setting=setting,
            profile=self.profile,
            candidates=self.candidates,
            popularity=self.popularity,
            exclude_seen=self.exclude_seen,
        )

    def inputs(
        self,
        pairs: Pairs,
        *,
        listed: NDArray[np.int64] | None = None,
        fitted: FittedCalibration | None = None,
    ) -> Inputs:
        """What estimator and calibrator read at each pair.

        Args:
            listed: [P] rows whose candidates are ranked, and thus compared by omega; those of the
                snapshots when None.
            fitted: what reads them; the twin's own calibration when None.
        """
        fitted = self.calibration if fitted is None else fitted
        return make_inputs(
            self.requests,
            pairs,
            self.e_sem,
            self.candidates,
            fitted.calibrator.inputs,
            window=self.profile.window,
            top_l=self.top_l,
            listed=listed,
        )

    def trusted(
        self, inputs: Inputs, rules: Sequence[AgeRule] | None = None
    ) -> tuple[Tensor, Tensor]:
        """[P, d] what is fused, corrected and under the rules by age; and r [P].

        Args:
            rules: the calibration's own when None.
        """
        corrected, r = self.calibration.correct(inputs)
        rules = self.calibration.rules if rules is None else rules
        return trusted(rules, inputs.ages, inputs.moved, corrected, inputs.stale), r

    @torch.no_grad()
    def ranks(self, pairs: Pairs, *embeddings: Tensor, task: Task | None = None) -> list[Ranks]:
        """[P] rank of the target in the answer of each pair, for each of the embeddings.

        Args:
            embeddings: [P, d] each, fused with the plain weight.
            task: advanced by each pair.
        """
        found = [np.empty(len(pairs), RANK) for _ in embeddings]
        for at, pools, items in self._asked(pairs, task):
            among = pools.holding(items)
            for ranks, e_sem in zip(found, embeddings, strict=True):
                ranks[at] = pools.ranks(pools.fused(self.fusion_weight * e_sem[at]), among)
        return found

    @torch.no_grad()
    def ranks_alone(self) -> Ranks:
        """[A] rank of every request's target on a device without any snapshot."""
        found = np.empty(len(self.requests), RANK)
        for start in range(0, len(found), ROWS):
            rows = np.arange(start, min(start + ROWS, len(found)))
            pools = self.pools(rows)
            found[rows] = pools.ranks(pools.structural, pools.alone())
        return found

    @torch.no_grad()
    def inconsistency(
        self, pairs: Pairs, *, top: int | None = None, task: Task | None = None
    ) -> Floats:
        """[P] as ``state.cues.inconsistency`` on a device, of the candidates that may be ranked."""
        found = np.empty(len(pairs))
        for at, pools, items in self._asked(pairs, task):
            scores, kept = pools.structural.gather(1, items), torch.ones_like(items)
            if pools.barred is not None:
                kept = (~pools.barred.gather(1, items)).long()
                scores = scores.masked_fill(kept == 0, -torch.inf)
            order = torch.argsort(scores, dim=1, descending=True, stable=True)
            place = torch.arange(items.shape[1]).expand_as(order)
            after = torch.empty_like(order).scatter_(1, order, place)
            before = kept.cumsum(1) - 1
            counts = kept if top is None else kept * (torch.minimum(before, after) < top)
            moved = ((before - after).abs() * counts).sum(1).double()
            found[at] = (moved / counts.sum(1)).numpy()  # nan if none is kept
        return found

    def _asked(
        self, pairs: Pairs, task: Task | None
    ) -> Iterator[tuple[NDArray[np.int64], Pools, Tensor]]:
        """Places of some pairs, their requests, and the candidates [B, N] of their snapshots."""
        for start in range(0, len(pairs), ROWS):
            at = np.arange(start, min(start + ROWS, len(pairs)))
            rows, place = np.unique(pairs.fresh[at], return_inverse=True)
            items = self.candidates[torch.from_numpy(pairs.stale[at])]
            yield at, self.pools(rows).take(place), items
            if task is not None:
                task.advance(len(at))


def make_twin(
    settings: Recipe,
    trained: TrainedModel,
    requests: Requests,
    e_sem: Tensor,
    words: Tensor | None,
) -> Twin:
    """The twin of the devices that a trained model is for.

    Args:
        requests: with structure alone.
        e_sem: [A, d] the snapshot of each anchor of ``requests``; the cloud retrieves by it.
        words: [A, d] of the text student at each of them; None without one.
    """
    own = trained.fusion.terms(words, kept_by(settings.profile))
    equipped = requests.equipped(trained.projector.vectors, own)
    return Twin(
        requests=equipped,
        e_sem=e_sem,
        candidates=top_candidates(e_sem, equipped.semantics, settings.cloud.candidates),
        calibration=trained.calibration,
        profile=settings.profile,
        popularity=trained.popularity,
        fusion_weight=trained.fusion.fusion_weight,
        top_l=settings.training.top_l,
        exclude_seen=trained.repeat_policy == "exclude",
    )
