"""How much a calibrator could win at all: one fitted on the very steps it is scored on.

The bound behind "share of the bound reached". The calibrator's networks and inputs stay as they
are, but for every gap one of them is fitted to the fresh embedding (SCaLRec eqs. 15-20, no label,
no dropout) on the scored requests themselves, and its best epoch is picked there:

- ``fitted`` on all of them: what these networks can express, given answers no device has.
- ``fitted_others`` on the other half of the users: what they can learn about this gap and time
  from people alone, with answers that training data cannot hold.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cloud_service.embedding.base import Embedder
from device_runtime.cues import CUES
from shared.interactions import InteractionLog
from shared.metrics import HALF_LIFE
from shared.progress import Progress
from training.age_rules import apply_rule, rule_at
from training.background import in_thread
from training.calibration_fit import FittedCalibration, fit_calibration
from training.calibration_inputs import Inputs, make_inputs
from training.cell import Cell
from training.options import calibration_options
from training.pairs import Pairs, pairs_at_gap, top_candidates
from training.pipeline import opened_run
from training.scored_requests import ScoredRequests, encode_scored
from training.settings import Recipe
from training.study_scores import Scores, StepRanks, aggregate
from training.trained import TrainedModel

ROWS = 256


async def run_cell(
    settings: Recipe, log: InteractionLog, embedder: Embedder, *, progress: Progress
) -> Cell:
    """Train (or reuse stages), fit the bounds and score them beside the calibrated device.

    Raises:
        DataError, EmbedderError, ConfigError: as ``training.pipeline.train``.
    """
    async with opened_run(settings, log, embedder, progress) as run:
        trained = await run.all()
        scored = await encode_scored(run, trained)
        bounds = _Bounds(settings, trained, scored, run.split.n_events)
        ranks = await in_thread(bounds.ranks, progress)
        return Cell(aggregate(ranks))


class _Bounds:
    def __init__(
        self,
        settings: Recipe,
        trained: TrainedModel,
        scored: ScoredRequests,
        n_events: NDArray[np.int64],
    ) -> None:
        self.settings, self.trained, self.steps = settings, trained, scored.steps
        self.requests, self.e_sem, self.n_events = scored.requests, scored.e_sem, n_events
        self.options = calibration_options(settings, trained.repeat_policy).model_copy(
            update={"label_weight": 0.0, "age_rules": False, "dropout": 0.0}
        )
        self.weight = trained.projector.fusion_weight
        self.candidates = top_candidates(
            self.e_sem, self.requests.table.vectors, settings.cloud.candidates
        )

    def ranks(self, progress: Progress) -> StepRanks:
        """Expected ranks of every scorer under S1 and S2, at every gap."""
        own = pairs_at_gap(self.requests.anchors, self.steps, 0).fresh
        found = StepRanks(self.requests, own, self.n_events)
        for gap in self.settings.paper.gaps:
            pairs = pairs_at_gap(self.requests.anchors, self.steps, gap)
            for (setting, scorer), ranks in self._ranked(gap, pairs, progress).items():
                found.add(setting, gap, scorer, ranks)
        return found

    def _ranked(
        self, gap: int, pairs: Pairs, progress: Progress
    ) -> dict[tuple[str, str], NDArray[np.float64]]:
        embeddings = self._embeddings(gap, pairs, progress)
        found: dict[tuple[str, str], list[NDArray[np.float64]]] = {}
        with (
            torch.no_grad(),
            progress.task(f"scoring test steps, gap {gap}", len(pairs)) as task,
        ):
            for at in torch.split(torch.arange(len(pairs)), ROWS):
                rows = torch.from_numpy(pairs.fresh[at.numpy()])
                old = torch.from_numpy(pairs.stale[at.numpy()])
                scores = Scores(
                    self.requests,
                    rows,
                    popularity=torch.from_numpy(self.trained.popularity),
                    half_life=HALF_LIFE,
                    exclude_seen=self.trained.repeat_policy == "exclude",
                    second=self.requests.structural(rows),  # no ensemble is scored here
                )
                views = {"structure": scores.structural} | {
                    name: scores.fused(self.weight * e[at]) for name, e in embeddings.items()
                }
                for setting, source in (("S1", rows), ("S2", old)):
                    among = scores.listed(self.candidates[source])
                    for name, values in views.items():
                        found.setdefault((setting, name), []).append(scores.rank(values, among))
                task.advance(len(at))
        return {key: np.concatenate(chunks) for key, chunks in found.items()}

    @torch.no_grad()
    def _embeddings(self, gap: int, pairs: Pairs, progress: Progress) -> dict[str, Tensor]:
        """[P, d] by scorer; fresh snapshots need no repair, so gap 0 has no bound."""
        calibration = self.trained.calibration
        inputs = self._inputs(pairs, calibration)
        rule = rule_at(calibration.rules, gap)
        moved = inputs.cues[:, CUES.index("moved")].numpy() > 0
        found = {
            "fused": self.e_sem[torch.from_numpy(pairs.fresh)],
            "stale": inputs.stale,
            "calibrated": apply_rule(rule, calibration.correct(inputs)[0], inputs.stale, moved),
        }
        if gap:
            found["fitted"] = self._fitted(gap, pairs, pairs, progress)
            found["fitted_others"] = self._fitted_others(gap, pairs, progress)
        return found

    def _fitted_others(self, gap: int, pairs: Pairs, progress: Progress) -> Tensor:
        users = self.requests.anchors.user[pairs.fresh]
        lot = np.random.default_rng(self.settings.seed).permutation(int(users.max()) + 1)
        half = lot[users] % 2
        found = torch.empty(len(pairs), self.e_sem.shape[1])
        for side in (0, 1):
            mine, others = np.flatnonzero(half == side), np.flatnonzero(half != side)
            found[torch.from_numpy(mine)] = self._fitted(gap, pairs[others], pairs[mine], progress)
        return found

    def _fitted(self, gap: int, learned: Pairs, applied: Pairs, progress: Progress) -> Tensor:
        """Corrections of the ``applied`` pairs by a calibrator fitted on the ``learned`` ones."""
        with torch.enable_grad():
            fitted = fit_calibration(
                self.requests,
                self.e_sem,
                learned,
                {gap: learned},
                self.weight,
                self.options,
                seed=self.settings.seed,
                threads=self.settings.training.threads,
                progress=progress,
            )
        return fitted.correct(self._inputs(applied, fitted))[0]

    def _inputs(self, pairs: Pairs, fitted: FittedCalibration) -> Inputs:
        return make_inputs(
            self.requests,
            pairs,
            self.e_sem,
            self.candidates,
            fitted.calibrator.inputs,
            window=self.settings.profile.window,
            top_l=self.settings.training.top_l,
        )
