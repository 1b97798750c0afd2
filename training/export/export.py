"""From a trained model to a bundle: graphs checked against torch, arrays, catalogue, manifest."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from device_runtime.state.cues import CUES
from shared.bundle import (
    CATALOGUE_FILE,
    FIXED_TEXTS_FILE,
    REFRESH_FILE,
    SEMANTIC_FILE,
    Bundle,
    CalibrationSpec,
    Manifest,
    encode_array,
    encode_catalogue,
    write_bundle,
)
from shared.errors import BundleError
from shared.fixed_texts import encode_fixed_texts
from shared.item_files import device_tables
from shared.own_score import TextStudentSpec
from shared.progress import NullProgress, Progress
from shared.refresh_file import encode_refresh
from shared.text_student import STUDENT_FILE, encode_student
from training.calibration.age_rules import UNRULED
from training.calibration.fit import FittedCalibration
from training.calibration.networks import N_CUES
from training.export import onnx_graphs
from training.export.parity import check_parity, packed_agreement
from training.generative.export import generator_files, generator_spec
from training.settings import Recipe
from training.trained import TrainedModel


def export_bundle(
    trained: TrainedModel,
    destination: Path,
    settings: Recipe,
    *,
    created: str,
    version: str,
    progress: Progress | None = None,
) -> Bundle:
    """Export, check and write; an older bundle at ``destination`` is replaced in one step.

    Args:
        settings: those the model was trained with.
        created: when, as ISO 8601 text; part of the bundle's identity.
        version: of scalrec.

    Raises:
        BundleError: an exported graph differs from torch (with the worst case), or the folder
            cannot be written. Nothing is written then.
    """
    table = trained.backbone.table
    arrays = {
        "item_vectors.npy": table.vectors.detach().numpy(),
        "item_bias.npy": table.bias.detach().numpy(),
        "item_popularity.npy": trained.popularity,
    }
    own = trained.projector.vectors
    semantic = None if own is None else own.numpy()
    if semantic is not None:
        arrays[SEMANTIC_FILE] = semantic
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise BundleError(f"{name} holds values that are not finite; train again")
    progress = progress or NullProgress()
    graphs = export_graphs(trained, progress)
    parity = check_parity(trained, graphs, progress)
    files = graphs | {name: encode_array(array) for name, array in arrays.items()}
    files |= device_tables(
        settings.profile,
        arrays["item_vectors.npy"],
        arrays["item_bias.npy"],
        arrays["item_popularity.npy"],
        semantic,
    )
    student = _student_spec(trained)
    if student is not None and trained.student is not None:
        files[STUDENT_FILE] = encode_student(trained.student.weights)
    files[CATALOGUE_FILE] = encode_catalogue(trained.log.catalogue)
    if trained.refresh is not None:
        files[REFRESH_FILE] = encode_refresh(trained.refresh)
    if trained.fixed is not None:
        files[FIXED_TEXTS_FILE] = encode_fixed_texts(trained.fixed)
    files |= generator_files(trained.generator)
    manifest = Manifest(
        scalrec=version,
        created=created,
        log=trained.log.name,
        log_terms=trained.log.terms,
        n_items=len(trained.log.catalogue),
        dim=trained.backbone.model.config.dim,
        profile=settings.profile,
        abstract=settings.abstract.form,
        embedder=trained.embedder,
        backbone=trained.backbone.model.config.backbone,
        has_time=trained.log.time is not None,
        repeat_policy=trained.repeat_policy,
        fusion_weight=trained.fusion.fusion_weight,
        candidates=settings.cloud.candidates,
        calibration=CalibrationSpec(
            gamma_max=trained.calibration.gamma_max,
            top_l=settings.training.top_l,
            cues=CUES,
            # Without validation steps there are none to choose.
            rules=trained.calibration.rules or (UNRULED,),
        ),
        semantic_vectors="shared" if semantic is None else "own",
        own_counts=trained.fusion.counts,
        text_student=student,
        generator=generator_spec(trained.generator, settings),
        collaboration=trained.collaboration,
        training={
            **trained.figures,
            **parity.figures(),
            **packed_agreement(trained, settings.profile),
        },
    )
    return write_bundle(destination, manifest, files)


def _student_spec(trained: TrainedModel) -> TextStudentSpec | None:
    """None also where validation gave the student no weight: a device need not carry it."""
    if trained.student is None or not trained.fusion.text_weight:
        return None
    rows = len(trained.student.weights.codes)
    return TextStudentSpec(rows=rows, weight=trained.fusion.text_weight)


def export_graphs(trained: TrainedModel, progress: Progress | None = None) -> dict[str, bytes]:
    """File name -> ONNX of encoder, estimator, calibrator and projector."""
    projector = trained.projector.projector
    width, dim = projector.skip.in_features, trained.backbone.model.config.dim
    with (progress or NullProgress()).task("exporting to ONNX", total=4) as task:
        graphs = {"encoder.onnx": onnx_graphs.export_encoder(trained.backbone.model)}
        task.advance()
        graphs |= calibration_graphs(trained.calibration, dim)
        task.advance(2)
        graphs["projector.onnx"] = onnx_graphs.export_rows(
            projector, onnx_graphs.PROJECTOR, [width]
        )
        task.advance()
    return graphs


def calibration_graphs(calibration: FittedCalibration, dim: int) -> dict[str, bytes]:
    """File name -> ONNX of the estimator and the calibrator, whose vectors have ``dim`` numbers."""
    graphs = {}
    for module, graph in (
        (calibration.estimator, onnx_graphs.estimator_graph(calibration.estimator.inputs)),
        (calibration.calibrator, onnx_graphs.calibrator_graph(calibration.calibrator.inputs)),
    ):
        widths = [N_CUES if name == "cues" else dim for name in graph.inputs]
        graphs[graph.file] = onnx_graphs.export_rows(module, graph, widths)
    return graphs
