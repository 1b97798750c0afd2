"""The stage that chooses the weights of a device's score."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from shared.profile import DeviceProfile
from shared.progress import Progress
from shared.split import Steps
from training.backbone.fit import TrainedBackbone
from training.calibration.pairs import pairs_at_gap, top_candidates
from training.choosing import best_if_ahead
from training.fusion.fit import FittedFusion, FusionOptions, fit_fusion
from training.pools import Ranked
from training.semantic.projector import FittedProjector
from training.stages.forms import model_form
from training.stages.projector import ENCODING, Encode
from training.stages.stage import Stage, threaded
from training.steps import TrainingSteps

CHOSEN_AT = 5  # age, in events, of the snapshots whose candidates the own terms are chosen among
FUSION = model_form(FittedFusion, "fusion.json", "the weights of a score")


def fusion_stage(
    steps: TrainingSteps,
    encode: Encode,
    options: FusionOptions,
    profile: DeviceProfile,
    popularity: NDArray[np.float32],
    *,
    candidates: int,
    backbone: Stage[TrainedBackbone],
    projector: Stage[FittedProjector],
    abstracts: Stage[NDArray[np.float32]],
    words: Stage[NDArray[np.float32]] | None,
) -> Stage[FittedFusion]:
    """Count term, weight of the text student and of fresh semantics.

    Args:
        popularity: [I] training counts.
        candidates: N of eq. 7.
        words: [A, d] of the text student at every anchor; None without one.
    """

    def fit(
        progress: Progress,
        trained: TrainedBackbone,
        fitted: FittedProjector,
        text: NDArray[np.float32],
        said: NDArray[np.float32] | None = None,
    ) -> FittedFusion:
        with torch.no_grad():
            e_sem = fitted.projector(torch.from_numpy(text))
        requests = encode(trained, progress).equipped(fitted.vectors, None)
        pairs = pairs_at_gap(steps.anchors, unlearned(steps), CHOSEN_AT)
        ranked = Ranked(
            setting="device",
            profile=profile,
            candidates=top_candidates(e_sem, requests.semantics, candidates),
            popularity=popularity,
            exclude_seen=options.exclude_seen,
        )
        e_text = None if said is None else torch.from_numpy(said)
        return fit_fusion(requests, e_sem, e_text, (pairs.fresh, pairs.stale), ranked, options)

    return Stage(
        name="fusion",
        options=(options, profile, candidates),
        inputs={"steps": steps, "popularity": popularity},
        upstream=(backbone, projector, abstracts, *(() if words is None else (words,))),
        code=(fusion_stage, fit_fusion, best_if_ahead, pairs_at_gap, Ranked, *ENCODING),
        build=threaded(fit),
        form=FUSION,
    )


def unlearned(steps: TrainingSteps) -> Steps:
    """Steps of the calibration block and of validation, whose targets no model was trained on."""
    parts = (steps.calibration, steps.validation)
    return Steps(
        np.concatenate([part.user for part in parts]),
        np.concatenate([part.step for part in parts]),
    )
