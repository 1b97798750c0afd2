"""The stages that train the text student, and read every anchor's abstract with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import device_runtime.student
from shared.abstract_form import AbstractForm
from shared.interactions import InteractionLog
from shared.profile import DeviceProfile
from shared.progress import Progress
from shared.text_student import StudentWeights
from training.backbone.fit import TrainedBackbone
from training.semantic.anchors import Anchors, merge
from training.semantic.held_out import HeldOut
from training.stages.forms import MATRIX, Saved, load_arrays, save_arrays
from training.stages.projector import ENCODING, Encode
from training.stages.stage import Stage, threaded
from training.stages.texts import WRITING
from training.steps import TrainingSteps
from training.student.bags import every_training_step, student_bags
from training.student.fit import FittedStudent, StudentOptions, fit_student
from training.student.judge import StudentJudge

Vectors = NDArray[np.float32]
_WEIGHTS = ("codes", "scale", "bias")


def _save(fitted: FittedStudent, folder: Path) -> None:
    arrays = {name: getattr(fitted.weights, name) for name in _WEIGHTS}
    values = {k: v for k, v in vars(fitted).items() if k not in ("weights", "vectors")}
    values["out_scale"] = fitted.weights.out_scale
    save_arrays(folder, {**arrays, "vectors": fitted.vectors}, values)


def _load(folder: Path) -> FittedStudent:
    arrays, values = load_arrays(folder)
    weights = StudentWeights(
        codes=arrays["codes"],
        scale=arrays["scale"],
        bias=arrays["bias"],
        out_scale=values.pop("out_scale"),
    )
    return FittedStudent(weights=weights, vectors=arrays["vectors"], **values)


STUDENT: Saved[FittedStudent] = Saved(_save, _load)


def student_stage(
    log: InteractionLog,
    steps: TrainingSteps,
    encode: Encode,
    options: StudentOptions,
    form: AbstractForm,
    profile: DeviceProfile,
    *,
    backbone: Stage[TrainedBackbone],
    seed: int,
    threads: int,
) -> Stage[FittedStudent]:
    """The device's own reader of its abstracts, and with it the items' semantic vectors.

    It comes before the cloud's projector: it may learn from every training step, the projector
    only from those whose abstracts were paid for.

    Args:
        log: all that writers may read, see ``told_to_writers``.
    """

    def fit(progress: Progress, trained: TrainedBackbone) -> FittedStudent:
        requests = encode(trained, progress)
        every = every_training_step(steps.split)
        bags = student_bags(log, merge(every, steps.anchors), form, profile, rows=options.rows)
        return fit_student(
            bags,
            requests,
            bags.anchors.find(every.user, every.tau),
            steps.validation_rows(),
            options,
            seed=seed,
            threads=threads,
            progress=progress,
        )

    return Stage(
        name="student",
        options=(options, form, _of(profile), seed, threads),
        inputs={"log": log, "steps": steps},
        upstream=(backbone,),
        code=(student_stage, *FITTING, student_bags, *ENCODING, *WRITING, *READING),
        build=threaded(fit),
        form=STUDENT,
    )


def words_stage(
    log: InteractionLog,
    anchors: Anchors,
    form: AbstractForm,
    profile: DeviceProfile,
    student: Stage[FittedStudent],
) -> Stage[Vectors]:
    """[A, d] e_text at every one of ``anchors``."""

    def read(progress: Progress, fitted: FittedStudent) -> Vectors:
        rows = len(fitted.weights.codes)
        return fitted.embed(student_bags(log, anchors, form, profile, rows=rows))

    return Stage(
        name="words",
        options=(form, _of(profile)),
        inputs={"log": log, "anchors": anchors},
        upstream=(student,),
        code=(words_stage, student_bags, *FITTING, *WRITING, *READING),
        build=threaded(read),
        form=MATRIX,
    )


READING = (device_runtime.student,)
FITTING = (fit_student, StudentJudge, HeldOut)


def _of(profile: DeviceProfile) -> dict[str, object]:
    """What of a profile decides what its devices read."""
    return profile.model_dump(include={"window", "retain"})
