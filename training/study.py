"""One cell of an experiment: train a configuration with one seed and score it on the test steps.

The dense counterpart of what a device does, for thousands of requests and many opponents at once:
every scorer ranks all items, and a setting says which of them may be recommended.

- ``full``: all items. ``S1``: the cloud's fresh candidates, an old embedding. ``S2``: candidates
  and embedding both old (SCaLRec section 5). ``S2_history``: S2 united with the device's window.
  ``S2_local``: S2 united with the best of the device's own table under the very scorer, which for
  the first places is the whole catalogue. ``alone``: what a device ranks without any snapshot.
- ``drift-Q``: at gap 5, Q % of requests hold another user's snapshot, as if interests had changed
  altogether. ``overlap-O``: at gap 5, O % of the candidates are the cached ones, the rest new.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cloud_service.embedding.base import Embedder
from device_runtime.cues import CUES
from shared.interactions import InteractionLog
from shared.metrics import HALF_LIFE, ndcg
from shared.progress import Progress
from shared.split import Steps
from training.age_rules import apply_rule, rule_at
from training.anchors import stale_anchors
from training.backbone import TrainedBackbone
from training.calibration_fit import FittedCalibration
from training.calibration_inputs import Inputs, make_inputs
from training.cell import Cell
from training.pairs import Pairs, pairs_at_gap, top_candidates
from training.pipeline import TrainingRun, opened_run
from training.requests import Requests, make_requests
from training.scored_requests import encode_scored
from training.settings import Recipe
from training.study_extras import GapReport, measured, recalls
from training.study_scores import Scores, StepRanks, aggregate
from training.trained import TrainedModel

ROWS = 256
SPECIAL_GAP = 5
SHARES = (0, 25, 50, 75, 100)


async def run_cell(
    settings: Recipe, log: InteractionLog, embedder: Embedder, *, progress: Progress
) -> Cell:
    """Train (or reuse stages) and evaluate; ``settings.paper.gaps`` are the ages that are scored.

    Raises:
        DataError, EmbedderError, ConfigError: as ``training.pipeline.train``.
    """
    async with opened_run(settings, log, embedder, progress) as run:
        trained = await run.all()
        gate = await run.gate(trained)
        second = await _partner(run).backbone()
        scored = await encode_scored(run, trained)
        requests, steps = scored.requests, scored.steps
        own = pairs_at_gap(requests.anchors, steps, 0).fresh
        twin = _structural_of(second, requests, own)
        study = _Study(settings, trained, gate, requests, twin, scored.e_sem, steps)
        ranks = StepRanks(requests, own, run.split.n_events)
        for setting, gap, scorer, found in study.ranks(progress):
            ranks.add(setting, gap, scorer, found)
        extras = (
            measured(study.reports, trained, run.store.seconds, scored.texts)
            | {f"drift_r_{share}": r for share, r in study.drift_r.items()}
            | recalls(ranks)
        )
        return Cell(aggregate(ranks), extras)


def _partner(run: TrainingRun) -> TrainingRun:
    """The same training with another seed, for an ensemble of two structural models."""
    seed = run.settings.seed - 1 if run.settings.seed else 1
    settings = run.settings.model_copy(update={"seed": seed})
    return TrainingRun(settings, run.log, run.embedder, run.cache, run.store, run.progress)


def _structural_of(backbone: TrainedBackbone, requests: Requests, rows: np.ndarray) -> Requests:
    """The requests at ``rows`` as another backbone encodes them."""
    steps = Steps(
        requests.anchors.user[rows].astype(np.int32), requests.anchors.tau[rows].astype(np.int32)
    )
    return make_requests(backbone.model, backbone.table, requests.events, stale_anchors(steps, ()))


class _Study:
    def __init__(
        self,
        settings: Recipe,
        trained: TrainedModel,
        gate: FittedCalibration,
        requests: Requests,
        twin: Requests,
        e_sem: Tensor,
        steps: Steps,
    ) -> None:
        self.settings, self.trained = settings, trained
        self.requests, self.twin, self.e_sem = requests, twin, e_sem
        self.weight = trained.projector.fusion_weight
        self.candidates = top_candidates(e_sem, requests.table.vectors, settings.cloud.candidates)
        self.reports: list[GapReport] = []
        self.views = {
            gap: self._view(gap, pairs_at_gap(requests.anchors, steps, gap), gate)
            for gap in settings.paper.gaps
        }
        self.drift_r: dict[int, float] = {}
        special = self.views.get(SPECIAL_GAP)
        self.drifted = {} if special is None else self._drift(special.pairs)

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

    def _view(self, gap: int, pairs: Pairs, gate: FittedCalibration) -> _View:
        calibration = self.trained.calibration
        inputs = self._inputs(pairs, calibration)
        e, r = calibration.correct(inputs)
        gated, _ = gate.correct(self._inputs(pairs, gate))
        rule, discount = rule_at(calibration.rules, gap), rule_at(calibration.discount, gap)
        moved = inputs.cues[:, CUES.index("moved")].numpy() > 0
        self.reports.append(GapReport(gap, pairs, inputs.cues, r, rule))
        return _View(
            pairs,
            fresh=self.weight * self.e_sem[torch.from_numpy(pairs.fresh)],
            stale=self.weight * inputs.stale,
            calibrated=self.weight * apply_rule(rule, e, inputs.stale, moved),
            discount=self.weight * discount.weight * inputs.stale,
            gate=self.weight * gated,
            semantic=inputs.stale,
        )

    def ranks(self, progress: Progress) -> Iterator[tuple[str, int, str, np.ndarray]]:
        """(setting, gap, scorer, expected ranks [R]) of everything that is compared."""
        # Filled in place: small arrays kept between the chunks' large ones would pin the heap.
        whole: dict[tuple[str, int, str], np.ndarray] = {}
        total = len(next(iter(self.views.values())).pairs)
        with progress.task("scoring test steps", total) as task:
            for at in torch.split(torch.arange(total), ROWS):
                for key, chunk in self._chunk(at).items():
                    if key not in whole:
                        whole[key] = np.empty(total)
                    whole[key][at.numpy()] = chunk
                task.advance(len(at))
        for report in self.reports:
            fresh, stale = (
                ndcg(whole["full", report.gap, name], 10) for name in ("fused", "stale")
            )
            report.loss = fresh - stale
        for (setting, gap, scorer), found in whole.items():
            yield setting, gap, scorer, found

    @torch.no_grad()
    def _chunk(self, at: Tensor) -> dict[tuple[str, int, str], np.ndarray]:
        settings, requests = self.settings, self.requests
        first = next(iter(self.views.values()))
        rows = torch.from_numpy(first.pairs.fresh[at.numpy()])
        exclude = self.trained.repeat_policy == "exclude"
        scores = Scores(
            requests,
            rows,
            popularity=torch.from_numpy(self.trained.popularity),
            half_life=HALF_LIFE,
            exclude_seen=exclude,
            second=self.twin.structural(at),
        )
        found: dict[tuple[str, int, str], np.ndarray] = {}

        def rank(setting: str, gap: int, among: Tensor | None, views: dict[str, Tensor]) -> None:
            for scorer, values in views.items():
                found[setting, gap, scorer] = scores.rank(values, among)

        structure = {"structure": scores.structural, "ensemble": scores.ensemble}
        counters = scores.counters
        fresh_list = scores.listed(self.candidates[rows])
        window = scores.listed(requests.history[rows])
        starter = settings.profile.table == "none"
        alone = window | scores.popular(settings.profile.starter_items) if starter else None
        for gap, view in self.views.items():
            stale_rows = torch.from_numpy(view.pairs.stale[at.numpy()])
            old_list = scores.listed(self.candidates[stale_rows])
            semantics = {name: scores.fused(e[at]) for name, e in view.named().items()}
            semantics["semantic"] = scores.semantic(view.semantic[at])
            both = structure | semantics
            with_counters = both | {n: c for n, c in counters.items() if not n.endswith("_all")}
            full = both | (counters if gap == 0 else {})
            rank("full", gap, None, full)
            rank("S1", gap, fresh_list, with_counters)
            rank("S2", gap, old_list, with_counters)
            if settings.profile.unite_history:
                rank("S2_history", gap, old_list | window, both)
            if not starter:
                for scorer in both:
                    found["S2_local", gap, scorer] = found["full", gap, scorer]
            rank("alone", gap, alone, structure | counters)
            for setting, among in (("full", None), ("S1", fresh_list), ("S2", old_list)):
                found[setting, gap, "oracle"] = scores.best(view.stale[at], among)
            if gap == SPECIAL_GAP:
                found |= self._special(at, view, scores, old_list, fresh_list)
        return found

    def _special(
        self, at: Tensor, view: _View, scores: Scores, old_list: Tensor, fresh_list: Tensor
    ) -> dict[tuple[str, int, str], np.ndarray]:
        """Simulated drift, and candidates that the cache does not hold."""
        found: dict[tuple[str, int, str], np.ndarray] = {}
        same = {"structure": scores.structural, "fused": scores.fused(view.fresh[at])}
        for share, drifted in self.drifted.items():
            named = same | {name: scores.fused(e[at]) for name, e in drifted.items()}
            for name, values in named.items():
                found[f"drift-{share}", SPECIAL_GAP, name] = scores.rank(values, fresh_list)
        named = same | {name: scores.fused(e[at]) for name, e in view.named().items()}
        for share in SHARES:
            mixed = scores.mixed(old_list, fresh_list, share / 100)
            for name, values in named.items():
                found[f"overlap-{share}", SPECIAL_GAP, name] = scores.rank(values, mixed)
        return found

    def _drift(self, pairs: Pairs) -> dict[int, dict[str, Tensor]]:
        """Stale and calibrated embeddings where a share of requests holds a stranger's snapshot."""
        rng = np.random.default_rng(self.settings.seed)
        strangers, lot = rng.permutation(pairs.stale), rng.random(len(pairs)) * 100
        calibration = self.trained.calibration
        rule = rule_at(calibration.rules, SPECIAL_GAP)
        found = {}
        for share in SHARES:
            held = Pairs(pairs.fresh, np.where(lot < share, strangers, pairs.stale))
            own, foreign = self._inputs(pairs, calibration), self._inputs(held, calibration)
            # Ages and the items met since are the user's own; only the snapshot is a stranger's.
            aged = [place for place, name in enumerate(CUES) if name not in ("drift", "omega")]
            foreign.cues[:, aged] = own.cues[:, aged]
            parts = tuple(
                mine if name == "recent" else theirs
                for name, mine, theirs in zip(
                    calibration.calibrator.inputs, own.parts, foreign.parts, strict=True
                )
            )
            inputs = Inputs(foreign.cues, foreign.stale, parts)
            e, r = calibration.correct(inputs)
            moved = inputs.cues[:, CUES.index("moved")].numpy() > 0
            corrected = apply_rule(rule, e, inputs.stale, moved)
            found[share] = {
                "stale": self.weight * inputs.stale,
                "calibrated": self.weight * corrected,
            }
            self.drift_r[share] = float(r.mean())
        return found


@dataclass(frozen=True, eq=False)
class _View:
    """Semantic embeddings [R, d] of every scorer at one gap, times their fusion weight."""

    pairs: Pairs
    fresh: Tensor
    stale: Tensor
    calibrated: Tensor
    discount: Tensor
    gate: Tensor
    semantic: Tensor

    def named(self) -> dict[str, Tensor]:
        return {
            "fused": self.fresh,
            "stale": self.stale,
            "calibrated": self.calibrated,
            "discount": self.discount,
            "gate": self.gate,
        }
