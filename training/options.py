"""What each part of training takes from the settings."""

from __future__ import annotations

from training.backbone.fit import BackboneOptions, Cycle
from training.backbone.objective import RepeatPolicy
from training.calibration.options import CalibrationOptions
from training.calibration_method import CalibrationMethod
from training.encoders.base import EncoderConfig
from training.encoders.choice import CONFIGS
from training.encoders.size import EncoderSize
from training.fusion.fit import FusionOptions, kept_by
from training.semantic.projector import ProjectorOptions
from training.settings import Recipe
from training.student.fit import StudentOptions

FULL_SOFTMAX_ITEMS = 20_000  # beyond, the backbone's loss samples its negatives
SAMPLED_NEGATIVES = 1024
# Longest window before the warm restart, which trains at the profile's own.
CURRICULUM_WINDOW = 50


def encoder_config(settings: Recipe, *, has_time: bool) -> EncoderConfig:
    options = settings.training
    return CONFIGS[options.backbone](
        **{name: getattr(options, name) for name in EncoderSize.model_fields},
        window=settings.profile.window,
        has_time=has_time,
    )


def backbone_options(settings: Recipe, policy: RepeatPolicy, n_items: int) -> BackboneOptions:
    options = settings.training
    first = Cycle(epochs=options.epochs, learning_rate=options.learning_rate)
    cycles = [first]
    if options.restart_epochs:
        narrow = min(CURRICULUM_WINDOW, settings.profile.window)
        cycles = [first.model_copy(update={"window": narrow})]
        rate = options.learning_rate / 2
        cycles.append(Cycle(epochs=options.restart_epochs, learning_rate=rate))
    return BackboneOptions(
        cycles=tuple(cycles),
        batch_windows=options.batch_windows,
        negatives=None if n_items <= FULL_SOFTMAX_ITEMS else SAMPLED_NEGATIVES,
        repeat_policy=policy,
    )


def projector_options(settings: Recipe, policy: RepeatPolicy) -> ProjectorOptions:
    options = settings.training
    return ProjectorOptions(
        epochs=options.semantic_epochs,
        dropout=options.dropout,
        horizon=options.horizon,
        # A text student's vectors are taken as they are, or it could not be scored by them.
        own_vectors=options.semantic_vectors == "own" and not options.text_student,
        exclude_seen=policy == "exclude",
    )


def student_options(settings: Recipe, policy: RepeatPolicy) -> StudentOptions:
    return StudentOptions(
        own_vectors=settings.training.semantic_vectors == "own", exclude_seen=policy == "exclude"
    )


def fusion_options(settings: Recipe, policy: RepeatPolicy) -> FusionOptions:
    return FusionOptions(
        own_counts=settings.training.own_counts,
        kept=kept_by(settings.profile),
        exclude_seen=policy == "exclude",
    )


def calibration_options(settings: Recipe, policy: RepeatPolicy) -> CalibrationOptions:
    options = settings.training
    return CalibrationOptions(
        **{name: getattr(options, name) for name in CalibrationMethod.model_fields},
        epochs=options.calibration_epochs,
        dropout=options.dropout,
        candidates=settings.cloud.candidates,
        window=settings.profile.window,
        unite_history=settings.profile.unite_history,
        exclude_seen=policy == "exclude",
    )


def gate_options(settings: Recipe, policy: RepeatPolicy) -> CalibrationOptions:
    """A learned fusion weight with the calibrator's architecture, inputs and label (RQ5)."""
    return calibration_options(settings, policy).model_copy(
        update={"residual": False, "gate": True, "estimator": "none", "age_rules": False}
    )
