"""The text student's term, wherever a device scores by structure, and as the calibrator's input."""

from __future__ import annotations

import numpy as np
import pytest

from device_runtime.abstract.writer import TemplateAbstract
from device_runtime.cloud.snapshot_cache import CachedSnapshot, MemorySnapshotCache
from device_runtime.device import Device
from device_runtime.models import DeviceModels
from device_runtime.ranking.own_terms import OwnState
from loadtest.replay.item_pages import ItemPages
from shared.bundle import MANIFEST, Bundle, CollaborationSpec, load_bundle
from shared.errors import BundleError
from shared.item_files import packed_items
from shared.own_score import OwnCounts, TextStudentSpec
from shared.profile import DeviceProfile
from shared.text_student import STUDENT_FILE
from tests.support.bundles import CALIBRATOR_INPUTS, make_bundle
from tests.support.devices import CONTEXT, new_device, observe, snapshot_of

HISTORY = [30, 30, 1, 2, 3, 4, 5, 6]
SPEC = TextStudentSpec(rows=64, weight=0.7)
COUNTS = OwnCounts(weight=1.5, scale=4.0, half_life=6.0)


def bundle_of(path, spec=SPEC, table="float32", local=0, **options) -> Bundle:
    profile = DeviceProfile(window=5, table=table, local_candidates=local, starter_items=12)
    return make_bundle(path, profile=profile, text_student=spec, **options)


def answer(bundle: Bundle, *, held=True, **options):
    cache = MemorySnapshotCache()
    if held:
        cache._entries["ann", bundle.id] = CachedSnapshot(snapshot_of(bundle), None)
    device = new_device(bundle, cache=cache, **options)
    observe(device, HISTORY, pages=ItemPages(bundle))
    return device.request(CONTEXT)


def e_text_of(bundle: Bundle):
    """What the student makes of HISTORY, without any device."""
    writer = TemplateAbstract(bundle.catalogue())
    digest = writer.digest()
    for place, item in enumerate(HISTORY):
        digest.observe(item, float(place % 168))
    student = DeviceModels.load(bundle).text_student(digest.words)
    return student.embed(digest.sections(CONTEXT)).astype(np.float64)


@pytest.mark.parametrize("table", ["float32", "int8", "none"])
@pytest.mark.parametrize("vectors", ["shared", "own"])
@pytest.mark.parametrize("held", [True, False])
@pytest.mark.parametrize("collaboration", [None, CollaborationSpec()])
def test_every_item_gains_what_the_words_say_for_its_semantic_vector(
    tmp_path, table, vectors, held, collaboration
):
    given = {"table": table, "semantic_vectors": vectors, "own_counts": COUNTS}
    bare, read = (bundle_of(tmp_path / str(s), s, **given) for s in (None, SPEC))
    without, with_words = (answer(b, held=held, collaboration=collaboration) for b in (bare, read))
    common, at, was = np.intersect1d(with_words.candidates, without.candidates, return_indices=True)
    assert set(HISTORY) <= set(common.tolist())
    rows = packed_items(read).unpack()[0]
    if table == "float32":
        rows = read.semantic_vectors()
    expected = 0.7 * (rows[common][:, -8:] @ e_text_of(read))
    assert np.abs(expected).max() > 0.05
    gained = with_words.structural[at] - without.structural[was]
    if collaboration is not None and held:  # its share was chosen for structure alone
        np.testing.assert_array_equal(gained, 0.0)
        np.testing.assert_array_equal(with_words.scores[at], without.scores[was])
        return
    np.testing.assert_allclose(gained, expected, atol=1e-5)
    if collaboration is None:
        gained = with_words.uncalibrated[at] - without.uncalibrated[was]
        np.testing.assert_allclose(gained, expected, atol=1e-5)


@pytest.mark.parametrize("table", ["float32", "int8"])
@pytest.mark.parametrize("vectors", ["shared", "own"])
@pytest.mark.parametrize("held", [True, False])
def test_the_words_are_part_of_the_query_of_local_re_retrieval(tmp_path, table, vectors, held):
    """The shortlist is the best of the table by the very scores that it is then ranked with."""
    strong = SPEC.model_copy(update={"weight": 5.0})
    bundle = bundle_of(tmp_path / "b", strong, table, 6, semantic_vectors=vectors)
    response = answer(bundle, held=held)
    every = answer(
        bundle_of(tmp_path / "all", strong, table, 50, semantic_vectors=vectors), held=held
    )
    assert every.candidates.tolist() == list(range(50))
    scores = every.scores if held else every.structural
    # Which items a calibrated answer re-retrieves goes by the corrected score, as its ranking does.
    best = np.argsort(-scores, kind="stable")[:6]
    assert set(best.tolist()) <= set(response.candidates.tolist())


def test_a_calibrator_may_read_the_words(tmp_path):
    reads = (*CALIBRATOR_INPUTS, "e_text")
    spec = SPEC.model_copy(update={"weight": 0.0})
    bundle = bundle_of(tmp_path / "reads", spec, calibrator_inputs=reads)
    found, cache = [], MemorySnapshotCache()
    cache._entries["ann", bundle.id] = CachedSnapshot(snapshot_of(bundle), None)
    device = new_device(bundle, cache=cache)
    propose = device._models.propose
    device._models.propose = lambda **known: found.append(known["e_text"]) or propose(**known)
    observe(device, HISTORY)
    response = device.request(CONTEXT)
    np.testing.assert_allclose(found[0], e_text_of(bundle), atol=1e-6)
    # At weight 0 the words change no own score, only what the calibrator makes of them.
    heavy = answer(bundle_of(tmp_path / "heavy", SPEC, calibrator_inputs=reads))
    gained = heavy.structural - response.structural
    expected = 0.7 * (bundle.semantic_vectors()[response.candidates] @ e_text_of(bundle))
    np.testing.assert_allclose(gained, expected, atol=1e-5)


def test_a_calibrator_that_reads_words_needs_a_student(tmp_path):
    bundle = bundle_of(tmp_path / "b", None, calibrator_inputs=(*CALIBRATOR_INPUTS, "e_text"))
    with pytest.raises(BundleError, match=r"calibrator\.onnx reads e_text, but the bundle has no"):
        DeviceModels.load(bundle)


def test_a_device_with_a_student_and_no_digest_is_refused(tmp_path):
    bundle = bundle_of(tmp_path / "b")
    models, writer = DeviceModels.load(bundle), TemplateAbstract(bundle.catalogue())
    with pytest.raises(ValueError, match=r"pass digest=writer\.digest\(\)"):
        Device("u", models, writer)
    Device("u", models, writer, digest=writer.digest())


def test_a_digest_nobody_reads_is_left_alone(tmp_path):
    bundle = bundle_of(tmp_path / "b", None)
    digest = TemplateAbstract(bundle.catalogue()).digest()
    state = OwnState(DeviceModels.load(bundle), digest)
    state.observe(3, 0.0)
    assert len(digest) == 0
    assert state.terms(CONTEXT) is None


def test_devices_of_one_writer_share_one_student(tmp_path):
    models = DeviceModels.load(bundle := bundle_of(tmp_path / "b"))
    writer = TemplateAbstract(bundle.catalogue())
    one, other = (models.text_student(writer.digest().words) for _ in range(2))
    assert one is other
    bare = DeviceModels.load(bundle_of(tmp_path / "bare", None))
    assert models.nbytes - bare.nbytes == one.nbytes > 64 * 8
    with pytest.raises(ValueError, match="has no text student"):
        bare.text_student(writer.digest().words)


def test_unknown_items_are_nothing_to_read(tmp_path):
    bundle = bundle_of(tmp_path / "b")
    digest = TemplateAbstract(bundle.catalogue()).digest()
    device = new_device(bundle, digest=digest)
    observe(device, [4, 999, 5])
    assert len(digest) == 2


@pytest.mark.parametrize("table", ["float32", "int8", "none"])
def test_every_device_downloads_the_student(tmp_path, table):
    bundle = bundle_of(tmp_path / "b", table=table)
    assert STUDENT_FILE in bundle.manifest.device_files
    assert load_bundle(bundle.path, device=True).manifest.text_student == SPEC
    path = bundle.path / MANIFEST
    path.write_text(path.read_text().replace('"rows": 64', '"rows": 65'))
    with pytest.raises(BundleError, match="was altered"):
        load_bundle(bundle.path)


def test_a_student_of_another_size_is_refused(tmp_path):
    bundle = bundle_of(tmp_path / "b")
    spec = SPEC.model_copy(update={"rows": 32})
    bundle.manifest = bundle.manifest.model_copy(update={"text_student": spec})
    with pytest.raises(BundleError, match=STUDENT_FILE):
        DeviceModels.load(bundle)
