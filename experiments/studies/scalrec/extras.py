"""Scalars measured beside the scores of a cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from device_runtime.state import cues as device_cues
from experiments.selection import STRATA
from experiments.studies.scalrec.scores import StepRanks
from shared.bundle import AgeRule
from training.calibration.pairs import Pairs
from training.trained import TrainedModel


@dataclass(eq=False)
class GapReport:
    """Cues [R, 8] and reliability [R] at one gap, and what staleness cost each request.

    Attributes:
        loss: [R] of NDCG@10. log_p_loss: [R] of the target's log probability, in nats.
    """

    gap: int
    pairs: Pairs
    cues: Tensor
    r: Tensor
    rule: AgeRule
    loss: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    log_p_loss: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))


def measured(
    reports: Sequence[GapReport],
    trained: TrainedModel,
    seconds: Mapping[str, float],
    texts: Sequence[str],
) -> dict[str, float]:
    """By name; correlations are Spearman's with what staleness cost each request.

    ``corr_`` is of the lost NDCG@10, which for most requests is 0 and else jumps with one place of
    one target; ``logp_`` of the lost log p(target) over the catalogue, which hardly two share.
    """
    calibration = trained.calibration
    found = {
        "fusion_weight": trained.fusion.fusion_weight,
        "mean_target_r": calibration.mean_reliability_target,
        "calibration_best_epoch": float(calibration.best_epoch),
        "abstract_chars": float(np.mean([len(text) for text in texts])),
        "abstract_words": float(np.mean([len(text.split()) for text in texts])),
    }
    found |= {f"seconds_{stage}": spent for stage, spent in seconds.items()}
    found |= {f"parameters_{part}": float(count) for part, count in sizes(trained).items()}
    for report in reports:
        gap, r = report.gap, report.r.numpy().astype(np.float64)
        found[f"mean_r_gap{gap}"] = float(r.mean())
        found[f"mean_alpha_gap{gap}"] = float(1.0 - r.mean())
        for kind, moved in (("same", False), ("moved", True)):
            weight, correct = report.rule.at(moved)
            found[f"rule_{kind}_weight_gap{gap}"] = weight
            found[f"rule_{kind}_corrects_gap{gap}"] = float(correct)
    return found | correlations(reports)


def correlations(reports: Sequence[GapReport]) -> dict[str, float]:
    """Of every cue and of 1 - r with both losses, at each gap above 0 and over all gaps."""
    found: dict[str, float] = {}
    for kind, losses in (
        ("corr", [report.loss for report in reports]),
        ("logp", [report.log_p_loss for report in reports]),
    ):
        told = [_told(report) for report in reports]
        for report, loss, columns in zip(reports, losses, told, strict=True):
            if report.gap > 0:
                found |= {
                    f"{kind}_{name}_gap{report.gap}": _spearman(column, loss)
                    for name, column in columns.items()
                }
        found |= {
            f"{kind}_{name}": _spearman(
                np.concatenate([columns[name] for columns in told]), np.concatenate(losses)
            )
            for name in told[0]
        }
    return found


def _told(report: GapReport) -> dict[str, NDArray[np.floating]]:
    """[R] each of what a device may go by."""
    cues = {name: report.cues[:, at].numpy() for at, name in enumerate(device_cues.CUES)}
    return {**cues, "unreliability": 1.0 - report.r.numpy().astype(np.float64)}


def sizes(trained: TrainedModel) -> dict[str, int]:
    """Weights of every part of a device: those of items are two tables where vectors are apart."""
    fitted, student = trained.calibration, trained.student
    own = trained.projector.vectors
    return {
        "structure": _weights(trained.backbone.model),
        "items": _weights(trained.backbone.table) + (0 if own is None else own.numel()),
        "calibration": _weights(fitted.estimator) + _weights(fitted.calibrator),
        "words": 0 if student is None else student.weights.codes.size,
    }


def _weights(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def recalls(ranks: StepRanks) -> dict[str, float]:
    """Share of targets that a setting's candidates hold, by setting and gap."""
    return {
        f"recall_{setting}_gap{gap}": float(np.isfinite(found["expected"]).mean())
        for (setting, gap, scorer), found in ranks.found.items()
        if scorer == "structure" and setting in ("S1", "S2", "S2_history", "alone")
    }


def strata_shares(ranks: StepRanks) -> dict[str, float]:
    """Share of targets in each stratum of their training counts."""
    parts = ranks.parts()
    return {f"share_{name}": float(parts[name].mean()) for name in STRATA}


def _spearman(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    first, second = device_cues.average_ranks(a), device_cues.average_ranks(b)
    return float(device_cues.correlation(first, second))
