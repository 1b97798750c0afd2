"""DenseRanks: ranks of many requests at once, in every setting, at every age, by every scorer."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from device_runtime.state.cues import CUES
from experiments.studies.scalrec.extras import GapReport
from experiments.studies.scalrec.opponents import SCORERS, Opponents, held_by
from experiments.studies.scalrec.rules_by_setting import Rules
from experiments.studies.scalrec.scores import Scores
from shared.bundle import rule_at
from shared.metrics import HALF_LIFE, RANK, Ranks, ndcg
from shared.progress import Progress
from shared.split import Steps
from training.calibration.age_rules import trusted
from training.calibration.fit import FittedCalibration
from training.calibration.inputs import Inputs
from training.calibration.pairs import Pairs, pairs_at_gap
from training.pools import Pools, Setting
from training.semantic.requests import Requests
from training.settings import Recipe
from training.trained import TrainedModel
from training.twin import Twin

Views = dict[str, Tensor]  # scores [B, I] by scorer
ROWS = 256
SPECIAL_GAP = 5
# What is ranked in each setting that choices are made for, and whether the list is fresh.
SETTINGS: dict[str, tuple[Setting, bool]] = {
    "S1": ("list", True),
    "S2": ("list", False),
    "full": ("catalogue", False),
    "device": ("device", False),
}
SHARES = (0, 25, 50, 75, 100)


class DenseRanks:
    """Scores every request of a cell under everything that is compared; see ``study``."""

    def __init__(
        self,
        settings: Recipe,
        trained: TrainedModel,
        gate: FittedCalibration,
        twin: Twin,
        plain: Requests,
        second: Requests,
        rules: Mapping[str, Rules],
        steps: Steps,
        opponents: Mapping[str, Opponents] | None = None,
    ) -> None:
        self.settings, self.trained, self.twin, self.rules = settings, trained, twin, rules
        self.plain, self.second, self.opponents = plain, second, opponents or {}
        self.reports: list[GapReport] = []
        self.views = {
            gap: self._view(gap, pairs_at_gap(plain.anchors, steps, gap), gate)
            for gap in settings.paper.gaps
        }
        self.drift_r: dict[int, float] = {}
        self.log_p: dict[tuple[int, str], NDArray[np.float32]] = {}
        special = self.views.get(SPECIAL_GAP)
        self.drifted = {} if special is None else self._drift(special.pairs)

    def _view(self, gap: int, pairs: Pairs, gate: FittedCalibration) -> _View:
        twin, calibration, e_sem = self.twin, self.trained.calibration, self.twin.e_sem
        inputs, inputs_fresh = twin.inputs(pairs), twin.inputs(pairs, listed=pairs.fresh)
        r = calibration.correct(inputs)[1]
        gated, gated_fresh = (
            gate.correct(twin.inputs(pairs, listed=listed, fitted=gate))[0]
            for listed in (pairs.stale, pairs.fresh)
        )
        self.reports.append(
            GapReport(
                gap=gap, pairs=pairs, cues=inputs.cues, r=r, rule=rule_at(calibration.rules, gap)
            )
        )
        held = held_by(twin, pairs)
        embeddings, wordless = {}, {}
        for setting, rules in self.rules.items():
            known = inputs_fresh if setting == "S1" else inputs
            embeddings[setting] = {
                "fused": e_sem[torch.from_numpy(pairs.fresh)],
                "stale": inputs.stale,
                "calibrated": twin.trusted(known, rules.calibrated)[0],
                "corrected": calibration.unruled(known),
                "discount": trusted(
                    rules.discount, known.ages, known.moved, known.stale, known.stale
                ),
                "gate": gated_fresh if setting == "S1" else gated,
            }
            if setting in self.opponents:
                embeddings[setting] |= self.opponents[setting].embeddings(held)
            wordless[setting] = trusted(
                rules.wordless, known.ages, known.moved, known.stale, known.stale
            )
        return _View(pairs, embeddings, wordless)

    def ranks(
        self, progress: Progress, settings: Collection[str] | None = None
    ) -> Iterator[tuple[str, int, str, Ranks]]:
        """(setting, gap, scorer, ranks [R]) of everything that is compared.

        Args:
            settings: that are ranked in, ``full`` among them; all when None.
        """
        # Filled in place: small arrays kept between the chunks' large ones would pin the heap.
        whole: dict[tuple[str, int, str], Ranks] = {}
        total = len(next(iter(self.views.values())).pairs)
        with progress.task("scoring test steps", total) as task:
            for at in torch.split(torch.arange(total), ROWS):
                for key, chunk in self._chunk(at, settings).items():
                    if key not in whole:
                        whole[key] = np.empty(total, RANK)
                    whole[key][at.numpy()] = chunk
                task.advance(len(at))
        for report in self.reports:
            fresh, stale = (
                ndcg(whole["full", report.gap, name], 10) for name in ("fused", "stale")
            )
            report.loss = fresh - stale
            fresh_p, stale_p = (self.log_p[report.gap, name] for name in ("fused", "stale"))
            report.log_p_loss = (fresh_p - stale_p).astype(np.float64)
        for (setting, gap, scorer), found in whole.items():
            yield setting, gap, scorer, found

    @torch.no_grad()
    def _chunk(
        self, at: Tensor, settings: Collection[str] | None
    ) -> dict[tuple[str, int, str], Ranks]:
        profile, twin = self.settings.profile, self.twin
        rows = next(iter(self.views.values())).pairs.fresh[at.numpy()]
        pools = twin.pools(rows)
        scores = Scores(
            pools,
            twin.requests,
            rows,
            popularity=torch.from_numpy(self.trained.popularity),
            half_life=HALF_LIFE,
            plain=self.plain.structural(torch.from_numpy(rows)),
            second=self.second.structural(at),
        )
        found: dict[tuple[str, int, str], Ranks] = {}

        def rank(setting: str, gap: int, among: Tensor | None, views: Views) -> None:
            for scorer, values in views.items():
                found[setting, gap, scorer] = pools.ranks(values, among)

        def asked(setting: str) -> bool:
            return settings is None or setting in settings

        counters, own = scores.counters, scores.alone
        fresh_list, alone = pools.listed(twin.candidates[torch.from_numpy(rows)]), pools.alone()
        for gap, view in self.views.items():
            old = twin.candidates[torch.from_numpy(view.pairs.stale[at.numpy()])]
            old_list, stale = pools.listed(old), view.embeddings["device"]["stale"][at]
            same = own | {"semantic": scores.semantic(stale)}

            def all_of(setting: str, view: _View = view, same: dict[str, Tensor] = same) -> Views:
                fused = self._fused(pools, view.embeddings[setting], at)
                more = {
                    "ensemble_calibrated": scores.on_ensemble(fused["calibrated"]),
                    "wordless": own["counts"] + scores.semantic(view.wordless[setting][at]),
                }
                return same | fused | more

            united = pools.united(old)
            whole = all_of("full")
            for scorer in ("fused", "stale"):
                column = self.log_p.setdefault((gap, scorer), np.empty(len(view.pairs), np.float32))
                column[at.numpy()] = scores.log_p(whole[scorer]).numpy()
            rank("full", gap, None, whole | (counters if gap == 0 else {}))
            if asked("S1"):
                rank("S1", gap, fresh_list, all_of("S1") | counters)
            if asked("S2"):
                rank("S2", gap, old_list, all_of("S2") | counters)
            for setting, among in (
                ("full", None),
                ("S1", fresh_list),
                ("S2", old_list),
                ("device", pools.holding(old)),
            ):
                if asked(setting):
                    best = scores.best(twin.fusion_weight * stale, among)
                    found[setting, gap, "oracle"] = best
            if not asked("device"):
                continue
            by_device = all_of("device")
            if profile.unite_history:
                rank("S2_history", gap, united, by_device)
            if profile.table != "none":
                rank("S2_local", gap, None, by_device)
            shipped = "S2_local" if profile.local_candidates else "S2_history"
            if shipped == "S2_history" and not profile.unite_history:
                shipped = "S2"
            for scorer in by_device:
                found["device", gap, scorer] = found[shipped, gap, scorer]
            rank("device", gap, pools.holding(old), counters)
            rank("alone", gap, alone, own | counters)
            if gap == SPECIAL_GAP:
                found |= self._special(at, view, scores, old_list, fresh_list)
        return found

    def _fused(self, pools: Pools, embeddings: dict[str, Tensor], at: Tensor) -> dict[str, Tensor]:
        """[B, I] scores under each of the embeddings [R, d] at the requests ``at`` [B]."""
        weight = self.twin.fusion_weight
        return {name: pools.fused(weight * e[at]) for name, e in embeddings.items()}

    def _special(
        self, at: Tensor, view: _View, scores: Scores, old_list: Tensor, fresh_list: Tensor
    ) -> dict[tuple[str, int, str], Ranks]:
        """Simulated drift, and candidates that the cache does not hold."""
        found: dict[tuple[str, int, str], Ranks] = {}
        pools = scores.pools
        structure = {name: scores.alone[name] for name in ("structure", "student")}
        plain = {n: e for n, e in view.embeddings["S2"].items() if n not in SCORERS}
        views = self._fused(pools, plain, at)
        for share, drifted in self.drifted.items():
            same = structure | {"fused": views["fused"]}
            for name, values in (same | self._fused(pools, drifted, at)).items():
                found[f"drift-{share}", SPECIAL_GAP, name] = pools.ranks(values, fresh_list)
        for share in SHARES:
            mixed = scores.mixed(old_list, fresh_list, share / 100)
            for name, values in (structure | views).items():
                found[f"overlap-{share}", SPECIAL_GAP, name] = pools.ranks(values, mixed)
        return found

    def _drift(self, pairs: Pairs) -> dict[int, dict[str, Tensor]]:
        """Stale and calibrated embeddings where a share of requests holds a stranger's snapshot."""
        rng = np.random.default_rng(self.settings.seed)
        strangers, lot = rng.permutation(pairs.stale), rng.random(len(pairs)) * 100
        found = {}
        for share in SHARES:
            held = Pairs(pairs.fresh, np.where(lot < share, strangers, pairs.stale))
            own, foreign = (self.twin.inputs(p, listed=pairs.fresh) for p in (pairs, held))
            # Ages and the items met since are the user's own; only the snapshot is a stranger's.
            aged = [place for place, name in enumerate(CUES) if name not in ("drift", "omega")]
            foreign.cues[:, aged] = own.cues[:, aged]
            names = self.trained.calibration.calibrator.inputs
            parts = tuple(
                mine if name in ("recent", "e_text") else theirs
                for name, mine, theirs in zip(names, own.parts, foreign.parts, strict=True)
            )
            inputs = Inputs(foreign.cues, foreign.stale, parts, own.words)
            corrected, r = self.twin.trusted(inputs, self.rules["S1"].calibrated)
            found[share] = {"stale": inputs.stale, "calibrated": corrected}
            self.drift_r[share] = float(r.mean())
        return found


@dataclass(frozen=True, eq=False)
class _View:
    """Semantic embeddings [R, d] of the scorers at one gap, before their fusion weight.

    Attributes:
        embeddings: by setting, then by scorer.
        wordless: by setting, of the discount of a device without a text student; its weight is in
            it.
    """

    pairs: Pairs
    embeddings: dict[str, dict[str, Tensor]]
    wordless: dict[str, Tensor]
