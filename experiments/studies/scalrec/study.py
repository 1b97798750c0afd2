"""One cell of an experiment: train a configuration with one seed and score it on the test steps.

The dense counterpart of what a device does, for thousands of requests and many opponents at once:
every scorer ranks all items, and a setting says which of them may be recommended. Rules by age,
discounts and the opponents that mend a cached embedding by simpler means (``opponents``) are chosen
on validation under each setting by itself.

- ``device``: what devices of the profile really rank: ``S2_local`` where they re-retrieve from a
  table of their own, else ``S2_history``.
- ``full``: all items. ``S1``: the cloud's fresh candidates, an old embedding. ``S2``: candidates
  and embedding both old (SCaLRec section 5). ``S2_history``: what a device ranks that unites S2
  with its own history. ``S2_local``: S2 united with the best of the device's own table under the
  very scorer, which for the first places is the whole catalogue. ``alone``: what a device ranks
  without any snapshot. Omega is of the candidates that are ranked: in S1 of the fresh ones.
- ``drift-Q``: at gap 5, Q % of requests hold another user's snapshot, as if interests had changed
  altogether. ``overlap-O``: at gap 5, O % of the candidates are the cached ones, the rest new.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from cloud_service.embedding.base import Embedder
from experiments.studies.cell import CellScores
from experiments.studies.scalrec.dense_ranks import SETTINGS, DenseRanks
from experiments.studies.scalrec.extras import measured, recalls, strata_shares
from experiments.studies.scalrec.opponents import Opponents, fit_opponents
from experiments.studies.scalrec.rules_by_setting import (
    ChosenOn,
    Rules,
    judge_for,
    rules_for,
    validation_of,
)
from experiments.studies.scalrec.scores import StepRanks, aggregate
from experiments.studies.scored_requests import ScoredRequests, encode_scored
from shared.interactions import InteractionLog
from shared.progress import Progress
from shared.split import Steps
from training.backbone.fit import TrainedBackbone
from training.calibration.pairs import pairs_at_gap
from training.run import TrainingRun, opened_run
from training.semantic.anchors import stale_anchors
from training.semantic.requests import Requests, make_requests
from training.settings import Recipe
from training.stages.calibration import fitting_pairs
from training.trained import TrainedModel
from training.twin import Twin, make_twin


async def run_cell(
    settings: Recipe, log: InteractionLog, embedder: Embedder, *, progress: Progress
) -> CellScores:
    """Train (or reuse stages) and evaluate; ``settings.paper.gaps`` are the ages that are scored.

    Raises:
        DataError, EmbedderError, ConfigError: as ``training.train.train``.
    """
    async with opened_run(settings, log, embedder, progress) as run:
        product = await product_of(run)
        ranks = product.ranks()
        return CellScores(aggregate(ranks), product.extras(ranks))


async def product_of(run: TrainingRun) -> Product:
    """Train all that a cell of this study compares.

    Raises:
        DataError, EmbedderError, ConfigError: as ``training.train.train``.
    """
    trained = await run.all()
    gate = await run.gate()
    partner = await _partner(run).backbone()
    scored = await encode_scored(run, trained)
    requests, steps = scored.requests, scored.steps
    second = structural_of(partner, requests, pairs_at_gap(requests.anchors, steps, 0).fresh)
    twin = make_twin(run.settings, trained, requests, scored.e_sem, scored.words)
    known = await run.on_known_items(trained)
    chosen_on = validation_of(run, known, await run.text(), await run.said())
    rules, opponents = await _chosen(run, known, chosen_on)
    study = DenseRanks(run.settings, trained, gate, twin, requests, second, rules, steps, opponents)
    return Product(run=run, trained=trained, scored=scored, chosen_on=chosen_on, study=study)


@dataclass(frozen=True, eq=False)
class Product:
    """The product and its opponents in one cell, trained.

    Attributes:
        chosen_on: the validation requests that rules and opponents were chosen on.
    """

    run: TrainingRun
    trained: TrainedModel
    scored: ScoredRequests
    chosen_on: ChosenOn
    study: DenseRanks

    @property
    def twin(self) -> Twin:
        return self.study.twin

    def ranks(self, settings: Collection[str] | None = None) -> StepRanks:
        """Of every scorer at every scored request, in some settings or in all."""
        requests, steps = self.scored.requests, self.scored.steps
        own = pairs_at_gap(requests.anchors, steps, 0).fresh
        ranks = StepRanks(requests, own, self.run.split.test_stop, self.trained.popularity)
        for setting, gap, scorer, found in self.study.ranks(self.run.progress, settings):
            ranks.add(setting, gap, scorer, found)
        return ranks

    def extras(self, ranks: StepRanks) -> dict[str, float]:
        """Scalars measured beside the scores, by name."""
        study, seconds = self.study, self.run.store.seconds
        return (
            measured(study.reports, self.trained, seconds, self.scored.texts)
            | {f"drift_r_{share}": r for share, r in study.drift_r.items()}
            | study.opponents["device"].chosen()
            | recalls(ranks)
            | strata_shares(ranks)
        )


def _partner(run: TrainingRun) -> TrainingRun:
    """The same training with another seed, for an ensemble of two structural models.

    It is taught by nobody: what distillation saves is the second model.
    """
    seed = run.settings.seed - 1 if run.settings.seed else 1
    training = run.settings.training.model_copy(update={"distil": False})
    settings = run.settings.model_copy(update={"seed": seed, "training": training})
    return TrainingRun(settings, run.log, run.embedder, run.cache, run.store, run.progress)


def structural_of(backbone: TrainedBackbone, requests: Requests, rows: np.ndarray) -> Requests:
    """The requests at ``rows`` as another backbone encodes them."""
    steps = Steps(
        requests.anchors.user[rows].astype(np.int32), requests.anchors.tau[rows].astype(np.int32)
    )
    return make_requests(backbone.model, backbone.table, requests.events, stale_anchors(steps, ()))


async def _chosen(
    run: TrainingRun, known: TrainedModel, chosen_on: ChosenOn
) -> tuple[dict[str, Rules], dict[str, Opponents]]:
    """Rules and opponents by setting, chosen on validation steps.

    Args:
        known: over the items that training knew.
    """
    twin, pairs, margin = chosen_on
    learned = [(twin, fitting_pairs(run.steps, run.settings.seed))]
    if run.folds:
        learned = [
            (replace(twin, requests=one.requests, e_sem=one.e_sem), one.pairs)
            for one in await run.unmet(known.fusion)
        ]
    rules, opponents = {}, {}
    for name, (setting, fresh_list) in SETTINGS.items():
        rules[name] = rules_for(twin, pairs, setting, fresh_list=fresh_list, margin=margin)
        judge = judge_for(twin, pairs, setting, fresh_list=fresh_list)
        opponents[name] = fit_opponents(twin, learned, judge)
    return rules, opponents
