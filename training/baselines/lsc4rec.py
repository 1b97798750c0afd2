"""LSC4Rec: a generative cloud model lists, the device's small model re-ranks, both are fused.

Source: Lv et al., arXiv 2501.05647. P5 writes a list of n items from the history up to tau by
constrained beam search, with log-probabilities P_init. The small model (SRM), which knows the
history up to t, was fine-tuned on such lists (eqs. 5 and 6: cooperative training), re-trains itself
on the device's own last transitions (eq. 7: adaptive re-training) and gives P_rerank (eq. 8). Both
are brought to [0, 1] within the list (eq. 9) and fused,

    P = alpha P_init + (1 - alpha) P_rerank    (eq. 10).

Cooperative lists are those of calibration steps, whose targets neither model was trained on; step
size and alpha are chosen on validation steps, alpha for lists of the moment and for late ones. What
stands outside the list is never recommended: all of it gets one score below the list's.

Declared simplifications: a P5 of CPU size with tokens from item texts; the SRM is the product's own
encoder of the cell, with everything it is equipped with; no request by inconsistency (eqs. 11 and
12), because every request here has a list of a given age.

The cloud's model is that of seed 0 in every cell, as in the LSC4Rec experiments.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from device_runtime.ranking.list_fusion import fused
from shared.progress import Progress
from training.background import in_thread
from training.baselines.base import (
    FLOAT_BYTES,
    Fitting,
    MethodCosts,
    Reads,
    Rows,
    World,
    weights_in,
)
from training.baselines.device_time import encoder_us
from training.baselines.language.remembered import Arrays, RememberedStates, histories
from training.collaboration.asked import (
    LLM_SEED,
    Asked,
    Lists,
    requests_of_calibration,
    requests_of_validation,
)
from training.collaboration.cooperative import CooperativeOptions, cooperate
from training.collaboration.reranking import (
    ADAPTIVE,
    INDEPENDENT,
    Choice,
    Reranker,
    choose,
    scores_of,
)
from training.collaboration.srm import EncoderSrm, Srm
from training.generative.trained import TrainedGenerator
from training.run import TrainingRun
from training.settings import Lsc4recSettings

COOPERATIVE = "cooperative"
OUTSIDE = -1.0  # fused scores lie in [0, 1]


@dataclass(frozen=True, kw_only=True)
class Lsc4recBaseline:
    """Options.

    Attributes:
        candidates: n, on a list.
        lateness: events that the cloud's history lacks where the SRM is trained and all is chosen.
        whole: the paper's whole method, cooperative and adaptive; False: the way of training that
            ranks best on validation.
    """

    candidates: int = 50
    lateness: int = 5
    whole: bool = True
    reads: Reads = "both"

    async def fit(self, fitting: Fitting) -> FittedLsc4rec:
        """As ``Baseline.fit``; without calibration steps the SRM stays as it was trained."""
        generator = await _cloud(fitting).generative_model()
        return await in_thread(
            lambda progress: self.fit_on(fitting, generator, progress), fitting.progress
        )

    def fit_on(
        self, fitting: Fitting, generator: TrainedGenerator, progress: Progress
    ) -> FittedLsc4rec:
        """Train the SRM on the generator's lists and choose how both are fused."""
        run, late = fitting.run, self.lateness
        exclude, split = run.policy == "exclude", run.split
        n = _length(fitting, self.candidates)
        chosen = run.settings.lsc4rec.model_copy(update={"lists": (n,), "lateness": late})
        validation = requests_of_validation(fitting.events, split, chosen)
        calibration = requests_of_calibration(fitting.events, split, chosen)

        def written(asked: Asked, gap: int) -> Lists:
            known = asked.known_at(gap)
            return Lists(
                *generator.candidate_lists(known, n, exclude_seen=exclude, progress=progress)
            )

        lists = {gap: written(validation, gap) for gap in (late, 0)}
        srm: Srm = EncoderSrm(fitting.trained.backbone.model, fitting.trained.backbone.table)
        srms = {INDEPENDENT: srm}
        if len(calibration):
            options = CooperativeOptions(exclude_seen=exclude)
            srms[COOPERATIVE] = cooperate(
                srm,
                calibration,
                written(calibration, late),
                validation,
                lists[late],
                generator.tokens,
                options.model_copy(update={"epochs": fitting.epochs(options.epochs)}),
                seed=fitting.seed,
                threads=fitting.threads,
                progress=progress,
            ).srm
        held = Reranker(
            srms=srms, asked=validation, lists=lists, chosen=chosen, exclude_seen=exclude
        )
        choice = choose(held, ((n, late), (n, 0)))
        if self.whole and COOPERATIVE in srms:
            choice = replace(choice, best=ADAPTIVE[COOPERATIVE])
        measured = fitting.most_epochs is None
        return FittedLsc4rec(
            srms=srms,
            generator=generator,
            choice=choice,
            chosen=chosen,
            exclude_seen=exclude,
            device_us=encoder_us(fitting.trained.backbone.model) if measured else None,
        )


@dataclass(eq=False, kw_only=True)
class FittedLsc4rec:
    """Both models and what validation chose.

    Attributes:
        srms: by how they were trained.
        chosen: with one length of lists, n, and the lateness that all was chosen at.
        device_us: of a request by the SRM, its re-training aside; None where it was not measured.
    """

    srms: dict[str, Srm]
    generator: TrainedGenerator
    choice: Choice
    chosen: Lsc4recSettings
    exclude_seen: bool
    device_us: float | None = None
    _written: RememberedStates = field(init=False)

    def __post_init__(self) -> None:
        self._written = RememberedStates(self._write)

    @property
    def costs(self) -> MethodCosts:
        """The device holds the SRM; a snapshot holds n scores; the cloud reads item tokens."""
        srm = self.srms[self.choice.base]
        device = weights_in(srm.model, srm.table)
        read = self.generator.network.config.history * self.generator.tokens.codes.shape[1]
        return MethodCosts(
            parameters=self.generator.parameters + device,
            device_bytes=FLOAT_BYTES * device,
            snapshot_bytes=FLOAT_BYTES * self.chosen.longest,
            cloud_tokens=float(read),
            device_us=self.device_us,
        )

    def listed(self, world: World, stale: Rows, count: int) -> Tensor:
        """[B, N] the generator's list at ``stale`` [B], best first."""
        return torch.from_numpy(self._lists(world, stale).items[:, :count].astype(np.int64))

    def scores(self, world: World, fresh: Rows, stale: Rows) -> Tensor:
        """[B, I] eq. 10 on the list of tau, OUTSIDE for the rest."""
        n, late = self.chosen.longest, self.chosen.lateness
        anchors, lists = world.requests.anchors, self._lists(world, stale)
        found = torch.full((len(fresh), world.n_items), OUTSIDE)
        aged = anchors.tau[fresh] > anchors.tau[stale]
        for gap, at in ((late, np.flatnonzero(aged)), (0, np.flatnonzero(~aged))):
            if not len(at):
                continue
            rows, of = fresh[at], Lists(lists.items[at], lists.scores[at])
            asked = Asked(world.requests.events, anchors.user[rows], anchors.tau[rows])
            rank = self._reranker(asked, {gap: of})
            scores = scores_of(rank, (n, gap), self._rates())[self.choice.best]
            alpha = self.choice.alphas[self.choice.best, (n, gap)]
            together = torch.from_numpy(fused(of.scores, scores, alpha).astype(np.float32))
            place = torch.from_numpy(of.items.astype(np.int64))
            found[torch.from_numpy(at)[:, None], place] = together
        return found

    def _reranker(self, asked: Asked, lists: dict[int, Lists]) -> Reranker:
        return Reranker(
            srms={self.choice.base: self.srms[self.choice.base]},
            asked=asked,
            lists=lists,
            chosen=self.chosen,
            exclude_seen=self.exclude_seen,
        )

    def _rates(self) -> dict[str, float]:
        """Of the chosen way alone: no device re-trains itself for another."""
        base = self.choice.base
        return {} if self.choice.best == base else {base: self.choice.rates[base]}

    def _lists(self, world: World, rows: Rows) -> Lists:
        items, scores = self._written.of(world, rows)
        return Lists(items, scores)

    def _write(self, world: World, rows: Rows) -> Arrays:
        known, n = histories(world, rows), self.chosen.longest
        return self.generator.candidate_lists(known, n, exclude_seen=self.exclude_seen)


def _cloud(fitting: Fitting) -> TrainingRun:
    """The run whose generator writes the lists."""
    run = fitting.run
    options = run.settings.generative
    options = options.model_copy(update={"epochs": fitting.epochs(options.epochs)})
    settings = run.settings.model_copy(update={"generative": options, "seed": LLM_SEED})
    return TrainingRun(settings, run.log, run.embedder, run.cache, run.store, run.progress)


def _length(fitting: Fitting, wanted: int) -> int:
    """Of lists: as ``wanted``, less where a user may have met too much of the catalogue."""
    if fitting.run.policy != "exclude":
        return min(wanted, fitting.n_items)
    longest = int(np.diff(fitting.run.log.user_start).max())
    return max(1, min(wanted, fitting.n_items - longest))
