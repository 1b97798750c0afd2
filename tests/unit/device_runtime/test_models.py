import numpy as np
import onnx
import pytest

from device_runtime.models import DeviceModels
from device_runtime.state.features import TimeFeatures
from shared.bundle import encode_array, write_bundle
from shared.errors import BundleError
from shared.own_score import TextStudentSpec
from shared.profile import DeviceProfile
from tests.support.bundles import make_bundle


@pytest.fixture
def bundle(tmp_path):
    return make_bundle(tmp_path / "bundle")


def with_file(bundle, path, name, content):
    files = {n: bundle.file(n).read_bytes() for n in bundle.manifest.files} | {name: content}
    return write_bundle(path, bundle.manifest, files)


def vectors(models, items):
    return models.item_vectors().of(np.array(items, dtype=np.int32))[0]


def propose(models, e_str, **given):
    known = {"e_str_tau": None, "recent": e_str, "cues": np.ones(8, np.float32)} | given
    return models.propose(e_sem=e_str, e_str=e_str, **known)


def features(n):
    ages = np.arange(n, 0, -1, dtype=np.float32)
    return TimeFeatures(ages, ages % 168, 5.0)


@pytest.mark.parametrize("length", range(1, 11))
def test_shapes_at_every_window_length(bundle, length):
    models = DeviceModels.load(bundle)
    e_str, copy_logit = models.encode(vectors(models, range(length)), features(length))
    assert e_str.shape == (8,)
    assert copy_logit.shape == (length,)
    assert e_str.dtype == copy_logit.dtype == np.float32
    assert propose(models, e_str).shape == (8,)
    assert 0.0 < models.reliability(np.zeros(8, np.float32)) < 1.0


def test_the_encoder_sees_order_age_and_hour(bundle):
    models = DeviceModels.load(bundle)
    items = np.array([3, 9, 4], dtype=np.int32)
    seen = vectors(models, items)
    reference = models.encode(seen, features(3))[0]
    older = TimeFeatures(features(3).age_hours * 9, features(3).event_hour, 5.0)
    later = TimeFeatures(features(3).age_hours, features(3).event_hour, 90.0)
    for other in (
        models.encode(seen[::-1].copy(), features(3))[0],
        models.encode(seen, older)[0],
        models.encode(seen, later)[0],
    ):
        assert not np.allclose(reference, other)


def test_popularity_order_is_stable(bundle):
    models = DeviceModels.load(bundle)
    counts = models.popular_count
    assert (np.diff(counts) <= 0).all()
    ties = np.diff(counts) == 0
    assert (np.diff(models.popular)[ties] > 0).all()


def test_a_bundle_of_another_profile_is_refused_and_the_difference_named(bundle):
    with pytest.raises(BundleError, match="window 10 instead of 50"):
        DeviceModels.load(bundle, expected=DeviceProfile())
    DeviceModels.load(bundle, expected=bundle.manifest.profile)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("encoder.onnx", b"garbage", "encoder.onnx cannot be run"),
        ("item_vectors.npy", b"garbage", "item_vectors.npy is not a plain array"),
        ("item_bias.npy", encode_array(np.zeros(3)), r"item_bias.npy has shape \(3,\)"),
        ("item_bias.npy", encode_array(np.full(50, np.nan)), "item_bias.npy holds values"),
    ],
)
def test_a_file_that_does_not_fit_is_named(bundle, tmp_path, name, content, message):
    with pytest.raises(BundleError, match=message):
        DeviceModels.load(with_file(bundle, tmp_path / "bad", name, content))


def test_a_graph_with_other_inputs_is_refused(bundle, tmp_path):
    estimator = bundle.file("estimator.onnx").read_bytes()
    with pytest.raises(BundleError, match=r"calibrator.onnx reads \('cues',\)"):
        DeviceModels.load(with_file(bundle, tmp_path / "bad", "calibrator.onnx", estimator))


def test_an_estimator_that_reads_words_is_given_them_and_refused_without_a_student(
    bundle, tmp_path
):
    graph = onnx.load(bundle.file("estimator.onnx")).graph
    for name in ("e_sem", "e_text"):
        kind = onnx.TensorProto.FLOAT
        graph.input.append(onnx.helper.make_tensor_value_info(name, kind, ["B", 8]))
    product = onnx.helper.make_node("Mul", ["e_sem", "e_text"], ["product"])
    total = onnx.helper.make_node("ReduceSum", ["product", "axes"], ["dot"], keepdims=0)
    nodes = [n for n in graph.node if n.op_type != "Sigmoid"]
    added = onnx.helper.make_node("Add", ["logit", "dot"], ["both"])
    squashed = onnx.helper.make_node("Sigmoid", ["both"], ["r"])
    del graph.node[:]
    graph.node.extend([*nodes, product, total, added, squashed])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)])
    model.ir_version = onnx.load(bundle.file("estimator.onnx")).ir_version
    with pytest.raises(BundleError, match=r"estimator.onnx reads e_text, but the bundle has no"):
        DeviceModels.load(
            with_file(bundle, tmp_path / "bad", "estimator.onnx", model.SerializeToString())
        )
    wordy = make_bundle(tmp_path / "wordy", text_student=TextStudentSpec(rows=32, weight=0.5))
    models = DeviceModels.load(
        with_file(wordy, tmp_path / "good", "estimator.onnx", model.SerializeToString())
    )
    cues, e_sem = np.zeros(8, np.float32), np.linspace(-1, 1, 8, dtype=np.float32)
    r = [models.reliability(cues, e_sem=e_sem, e_text=sign * e_sem) for sign in (1, -1)]
    assert r[0] > r[1]


def test_inputs_of_another_size_are_refused_by_name(bundle, tmp_path):
    wide = make_bundle(tmp_path / "wide", dim=9).file("calibrator.onnx").read_bytes()
    with pytest.raises(BundleError, match=r"calibrator.onnx reads e_sem of size 9, not 8"):
        DeviceModels.load(with_file(bundle, tmp_path / "bad", "calibrator.onnx", wide))


def test_cues_that_this_device_does_not_know_are_refused(bundle, tmp_path):
    calibration = bundle.manifest.calibration.model_copy(update={"cues": ("delta", "mood")})
    manifest = bundle.manifest.model_copy(update={"calibration": calibration})
    files = {n: bundle.file(n).read_bytes() for n in bundle.manifest.files}
    with pytest.raises(BundleError, match=r"wants the cues .*mood"):
        DeviceModels.load(write_bundle(tmp_path / "other", manifest, files))


def test_a_calibrator_gets_the_inputs_that_its_graph_declares(bundle, tmp_path):
    paper = make_bundle(tmp_path / "paper", calibrator_inputs=("e_sem", "e_str"))
    context, plain = DeviceModels.load(bundle), DeviceModels.load(paper)
    assert context.proposes_from == ("e_sem", "e_str", "e_str_tau", "recent", "cues")
    assert plain.proposes_from == ("e_sem", "e_str")
    e_str = np.linspace(-1, 1, 8, dtype=np.float32)
    changes = (
        {"e_str_tau": e_str * 2}, {"recent": e_str * 2}, {"cues": np.zeros(8, np.float32)},
    )  # fmt: skip
    for change in changes:
        assert not np.array_equal(propose(context, e_str), propose(context, e_str, **change))
        np.testing.assert_array_equal(propose(plain, e_str), propose(plain, e_str, **change))
    np.testing.assert_array_equal(
        propose(context, e_str), propose(context, e_str, e_str_tau=e_str), "e_str(t) stands in"
    )
    assert propose(plain, e_str, recent=None).shape == (8,)


def test_an_encoder_may_leave_out_inputs_that_it_never_reads(bundle, tmp_path):
    graph = onnx.load(bundle.file("encoder.onnx")).graph
    hours = {"event_hour", "request_hour", "hours_apart", "angle", "hour", "request"}
    nodes = [n for n in graph.node if not hours & set(n.output)]
    for node in nodes:
        kept = [name for name in node.input if name not in hours]
        del node.input[:]
        node.input.extend(kept)
    inputs = [i for i in graph.input if i.name not in hours]
    unused = {"hour_weight"}
    constants = [c for c in graph.initializer if c.name not in unused]
    smaller = onnx.helper.make_model(
        onnx.helper.make_graph(nodes, "small", inputs, graph.output, constants),
        opset_imports=[onnx.helper.make_opsetid("", 17)],
        ir_version=10,
    )
    models = DeviceModels.load(
        with_file(bundle, tmp_path / "small", "encoder.onnx", smaller.SerializeToString())
    )
    items = np.array([1, 2], dtype=np.int32)
    assert models.encode(vectors(models, items), features(2))[0].shape == (8,)
