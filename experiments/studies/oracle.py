"""How much a calibrator could win at all: one fitted on the very steps it is scored on.

The bound behind "share of the bound reached". The calibrator's networks and inputs stay as they
are, but for every gap one of them is fitted to the fresh embedding (SCaLRec eqs. 15-20, no label,
no dropout) on the scored requests themselves, and its best epoch is picked there:

- ``fitted`` on all of them: what these networks can express, given answers no device has.
- ``fitted_others`` on the other half of the users: what they can learn about this gap and time
  from people alone, with answers that training data cannot hold.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cloud_service.embedding.base import Embedder
from experiments.studies.cell import CellScores
from experiments.studies.scalrec.rules_by_setting import Rules, rules_for, validation_of
from experiments.studies.scalrec.scores import StepRanks, aggregate
from experiments.studies.scored_requests import ScoredRequests, encode_scored
from shared.interactions import InteractionLog
from shared.metrics import Ranks
from shared.progress import Progress
from training.background import in_thread
from training.calibration.fit import fit_calibration
from training.calibration.lessons import Material
from training.calibration.pairs import Pairs, pairs_at_gap
from training.options import calibration_options
from training.run import TrainingRun, opened_run
from training.settings import Recipe
from training.trained import TrainedModel
from training.twin import make_twin

ROWS = 256


async def run_cell(
    settings: Recipe, log: InteractionLog, embedder: Embedder, *, progress: Progress
) -> CellScores:
    """Train (or reuse stages), fit the bounds and score them beside the calibrated device.

    Raises:
        DataError, EmbedderError, ConfigError: as ``training.train.train``.
    """
    async with opened_run(settings, log, embedder, progress) as run:
        trained = await run.all()
        scored = await encode_scored(run, trained)
        rules = await _rules(run, trained)
        bounds = _Bounds(settings, trained, scored, rules, run.split.test_stop)
        ranks = await in_thread(bounds.ranks, progress)
        return CellScores(aggregate(ranks))


async def _rules(run: TrainingRun, trained: TrainedModel) -> dict[str, Rules]:
    """By setting, chosen on validation steps as the gates choose them."""
    known = await run.on_known_items(trained)
    twin, pairs, margin = validation_of(run, known, await run.text(), await run.said())
    return {
        setting: rules_for(twin, pairs, "list", fresh_list=setting == "S1", margin=margin)
        for setting in ("S1", "S2")
    }


class _Bounds:
    def __init__(
        self,
        settings: Recipe,
        trained: TrainedModel,
        scored: ScoredRequests,
        rules: Mapping[str, Rules],
        test_stop: NDArray[np.int64],
    ) -> None:
        self.settings, self.trained, self.steps = settings, trained, scored.steps
        self.requests, self.rules, self.test_stop = scored.requests, rules, test_stop
        self.twin = make_twin(settings, trained, scored.requests, scored.e_sem, scored.words)
        self.options = calibration_options(settings, trained.repeat_policy).model_copy(
            update={"label_weight": 0.0, "age_rules": False, "dropout": 0.0}
        )

    def ranks(self, progress: Progress) -> StepRanks:
        """Ranks of every scorer under S1 and S2, at every gap."""
        own = pairs_at_gap(self.requests.anchors, self.steps, 0).fresh
        found = StepRanks(self.requests, own, self.test_stop, self.trained.popularity)
        for gap in self.settings.paper.gaps:
            pairs = pairs_at_gap(self.requests.anchors, self.steps, gap)
            for (setting, scorer), ranks in self._ranked(gap, pairs, progress).items():
                found.add(setting, gap, scorer, ranks)
        return found

    def _ranked(self, gap: int, pairs: Pairs, progress: Progress) -> dict[tuple[str, str], Ranks]:
        twin, same = self.twin, self._embeddings(gap, pairs, progress)
        found: dict[tuple[str, str], list[Ranks]] = {}
        with (
            torch.no_grad(),
            progress.task(f"scoring test steps, gap {gap}", 2 * len(pairs)) as task,
        ):
            for setting, listed in (("S1", pairs.fresh), ("S2", pairs.stale)):
                inputs = twin.inputs(pairs, listed=listed)
                calibrated = twin.trusted(inputs, self.rules[setting].calibrated)[0]
                embeddings = same | {"calibrated": calibrated}
                for at in torch.split(torch.arange(len(pairs)), ROWS):
                    pools = twin.pools(pairs.fresh[at.numpy()])
                    among = pools.listed(twin.candidates[torch.from_numpy(listed[at.numpy()])])
                    views = {"student": pools.structural} | {
                        name: pools.fused(twin.fusion_weight * e[at])
                        for name, e in embeddings.items()
                    }
                    for name, values in views.items():
                        found.setdefault((setting, name), []).append(pools.ranks(values, among))
                    task.advance(len(at))
        return {key: np.concatenate(chunks) for key, chunks in found.items()}

    @torch.no_grad()
    def _embeddings(self, gap: int, pairs: Pairs, progress: Progress) -> dict[str, Tensor]:
        """[P, d] by scorer; fresh snapshots need no repair, so gap 0 has no bound."""
        e_sem = self.twin.e_sem
        found = {
            "fused": e_sem[torch.from_numpy(pairs.fresh)],
            "stale": e_sem[torch.from_numpy(pairs.stale)],
        }
        if gap:
            found["fitted"] = self._fitted(gap, pairs, pairs, progress)
            found["fitted_others"] = self._fitted_others(gap, pairs, progress)
        return found

    def _fitted_others(self, gap: int, pairs: Pairs, progress: Progress) -> Tensor:
        users = self.requests.anchors.user[pairs.fresh]
        lot = np.random.default_rng(self.settings.seed).permutation(int(users.max()) + 1)
        half = lot[users] % 2
        found = torch.empty(len(pairs), self.twin.e_sem.shape[1])
        for side in (0, 1):
            mine, others = np.flatnonzero(half == side), np.flatnonzero(half != side)
            found[torch.from_numpy(mine)] = self._fitted(gap, pairs[others], pairs[mine], progress)
        return found

    def _fitted(self, gap: int, learned: Pairs, applied: Pairs, progress: Progress) -> Tensor:
        """Corrections of the ``applied`` pairs by a calibrator fitted on the ``learned`` ones."""
        with torch.enable_grad():
            fitted = fit_calibration(
                self.twin.requests,
                self.twin.e_sem,
                [Material(self.twin.requests, self.twin.e_sem, learned)],
                {gap: learned},
                self.twin.fusion_weight,
                self.options,
                seed=self.settings.seed,
                threads=self.settings.training.threads,
                progress=progress,
            )
        return fitted.correct(self.twin.inputs(applied, fitted=fitted))[0]
