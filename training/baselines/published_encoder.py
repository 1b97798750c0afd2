"""SASRec and SURGE as their papers have them: ids alone, no time, no return mechanism.

SASRec: Kang & McAuley, ICDM 2018; SURGE: Chang et al., SIGIR 2021. Both are trained to convergence:
until NDCG@10 on validation has not risen for PATIENCE passes. A reader tells by these rows how
strong the device model of a comparison is.

Differs from the papers: cross-entropy over the whole catalogue in place of one sampled negative per
target; attention knows distances instead of absolute positions; and what the encoders' own
docstrings say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shared.metrics import ndcg
from shared.progress import Progress
from training.backbone.evaluate import target_ranks
from training.backbone.fit import BackboneFit, BackboneOptions, Cycle, TrainedBackbone
from training.backbone.item_table import ItemParameters
from training.background import in_thread
from training.baselines.base import CLOUD_WINDOW, FittedBaseline, Fitting, Reads
from training.baselines.structure import CloudStructure
from training.encoders.choice import CONFIGS
from training.learning import Judged, fit_until, reproducible, weights_of

PATIENCE = 10
EPOCHS = 200


@dataclass(frozen=True)
class PublishedEncoder:
    """A sequential model of ids on the cloud.

    Attributes:
        kind: which.
        learning_rate: falls by a cosine over ``epochs`` passes, of which few are reached.
    """

    kind: Literal["sasrec", "surge"]
    learning_rate: float = 1e-3
    dropout: float = 0.2
    epochs: int = EPOCHS
    reads: Reads = "cloud"

    async def fit(self, fitting: Fitting) -> FittedBaseline:
        backbone = await in_thread(lambda shown: self._train(fitting, shown), fitting.progress)
        return CloudStructure(backbone)

    def _train(self, fitting: Fitting, progress: Progress) -> TrainedBackbone:
        run, options = fitting.run, fitting.run.settings.training
        config = CONFIGS[self.kind](
            dim=options.dim,
            layers=options.layers,
            dropout=self.dropout,
            return_mechanism=False,
            window=CLOUD_WINDOW,
            has_time=False,
        )
        epochs = fitting.epochs(self.epochs)
        cycle = Cycle(epochs=epochs, learning_rate=self.learning_rate)
        chosen = BackboneOptions(
            cycles=(cycle,), batch_windows=options.batch_windows, repeat_policy=run.policy
        )
        anchors = run.steps.anchors
        known = fitting.events
        rows = fitting.validation[0].fresh
        targets = known.user_start[anchors.user[rows]] + anchors.tau[rows]
        exclude = run.policy == "exclude"

        with reproducible(fitting.seed, fitting.threads):
            model, table = config.build(), ItemParameters(fitting.n_items, options.dim)
            fit = BackboneFit(model, table, chosen, fitting.seed)

            def judge() -> Judged:
                ranks = target_ranks(model, table, known, targets, exclude_seen=exclude)
                return Judged(float(ndcg(ranks, 10).mean()))

            history = fit_until(
                epochs,
                weights_of(model=model, table=table),
                lambda epoch, say: fit.learn_pass(fitting.learned, cycle, epoch - 1, say),
                judge,
                label=f"training {self.kind} on ids alone",
                progress=progress,
                patience=PATIENCE,
            )
        return TrainedBackbone(model.eval(), table, chosen, history)
