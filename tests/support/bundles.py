"""Tiny real bundles: random ONNX graphs with the shapes of the contracts, made in milliseconds."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from device_runtime.refresh.quadratic_gain import FEATURES
from shared.bundle import (
    ARRAY_FILES,
    CATALOGUE_FILE,
    FIXED_TEXTS_FILE,
    REFRESH_FILE,
    SEMANTIC_FILE,
    AgeRule,
    Bundle,
    CalibrationSpec,
    EmbedderIdentity,
    Manifest,
    encode_array,
    encode_catalogue,
    write_bundle,
)
from shared.fixed_texts import FixedTexts, encode_fixed_texts
from shared.interactions import Catalogue
from shared.item_files import device_tables
from shared.own_score import OwnCounts, TextStudentSpec
from shared.profile import DeviceProfile
from shared.refresh_file import GainCoefficients, RefreshKnowledge, encode_refresh
from shared.text_student import STUDENT_FILE, StudentWeights, encode_student, pack_student

Float32 = NDArray[np.float32]
N_CUES = 8
CALIBRATOR_INPUTS = ("e_sem", "e_str", "e_str_tau", "recent", "cues")


def make_bundle(
    path: Path,
    *,
    n_items: int = 50,
    dim: int = 8,
    window: int = 10,
    text_dim: int = 16,
    seed: int = 0,
    repeat_policy: Literal["allow", "exclude"] = "allow",
    has_time: bool = True,
    profile: DeviceProfile | None = None,
    calibrator_inputs: Sequence[str] = CALIBRATOR_INPUTS,
    rules: tuple[AgeRule, ...] = (AgeRule(from_delta=0),),
    refresh: RefreshKnowledge | None = None,
    fixed: FixedTexts | None = None,
    embedder: EmbedderIdentity | None = None,
    semantic_vectors: Literal["shared", "own"] = "shared",
    own_counts: OwnCounts | None = None,
    text_student: TextStudentSpec | None = None,
) -> Bundle:
    """Write a bundle of random weights to ``path``; same arguments, same bundle id.

    The profile is the default one with ``window``, or ``profile`` as it is.
    Its embedder is the hashing one with ``text_dim`` dimensions (``hashing-<text_dim>``), or
    ``embedder``; it keeps no vectors of fixed texts, or those of ``fixed``.
    """
    rng = np.random.default_rng(seed)

    def normal(*shape: int, scale: float = 1.0) -> Float32:
        return (scale * rng.standard_normal(shape)).astype(np.float32)

    profile = profile or DeviceProfile(window=window)
    sizes = {name: N_CUES if name == "cues" else dim for name in calibrator_inputs}
    files = {
        "encoder.onnx": _encoder(dim, normal(dim, scale=0.5), normal(dim, dim, scale=0.7)),
        "estimator.onnx": _estimator(normal(N_CUES, 1, scale=0.3)),
        "calibrator.onnx": _calibrator(sizes, normal(sum(sizes.values()), dim, scale=0.4)),
        "projector.onnx": _projector(normal(text_dim, dim), normal(dim, scale=0.1)),
        "item_vectors.npy": encode_array(normal(n_items, dim, scale=0.5)),
        "item_bias.npy": encode_array(normal(n_items, scale=0.1)),
        "item_popularity.npy": encode_array(
            rng.integers(1, 100, n_items).astype(np.float32),
        ),
        CATALOGUE_FILE: encode_catalogue(make_catalogue(n_items)),
    }
    if refresh is not None:
        files[REFRESH_FILE] = encode_refresh(refresh)
    if fixed is not None:
        files[FIXED_TEXTS_FILE] = encode_fixed_texts(fixed)
    semantic = None
    if semantic_vectors == "own":
        # Drawn apart, so that all else is as in the bundle without them.
        apart = np.random.default_rng([seed, 1])
        semantic = (0.5 * apart.standard_normal((n_items, dim))).astype(np.float32)
        files[SEMANTIC_FILE] = encode_array(semantic)
    if text_student is not None:
        files[STUDENT_FILE] = encode_student(_student(text_student.rows, dim, seed))
    arrays = (decode_array(files[name]) for name in ARRAY_FILES)
    files |= device_tables(profile, *arrays, semantic)
    manifest = Manifest(
        scalrec="0.1.0",
        created="2024-01-01T00:00:00Z",
        log="test",
        n_items=n_items,
        dim=dim,
        profile=profile,
        embedder=embedder
        or EmbedderIdentity(
            backend="hashing", model=f"hashing-{text_dim}", pooling="MEAN", dim=text_dim
        ),
        backbone="random",
        has_time=has_time,
        repeat_policy=repeat_policy,
        fusion_weight=0.5,
        candidates=min(20, n_items),
        calibration=CalibrationSpec(gamma_max=2.0, top_l=min(20, n_items), rules=rules),
        semantic_vectors=semantic_vectors,
        own_counts=own_counts,
        text_student=text_student,
    )
    return write_bundle(path, manifest, files)


def random_gain(seed: int = 0) -> GainCoefficients:
    """A gain model that heeds every feature, to no purpose."""
    count = len(FEATURES)
    weights = np.random.default_rng(seed).standard_normal(1 + count + count * (count + 1) // 2)
    return GainCoefficients(
        features=FEATURES,
        low=(-50.0,) * count,
        high=(50.0,) * count,
        mean=(0.5,) * count,
        scale=(0.2,) * count,
        weights=tuple(weights.tolist()),
    )


def decode_array(data: bytes) -> Float32:
    """The array of an .npy file's bytes."""
    array: Float32 = np.load(io.BytesIO(data), allow_pickle=False)
    return array


def make_catalogue(n_items: int) -> Catalogue:
    """Items with distinct titles and one of four categories."""
    kinds = ("Drama", "Comedy", "Thriller", "Documentary")
    return Catalogue(
        ids=tuple(f"raw-id-{i}" for i in range(n_items)),
        titles=tuple(f"Title {i}" for i in range(n_items)),
        categories=tuple((kinds[i % 4],) for i in range(n_items)),
        areas=("",) * n_items,
        texts=tuple(f"Title {i}: {kinds[i % 4]}" for i in range(n_items)),
    )


def _student(rows: int, dim: int, seed: int) -> StudentWeights:
    """Random rows whose sums are as long as other vectors here; drawn apart, like ``semantic``."""
    apart = np.random.default_rng([seed, 2])
    table = apart.standard_normal((rows, dim)).astype(np.float32)
    return pack_student(table, np.linspace(-0.2, 0.2, dim, dtype=np.float32), 0.5)


def _encoder(dim: int, query: Float32, weight: Float32) -> bytes:
    """Attention pooling whose logits, also the copy logits, know content, age, hour and order."""
    return _model(
        {
            "item_vectors": ["B", "L", dim],
            "age_hours": ["B", "L"],
            "event_hour": ["B", "L"],
            "request_hour": ["B"],
        },
        {"e_str": ["B", dim], "copy_logit": ["B", "L"]},
        {
            "query": query,
            "weight": weight,
            "age_weight": np.float32(-0.01),
            "hour_weight": np.float32(2 * np.pi / 168),
            "order_weight": np.float32(0.05),
            "zero": np.float32(0),
            "axis": np.int64(1),
            "axes": np.array([1], dtype=np.int64),
        },
        [
            helper.make_node("MatMul", ["item_vectors", "query"], ["content"]),
            helper.make_node("Mul", ["age_hours", "age_weight"], ["age"]),
            helper.make_node("Unsqueeze", ["request_hour", "axes"], ["request"]),
            helper.make_node("Sub", ["event_hour", "request"], ["hours_apart"]),
            helper.make_node("Mul", ["hours_apart", "hour_weight"], ["angle"]),
            helper.make_node("Cos", ["angle"], ["hour"]),
            helper.make_node("Mul", ["age_hours", "zero"], ["zeros"]),
            helper.make_node("Exp", ["zeros"], ["ones"]),
            helper.make_node("CumSum", ["ones", "axis"], ["position"]),
            helper.make_node("Mul", ["position", "order_weight"], ["order"]),
            helper.make_node("Sum", ["content", "age", "hour", "order"], ["copy_logit"]),
            helper.make_node("Softmax", ["copy_logit"], ["attention"], axis=1),
            helper.make_node("Unsqueeze", ["attention", "axes"], ["attention_row"]),
            helper.make_node("MatMul", ["attention_row", "item_vectors"], ["pooled_row"]),
            helper.make_node("Squeeze", ["pooled_row", "axes"], ["pooled"]),
            helper.make_node("MatMul", ["pooled", "weight"], ["mixed"]),
            helper.make_node("Tanh", ["mixed"], ["e_str"]),
        ],
    )


def _estimator(weight: Float32) -> bytes:
    return _model(
        {"cues": ["B", N_CUES]},
        {"r": ["B"]},
        {
            "mean": np.array([5, 1, 0, 2, 0.5, 3, 0.5, 0.5], dtype=np.float32),
            "scale": np.array([5, 1, 1, 1, 0.5, 2, 0.5, 0.5], dtype=np.float32),
            "weight": weight,
            "axes": np.array([1], dtype=np.int64),
        },
        [
            helper.make_node("Sub", ["cues", "mean"], ["centred"]),
            helper.make_node("Div", ["centred", "scale"], ["normal"]),
            helper.make_node("MatMul", ["normal", "weight"], ["logit_column"]),
            helper.make_node("Squeeze", ["logit_column", "axes"], ["logit"]),
            helper.make_node("Sigmoid", ["logit"], ["r"]),
        ],
    )


def _calibrator(sizes: Mapping[str, int], weight: Float32) -> bytes:
    dim = weight.shape[1]
    return _model(
        {name: ["B", size] for name, size in sizes.items()},
        {"v": ["B", dim]},
        {"weight": weight, "bias": np.linspace(-1, 1, dim, dtype=np.float32)},
        [
            helper.make_node("Concat", list(sizes), ["all"], axis=1),
            helper.make_node("Gemm", ["all", "weight", "bias"], ["v"]),
        ],
    )


def _projector(weight: Float32, bias: Float32) -> bytes:
    return _model(
        {"text": ["B", weight.shape[0]]},
        {"e_sem": ["B", weight.shape[1]]},
        {"weight": weight, "bias": bias},
        [helper.make_node("Gemm", ["text", "weight", "bias"], ["e_sem"])],
    )


def _model(
    inputs: Mapping[str, Sequence[str | int]],
    outputs: Mapping[str, Sequence[str | int]],
    constants: Mapping[str, NDArray[np.generic] | np.generic],
    nodes: Sequence[onnx.NodeProto],
) -> bytes:
    graph = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs.items()],
        [numpy_helper.from_array(np.asarray(v), name=n) for n, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString()
    return data
