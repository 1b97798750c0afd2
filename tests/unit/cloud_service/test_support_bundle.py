"""The tiny bundle that other tests stand on keeps the contracts of a real one."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from shared.bundle import load_bundle
from tests.support.bundles import make_bundle


def test_bundle_loads_and_is_deterministic(tmp_path: Path) -> None:
    first = make_bundle(tmp_path / "a")
    second = make_bundle(tmp_path / "b")
    other = make_bundle(tmp_path / "c", seed=1)
    assert load_bundle(first.path).id == second.id != other.id


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("length", [1, 2, 10])
def test_graphs_take_every_batch_and_length(tmp_path: Path, batch: int, length: int) -> None:
    bundle = make_bundle(tmp_path / "bundle", dim=8, window=10, text_dim=16)
    rng = np.random.default_rng(0)

    def run(name: str, **feeds: np.ndarray) -> list[np.ndarray]:
        session = ort.InferenceSession(bundle.file(name), providers=["CPUExecutionProvider"])
        return session.run(None, {k: v.astype(np.float32) for k, v in feeds.items()})

    e_str, copy_logit = run(
        "encoder.onnx",
        item_vectors=rng.standard_normal((batch, length, 8)),
        age_hours=rng.uniform(0, 100, (batch, length)),
        event_hour=rng.uniform(0, 168, (batch, length)),
        request_hour=rng.uniform(0, 168, batch),
    )
    (r,) = run("estimator.onnx", cues=rng.standard_normal((batch, 8)))
    cues = rng.standard_normal((batch, 8))
    (v,) = run(
        "calibrator.onnx", e_sem=e_str, e_str=e_str, e_str_tau=e_str, recent=e_str, cues=cues
    )
    (e_sem,) = run("projector.onnx", text=rng.standard_normal((batch, 16)))
    assert e_str.shape == v.shape == e_sem.shape == (batch, 8)
    assert copy_logit.shape == (batch, length)
    assert r.shape == (batch,)
    assert np.all((r > 0) & (r < 1))
