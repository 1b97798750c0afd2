"""Networks as ONNX: batch dynamic, history length dynamic, float32."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from shared.errors import BundleError
from training.encoders.base import Encoder
from training.encoders.candidate_scorer import CandidateScorer
from training.encoders.recurrence import onnx_translations

MAX_BATCH = 1 << 20
# The exporter bakes in any size that is 1 in the example.
EXAMPLE_BATCH = 3
EXAMPLE_LENGTH = 5


@dataclass(frozen=True)
class Graph:
    """Input and output names of one ONNX file; they are its contract with the device."""

    file: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


ENCODER = Graph(
    "encoder.onnx",
    ("item_vectors", "age_hours", "event_hour", "request_hour"),
    ("e_str", "copy_logit"),
)
SCORER = Graph("scorer.onnx", ("history", "candidates"), ("scores",))
PROJECTOR = Graph("projector.onnx", ("text",), ("e_sem",))


def estimator_graph(inputs: Sequence[str]) -> Graph:
    """The graph of an estimator that reads ``inputs``, in this order."""
    return Graph("estimator.onnx", tuple(inputs), ("r",))


def calibrator_graph(inputs: Sequence[str]) -> Graph:
    """The graph of a calibrator that reads ``inputs``, in this order."""
    return Graph("calibrator.onnx", tuple(inputs), ("v",))


def export_encoder(model: Encoder) -> bytes:
    """encoder.onnx: item_vectors [B, L, d], age_hours and event_hour [B, L], request_hour [B]."""
    window, d = model.config.window, model.config.dim
    B, L = EXAMPLE_BATCH, min(EXAMPLE_LENGTH, window)
    batch = torch.export.Dim("B", min=1, max=MAX_BATCH)
    both: dict[int, object] = {0: batch}
    if window > 1:  # a window of one event has a fixed length
        both[1] = torch.export.Dim("L", min=1, max=window)
    # Only shapes and types of an example count; zeros keep the caller's random state untouched.
    example = (torch.zeros(B, L, d), torch.zeros(B, L), torch.zeros(B, L), torch.zeros(B))
    return export_graph(model, ENCODER, example, (both, both, both, {0: batch}))


def export_candidate_scorer(model: CandidateScorer) -> bytes:
    """scorer.onnx: history [B, L, d] and candidates [B, C, d] -> scores [B, C]."""
    window, d = model.config.window, model.config.dim
    B, L, C = EXAMPLE_BATCH, min(EXAMPLE_LENGTH, window), 2 * EXAMPLE_BATCH + 1
    batch = torch.export.Dim("B", min=1, max=MAX_BATCH)
    history: dict[int, object] = {0: batch}
    if window > 1:
        history[1] = torch.export.Dim("L", min=1, max=window)
    candidates = {0: batch, 1: torch.export.Dim("C", min=1, max=MAX_BATCH)}
    example = (torch.zeros(B, L, d), torch.zeros(B, C, d))
    return export_graph(model, SCORER, example, (history, candidates))


def export_rows(module: nn.Module, graph: Graph, widths: Sequence[int]) -> bytes:
    """A network over rows: every input is [B, width]."""
    batch = torch.export.Dim("B", min=1, max=MAX_BATCH)
    example = tuple(torch.zeros(EXAMPLE_BATCH, width) for width in widths)
    return export_graph(module, graph, example, tuple({0: batch} for _ in widths))


def export_graph(
    module: nn.Module, graph: Graph, example: tuple[Tensor, ...], dynamic: tuple[object, ...]
) -> bytes:
    """Export in eval mode; raises BundleError naming the graph when torch cannot."""
    module.eval()
    try:
        with _quiet():
            program = torch.onnx.export(
                module,
                example,
                input_names=list(graph.inputs),
                output_names=list(graph.outputs),
                dynamic_shapes=dynamic,
                custom_translation_table=onnx_translations(),
                dynamo=True,
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        raise BundleError(f"{graph.file} could not be exported: {error}") from error
    if program is None:
        raise BundleError(f"{graph.file} could not be exported: the exporter returned nothing")
    data: bytes = program.model_proto.SerializeToString()
    return data


@contextmanager
def _quiet() -> Iterator[None]:
    """Without remarks on packages we do not use and on dimensions that share a name."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
