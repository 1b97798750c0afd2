"""TrainedModel: all that training hands to export."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shared.bundle import CollaborationSpec, EmbedderIdentity
from shared.fixed_texts import FixedTexts
from shared.interactions import InteractionLog
from shared.refresh_file import RefreshKnowledge
from shared.split import Split
from training.backbone.fit import TrainedBackbone
from training.calibration.fit import FittedCalibration
from training.fusion.fit import FittedFusion
from training.generative.trained import TrainedGenerator
from training.semantic.projector import FittedProjector
from training.student.fit import FittedStudent


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """Networks in eval mode, the data they were fitted on, and how well they did on validation.

    Attributes:
        popularity: [I] float32, training events per item.
        figures: validation NDCG@10 and the like, by name; they go into the bundle's manifest.
        student: the devices' own reader of abstracts, if they have one.
        keys: of the stages it was made by, by name: equal keys, equal models.
        stage_seconds: wall time of each stage of this run.
        reused: stages read from an earlier run.
        refresh: when a refresh pays; None if that was not learned.
        notes: what the user should know, e.g. that a damaged cache was set aside.
        generator: where the cloud's candidates are to be generated.
        collaboration: how devices bring its lists and their own scores together.
        fixed: what the text model makes of fixed texts, by which the cloud knows it again.
    """

    log: InteractionLog
    split: Split
    repeat_policy: Literal["allow", "exclude"]
    embedder: EmbedderIdentity
    backbone: TrainedBackbone
    projector: FittedProjector
    student: FittedStudent | None
    fusion: FittedFusion
    calibration: FittedCalibration
    popularity: NDArray[np.float32]
    figures: Mapping[str, float]
    keys: Mapping[str, str]
    stage_seconds: Mapping[str, float]
    reused: tuple[str, ...]
    refresh: RefreshKnowledge | None = None
    notes: tuple[str, ...] = ()
    generator: TrainedGenerator | None = None
    collaboration: CollaborationSpec | None = None
    fixed: FixedTexts | None = None


def validation_figures(
    backbone: TrainedBackbone,
    projector: FittedProjector,
    fusion: FittedFusion,
    calibration: FittedCalibration,
) -> dict[str, float]:
    """Figures of TrainedModel: NDCG@10 on the steps that everything was chosen on.

    ``validation_full_*`` is over all items, ``chosen_on_*`` under what devices of the profile rank.
    """
    figures = {
        "backbone_best_epoch": float(backbone.best.epoch),
        "projector_best_epoch": float(projector.best_epoch),
        "calibration_best_epoch": float(calibration.best_epoch),
        "calibration_helped": float(calibration.helped),
        "fusion_weight": fusion.fusion_weight,
        "text_weight": fusion.text_weight,
        "count_weight": 0.0 if fusion.counts is None else fusion.counts.weight,
        "validation_full_structure": projector.validation_structure,
        "validation_full_semantic": projector.validation_semantic,
        "validation_full_fused": projector.validation_fused,
        "mean_reliability_target": calibration.mean_reliability_target,
    }
    figures |= {f"chosen_on_{name}": value for name, value in fusion.chosen_on.items()}
    for gap, at in calibration.gaps.items():
        figures |= {f"chosen_on_{name}_gap{gap}": value for name, value in asdict(at).items()}
    return {name: value for name, value in figures.items() if np.isfinite(value)}
