"""Parity: the exported graphs, run by onnxruntime, against the torch modules they came from.

Compared are a device's *final scores* of all items, the whole chain of them: history -> e_str and
copy logits, text -> e_sem, cues -> r, proposal -> bounded correction -> fused score. The arithmetic
between the graphs is the same float64 code on both sides, so that only the graphs can differ; age
rules, which are no graph, are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from shared.errors import BundleError
from shared.packed import pack
from shared.profile import DeviceProfile
from shared.progress import NullProgress, Progress
from training.calibration.networks import EPS, N_CUES, WORDS_INPUT
from training.encoders.time_features import HOURS_PER_WEEK
from training.trained import TrainedModel

BATCH_SIZES = (1, 2, 3, 7)
TOLERANCE = 1e-5
TOP = 10
PACKED_REQUESTS = 64

Arrays = Mapping[str, NDArray[Any]]
Float = NDArray[np.float64]


@dataclass(frozen=True)
class ParityReport:
    """What was compared, and the worst that was found."""

    cases: int
    lengths: int
    max_score_difference: float
    max_output_difference: float
    worst_length: int
    worst_batch: int

    def figures(self) -> dict[str, float | int]:
        return {f"parity_{name}": value for name, value in vars(self).items()}


def check_parity(
    trained: TrainedModel,
    graphs: Mapping[str, bytes],
    progress: Progress | None = None,
    *,
    seed: int = 0,
) -> ParityReport:
    """Compare at every history length 1 .. window and every batch size of BATCH_SIZES.

    Histories are drawn from the catalogue by popularity, with ages over the range that logs have.

    Raises:
        BundleError: final scores differ by more than TOLERANCE, or the top TOP differ by more than
            an exchange of items whose scores lie within it; the message names the worst case.
    """
    window = trained.backbone.model.config.window
    pair = _Implementations(trained, graphs)
    rng = np.random.default_rng(seed)
    worst, output, at, cases = 0.0, 0.0, (1, 1), 0
    with (progress or NullProgress()).task("checking ONNX against torch", window) as task:
        for length in range(1, window + 1):
            for batch in BATCH_SIZES:
                inputs = _draw_inputs(trained, rng, batch, length)
                reference, exported = pair.run_torch(inputs), pair.run_onnx(inputs)
                output = max(output, _largest_output_difference(reference, exported))
                expected, scores = pair.scores(inputs, reference), pair.scores(inputs, exported)
                difference = float(np.abs(expected - scores).max())
                _require(difference, expected, scores, length, batch)
                if difference > worst:
                    worst, at = difference, (length, batch)
                cases += 1
            task.advance()
    return ParityReport(
        cases=cases,
        lengths=window,
        max_score_difference=worst,
        max_output_difference=output,
        worst_length=at[0],
        worst_batch=at[1],
    )


@torch.no_grad()
def packed_agreement(
    trained: TrainedModel, profile: DeviceProfile, *, seed: int = 0
) -> dict[str, float]:
    """How near a device that holds packed vectors comes to float32; empty where it holds float32.

    Both sides are torch, with full windows; only the vectors and biases differ.

    Returns:
        ``packed_top10_overlap``, mean share of the float32 top 10 that is in the packed one, and
        ``packed_max_score_difference`` of final scores.
    """
    if profile.table == "float32":
        return {}
    exact, packed = _Implementations(trained, {}), _Implementations(trained, {})
    d = exact.vectors.shape[1]
    rows, bias = pack(exact.vectors, exact.bias.astype(np.float32), exact.own_semantic).unpack()
    packed.vectors, packed.semantic = rows[:, :d], rows[:, -d:]
    packed.bias = bias.astype(np.float64)
    window = trained.backbone.model.config.window
    inputs = _draw_inputs(trained, np.random.default_rng(seed), PACKED_REQUESTS, window)
    expected, found = (side.scores(inputs, side.run_torch(inputs)) for side in (exact, packed))
    tops = (np.argsort(-scores, axis=1, kind="stable")[:, :TOP] for scores in (expected, found))
    shared = [len(np.intersect1d(*pair)) for pair in zip(*tops, strict=True)]
    return {
        "packed_top10_overlap": float(np.mean(shared)) / min(TOP, expected.shape[1]),
        "packed_max_score_difference": float(np.abs(expected - found).max()),
    }


class _Implementations:
    """Both implementations of a bundle's networks."""

    def __init__(self, trained: TrainedModel, graphs: Mapping[str, bytes]) -> None:
        self.trained = trained
        self.sessions = {name: _session(name, data) for name, data in graphs.items()}
        self.vectors = trained.backbone.table.vectors.detach().numpy()
        own = trained.projector.vectors
        self.own_semantic = None if own is None else own.numpy()
        self.semantic = self.vectors if own is None else own.numpy()
        self.bias = trained.backbone.table.bias.detach().numpy().astype(np.float64)
        trained.backbone.model.eval()

    @torch.no_grad()
    def run_torch(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        given = {name: torch.from_numpy(array) for name, array in inputs.items()}
        vectors = torch.from_numpy(self.vectors)[given["item"]]
        times = (given[name] for name in ("age_hours", "event_hour", "request_hour"))
        e_str, copy_logit = self.trained.backbone.model(vectors, *times)
        e_sem = self.trained.projector.projector(given["text"])
        calibration = self.trained.calibration
        known = given | {"e_sem": e_sem, "e_str": e_str}
        r, v = (
            network(*(known[name] for name in network.inputs))
            for network in (calibration.estimator, calibration.calibrator)
        )
        named = {"e_str": e_str, "copy_logit": copy_logit, "e_sem": e_sem, "r": r, "v": v}
        return {name: tensor.numpy() for name, tensor in named.items()}

    def run_onnx(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        given = dict(inputs) | {"item_vectors": self.vectors[inputs["item"]]}
        for file in ("encoder.onnx", "projector.onnx", "estimator.onnx", "calibrator.onnx"):
            session = self.sessions[file]
            feeds = {i.name: given[i.name] for i in session.get_inputs()}
            names = [o.name for o in session.get_outputs()]
            given.update(zip(names, session.run(names, feeds), strict=True))
        return {name: given[name] for name in ("e_str", "copy_logit", "e_sem", "r", "v")}

    def scores(self, inputs: Arrays, outputs: Arrays) -> Float:
        """[B, I] fused scores after the bounded correction (SCaLRec eqs. 13-14)."""
        e_str, e_sem, v = (outputs[name].astype(np.float64) for name in ("e_str", "e_sem", "v"))
        alpha = 1.0 - outputs["r"].astype(np.float64)
        radius = self.trained.calibration.gamma_max * alpha
        lam = np.minimum(1.0, radius / (np.linalg.norm(v, axis=1) + EPS))
        e_sem = e_sem + lam[:, None] * v
        returns = np.zeros((len(e_str), len(self.bias)))
        rows = np.arange(len(e_str))[:, None]
        np.add.at(returns, (rows, inputs["item"]), np.exp(outputs["copy_logit"].astype(np.float64)))
        structural = e_str @ self.vectors.T.astype(np.float64) + self.bias + np.log1p(returns)
        semantic = e_sem @ self.semantic.T.astype(np.float64)
        scores: Float = structural + self.trained.fusion.fusion_weight * semantic
        return scores


def _draw_inputs(
    trained: TrainedModel, rng: np.random.Generator, batch: int, length: int
) -> dict[str, NDArray[Any]]:
    weights = trained.popularity.astype(np.float64) + 1.0
    item = rng.choice(len(weights), size=(batch, length), p=weights / weights.sum())
    age = np.sort(rng.exponential(10.0 ** rng.uniform(-1, 4), (batch, length)))[:, ::-1]
    hours = rng.uniform(0, HOURS_PER_WEEK, (batch, length + 1))
    projector = trained.projector.projector
    text = (
        projector.mean.numpy()
        + rng.standard_normal((batch, projector.skip.in_features)) / projector.scale.numpy()
    )
    estimator = trained.calibration.estimator
    spread = np.where(estimator.scale > 0, 1.0 / estimator.scale.clamp(min=1e-12), 1.0)
    raw = estimator.mean.numpy()[:N_CUES]
    cues = raw + rng.standard_normal((batch, N_CUES)) * spread[:N_CUES]
    drawn = {
        "age_hours": age if trained.log.time is not None else np.zeros_like(age),
        "event_hour": hours[:, :-1],
        "request_hour": hours[:, -1],
        "text": text,
        "cues": cues,
        **_draw_parts(trained, rng, batch),
    }
    arrays = {name: np.ascontiguousarray(a, dtype=np.float32) for name, a in drawn.items()}
    return arrays | {"item": item}


def _draw_parts(
    trained: TrainedModel, rng: np.random.Generator, batch: int
) -> dict[str, NDArray[Any]]:
    """What both networks know of the time since the snapshot, spread as in training."""
    calibrator = trained.calibration.calibrator
    sizes = [
        N_CUES if n == "cues" else trained.backbone.model.config.dim for n in calibrator.inputs
    ]
    ends = np.cumsum(sizes)
    drawn = {}
    for name, stop, size in zip(calibrator.inputs, ends, sizes, strict=True):
        if name in ("e_str_tau", "recent", WORDS_INPUT):
            mean, scale = (
                column.numpy()[stop - size : stop] for column in (calibrator.mean, calibrator.scale)
            )
            drawn[name] = mean + rng.standard_normal((batch, size)) / scale
    if WORDS_INPUT in trained.calibration.estimator.inputs and WORDS_INPUT not in drawn:
        # Of any length: all that an estimator takes from it is its direction.
        drawn[WORDS_INPUT] = rng.standard_normal((batch, trained.backbone.model.config.dim))
    return drawn


def _largest_output_difference(a: Arrays, b: Arrays) -> float:
    return max(float(np.abs(a[name] - b[name]).max()) for name in a)


def _require(difference: float, expected: Float, scores: Float, length: int, batch: int) -> None:
    where = f"at history length {length}, batch size {batch}"
    if not difference <= TOLERANCE:  # also when it is NaN
        raise BundleError(
            f"the exported graphs differ from torch: scores by {difference:.2e} {where}, allowed "
            f"are {TOLERANCE:.0e}; another version of torch or onnxruntime may export correctly"
        )
    top = np.argsort(-expected, axis=1, kind="stable")[:, :TOP]
    other = np.argsort(-scores, axis=1, kind="stable")[:, :TOP]
    # Items in exchanged places must be tied within the tolerance.
    rows = np.arange(len(top))[:, None]
    moved = np.abs(expected[rows, top] - expected[rows, other])
    if moved.max() > 2 * TOLERANCE:
        raise BundleError(f"the exported graphs rank another top {TOP} than torch {where}")


def _session(name: str, data: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises its own types, without a common base
        raise BundleError(f"{name} is refused by onnxruntime: {error}") from error
