from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from cloud_service.embedding.hashing import HashingEmbedder
from device_runtime.state.cues import CUES
from scalrec.settings import Settings, load_settings
from shared.bundle import ONNX_FILES, Bundle, load_bundle
from shared.errors import BundleError
from shared.fixed_texts import TEXTS, read_fixed_texts
from tests.support.logs import drifting_log
from tests.support.tiers import first_quick
from training.calibration.networks import CONTEXT_INPUTS, PAPER_INPUTS, Calibrator, Estimator
from training.encoders.sasrec import SASRec, SASRecConfig
from training.export.export import calibration_graphs, export_bundle
from training.export.onnx_graphs import estimator_graph, export_encoder, export_rows
from training.export.parity import BATCH_SIZES, check_parity
from training.train import train
from training.trained import TrainedModel

WINDOW = 6
CREATED = "2024-05-01T00:00:00Z"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("export")
    return load_settings(
        work_dir=folder / "runs",
        cache=folder / "cache",
        profile={"window": WINDOW, "local_candidates": 0},
        cloud={"candidates": 10},
        training={
            "dim": 16, "epochs": 1, "restart_epochs": 0, "test_steps": 2, "abstracts_per_user": 6,
            "semantic_epochs": 1, "calibration_epochs": 1, "top_l": 5, "threads": 1,
        },
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained(settings: Settings) -> TrainedModel:
    model = asyncio.run(train(settings, drifting_log(), HashingEmbedder(32)))
    # A radius that binds, whether or not one epoch helped: parity must cover the correction.
    residual = model.calibration.calibrator.residual
    assert residual is not None
    with torch.no_grad():
        residual.weight.normal_(generator=torch.Generator().manual_seed(0))
    # And semantics that count, which so little training may well leave out.
    fusion = model.fusion.model_copy(update={"fusion_weight": 0.8})
    return replace(model, fusion=fusion, calibration=replace(model.calibration, gamma_max=2.0))


@pytest.fixture(scope="module")
def bundle(
    trained: TrainedModel, settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Bundle:
    destination = tmp_path_factory.mktemp("bundles") / "bundle"
    return export_bundle(trained, destination, settings, created=CREATED, version="1.2.3")


@pytest.fixture(scope="module")
def graphs(bundle: Bundle) -> dict[str, bytes]:
    return {name: bundle.file(name).read_bytes() for name in ONNX_FILES}


def test_bundle_loads_and_says_what_it_is(bundle: Bundle, trained: TrainedModel) -> None:
    loaded = load_bundle(bundle.path)
    manifest = loaded.manifest
    assert loaded.id == bundle.id
    assert (manifest.dim, manifest.n_items) == (16, len(trained.log.catalogue))
    assert manifest.created == CREATED
    assert manifest.scalrec == "1.2.3"
    assert manifest.profile.window == WINDOW
    assert manifest.embedder == trained.embedder
    assert manifest.repeat_policy == "allow"
    assert manifest.has_time
    assert manifest.candidates == 10
    assert manifest.calibration.top_l == 5
    assert manifest.calibration.gamma_max == 2.0
    assert manifest.calibration.cues == CUES
    assert manifest.calibration.rules == trained.calibration.rules
    assert manifest.fusion_weight == trained.fusion.fusion_weight
    assert manifest.own_counts == trained.fusion.counts
    assert manifest.semantic_vectors == "own"
    assert trained.projector.vectors is not None
    np.testing.assert_array_equal(loaded.semantic_vectors(), trained.projector.vectors.numpy())
    assert (manifest.text_student is None) == (trained.fusion.text_weight == 0.0)
    assert manifest.training["parity_cases"] == WINDOW * len(BATCH_SIZES)
    assert manifest.training["parity_max_score_difference"] <= 1e-5
    assert trained.figures.items() <= manifest.training.items()
    np.testing.assert_array_equal(
        loaded.array("item_vectors.npy"), trained.backbone.table.vectors.detach().numpy()
    )
    np.testing.assert_array_equal(loaded.array("item_popularity.npy"), trained.popularity)
    assert loaded.catalogue() == trained.log.catalogue


async def test_bundle_keeps_what_the_text_model_makes_of_fixed_texts(bundle: Bundle) -> None:
    fixed = read_fixed_texts(bundle)
    assert fixed is not None
    embedder = HashingEmbedder(bundle.manifest.embedder.dim)
    assert fixed.texts == TEXTS
    np.testing.assert_array_equal(fixed.vectors, await embedder.embed(TEXTS))


def test_same_network_same_bytes(trained: TrainedModel) -> None:
    estimator = trained.calibration.estimator
    graph = estimator_graph(estimator.inputs)
    assert export_rows(estimator, graph, [8]) == export_rows(estimator, graph, [8])


def test_graphs_keep_the_contract(graphs: dict[str, bytes], trained: TrainedModel) -> None:
    shapes = {}
    for name, data in graphs.items():
        model = onnx.load_from_string(data)
        onnx.checker.check_model(model, full_check=True)
        for value in [*model.graph.input, *model.graph.output]:
            tensor = value.type.tensor_type
            assert tensor.elem_type == onnx.TensorProto.FLOAT
            dims = tuple(d.dim_param or d.dim_value for d in tensor.shape.dim)
            shapes[name.removesuffix(".onnx"), value.name] = dims
    words = {("calibrator", "e_text"): ("B", 16)} if trained.fusion.text_weight else {}
    assert shapes == words | {
        ("encoder", "item_vectors"): ("B", "L", 16),
        ("encoder", "age_hours"): ("B", "L"),
        ("encoder", "event_hour"): ("B", "L"),
        ("encoder", "request_hour"): ("B",),
        ("encoder", "e_str"): ("B", 16),
        ("encoder", "copy_logit"): ("B", "L"),
        ("estimator", "cues"): ("B", 8),
        ("estimator", "r"): ("B",),
        ("calibrator", "e_sem"): ("B", 16),
        ("calibrator", "e_str"): ("B", 16),
        ("calibrator", "e_str_tau"): ("B", 16),
        ("calibrator", "recent"): ("B", 16),
        ("calibrator", "cues"): ("B", 8),
        ("calibrator", "v"): ("B", 16),
        ("projector", "text"): ("B", 32),
        ("projector", "e_sem"): ("B", 16),
    }


@pytest.mark.parametrize("inputs", first_quick([(CONTEXT_INPUTS,), (PAPER_INPUTS,)]))
@pytest.mark.parametrize(
    ("gate", "residual"), first_quick([(True, True), (True, False), (False, True)])
)
def test_parity_holds_for_every_kind_of_calibrator(
    trained: TrainedModel,
    graphs: dict[str, bytes],
    inputs: tuple[str, ...],
    gate: bool,
    residual: bool,
) -> None:
    torch.manual_seed(0)
    calibrator = Calibrator(16, inputs, gate=gate, residual=residual)
    for layer in (calibrator.gate, calibrator.residual):
        if layer is not None:
            torch.nn.init.normal_(layer.weight)
    parts = [torch.randn(50, 8 if name == "cues" else 16) * 3 + 1 for name in inputs]
    calibrator.fit_normaliser(parts)
    model = replace(trained, calibration=replace(trained.calibration, calibrator=calibrator.eval()))
    own = calibration_graphs(model.calibration, 16)
    read = [i.name for i in onnx.load_from_string(own["calibrator.onnx"]).graph.input]
    assert read == list(inputs)
    assert check_parity(model, graphs | own).max_score_difference <= 1e-5


@pytest.mark.parametrize("inputs", first_quick([(PAPER_INPUTS,), (CONTEXT_INPUTS,)]))
def test_parity_holds_for_an_estimator_that_reads_words(
    trained: TrainedModel, graphs: dict[str, bytes], inputs: tuple[str, ...]
) -> None:
    torch.manual_seed(0)
    estimator = Estimator(words=True).eval()
    parts = torch.randn(50, 8) * 3 + 1, torch.randn(50, 16), torch.randn(50, 16)
    estimator.fit_normaliser(*parts)
    calibration = replace(
        trained.calibration, estimator=estimator, calibrator=Calibrator(16, inputs).eval()
    )
    model = replace(trained, calibration=calibration)
    own = graphs | calibration_graphs(calibration, 16)
    read = [i.name for i in onnx.load_from_string(own["estimator.onnx"]).graph.input]
    assert read == ["cues", "e_sem", "e_text"]
    assert check_parity(model, own).max_score_difference <= 1e-5
    with pytest.raises(BundleError, match="scores by"):
        check_parity(model, own | {"estimator.onnx": graphs["estimator.onnx"]})


def test_parity_covers_every_length_and_several_batches(
    trained: TrainedModel, graphs: dict[str, bytes]
) -> None:
    report = check_parity(trained, graphs)
    assert report.lengths == WINDOW
    assert report.cases == WINDOW * 4
    assert 0 <= report.max_score_difference <= 1e-5


@pytest.mark.parametrize(
    "name", ["encoder.onnx", "projector.onnx", "estimator.onnx", "calibrator.onnx"]
)
def test_a_graph_that_differs_is_refused_with_the_worst_case(
    trained: TrainedModel, graphs: dict[str, bytes], name: str
) -> None:
    model = onnx.load_from_string(graphs[name])
    weight = max(model.graph.initializer, key=lambda w: len(w.raw_data))
    values = onnx.numpy_helper.to_array(weight).copy()
    values += 0.01 * np.random.default_rng(0).standard_normal(values.shape).astype(np.float32)
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    altered = graphs | {name: model.SerializeToString()}
    with pytest.raises(BundleError, match=r"scores by .* at history length \d+, batch size \d"):
        check_parity(trained, altered)


def test_a_graph_that_is_none_is_refused(trained: TrainedModel, graphs: dict[str, bytes]) -> None:
    with pytest.raises(BundleError, match=r"estimator.onnx is refused"):
        check_parity(trained, graphs | {"estimator.onnx": b"not a graph"})


def test_nothing_is_written_when_the_model_is_unusable(
    trained: TrainedModel, settings: Settings, tmp_path: Path
) -> None:
    popularity = trained.popularity.copy()
    popularity[0] = np.nan
    broken = replace(trained, popularity=popularity)
    with pytest.raises(BundleError, match="item_popularity"):
        export_bundle(broken, tmp_path / "bundle", settings, created=CREATED, version="1")
    assert list(tmp_path.iterdir()) == []


def test_export_leaves_the_callers_random_state_alone(trained: TrainedModel) -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    export_rows(trained.calibration.estimator, estimator_graph(("cues",)), [8])
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize(("window", "has_time"), first_quick([(3, False), (1, True)]))
def test_small_windows_and_logs_without_times_export(window: int, has_time: bool) -> None:
    model = SASRec(SASRecConfig(dim=8, layers=1, window=window, has_time=has_time)).eval()
    session = onnxruntime.InferenceSession(export_encoder(model))
    for length in range(1, window + 1):
        inputs = {
            "item_vectors": torch.rand(2, length, 8),
            "age_hours": torch.rand(2, length),
            "event_hour": torch.rand(2, length),
            "request_hour": torch.rand(2),
        }
        feeds = {i.name: inputs[i.name].numpy() for i in session.get_inputs()}
        with torch.no_grad():
            expected = model(*inputs.values())
        for ours, theirs in zip(session.run(None, feeds), expected, strict=True):
            np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-5)
