from __future__ import annotations

import io
import pickle
from pathlib import Path

import numpy as np
import pytest

from shared.errors import BundleError
from shared.text_student import (
    STUDENT_FILE,
    StudentWeights,
    decode_student,
    encode_student,
    pack_student,
)
from tests.support.sections import student_weights

ROWS, DIM = 64, 8


def written(folder: Path, **changed: object) -> Path:
    weights = student_weights(ROWS, DIM)
    arrays = {name: getattr(weights, name) for name in ("codes", "scale", "bias")}
    arrays |= {"out_scale": np.float32(weights.out_scale)} | changed
    path = folder / STUDENT_FILE
    buffer = io.BytesIO()
    np.savez(buffer, **{k: v for k, v in arrays.items() if v is not None})  # type: ignore[arg-type]
    path.write_bytes(buffer.getvalue())
    return path


def test_what_is_written_is_read(tmp_path: Path) -> None:
    weights = student_weights(ROWS, DIM)
    path = tmp_path / STUDENT_FILE
    path.write_bytes(encode_student(weights))
    found = decode_student(path, rows=ROWS, dim=DIM)
    for name in ("codes", "scale", "bias"):
        np.testing.assert_array_equal(getattr(found, name), getattr(weights, name))
        assert getattr(found, name).dtype == getattr(weights, name).dtype
    assert found.out_scale == np.float32(weights.out_scale)
    assert encode_student(found) == path.read_bytes()


def test_the_usual_size_is_a_mebibyte(tmp_path: Path) -> None:
    path = tmp_path / STUDENT_FILE
    path.write_bytes(encode_student(student_weights(16_384, 64)))
    assert path.stat().st_size <= 2**20
    decode_student(path, rows=16_384, dim=64)


def test_a_component_is_off_by_half_a_step_of_its_row() -> None:
    rng = np.random.default_rng(0)
    rows = (rng.standard_normal((200, 16)) * rng.uniform(0.01, 5, (200, 1))).astype(np.float32)
    rows[3] = 0.0
    packed = pack_student(rows, np.zeros(16, np.float32), 2.0)
    step = np.abs(rows).max(1, keepdims=True) / 127
    assert (np.abs(packed.unpack() * packed.out_scale / 2.0 - rows) <= 0.57 * step).all()
    assert not packed.unpack()[3].any()


def test_weights_that_are_no_numbers_are_refused() -> None:
    good, bias = np.ones((4, 2), np.float32), np.zeros(2, np.float32)
    with pytest.raises(ValueError, match="not finite"):
        pack_student(good * np.float32(np.nan), bias, 1.0)
    with pytest.raises(ValueError, match="out_scale"):
        pack_student(good, bias, 0.0)
    assert pack_student(0 * good, bias, 1.0).out_scale > 0


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"codes": np.zeros((ROWS, DIM + 1), np.int8)}, "more than a student|codes of int8"),
        ({"codes": np.zeros((ROWS - 1, DIM), np.int8)}, "codes of int8"),
        ({"codes": np.zeros((ROWS, DIM), np.uint8)}, "codes of uint8"),
        ({"scale": np.full(ROWS, -1, np.float16)}, "below 0"),
        ({"scale": np.full(ROWS, np.nan, np.float16)}, "scale that are not finite"),
        ({"bias": np.full(DIM, np.inf, np.float32)}, "bias that are not finite"),
        ({"bias": np.zeros(DIM, np.float64)}, "bias of float64"),
        ({"out_scale": np.float32(0)}, "below 0"),
        ({"out_scale": None}, "does not hold a text student"),
        ({"bias": np.array([{}], dtype=object)}, "does not hold a text student"),
        ({"more": np.zeros(10_000_000, np.int8)}, "more than a student"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, changed: dict, reason: str) -> None:
    path = written(tmp_path, **changed)
    with pytest.raises(BundleError, match=reason) as refused:
        decode_student(path, rows=ROWS, dim=DIM)
    assert str(path) in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"PK", b"no archive", pickle.dumps({"codes": 1})])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / STUDENT_FILE
    path.write_bytes(content)
    with pytest.raises(BundleError, match=STUDENT_FILE):
        decode_student(path, rows=ROWS, dim=DIM)
    with pytest.raises(BundleError, match="missing"):
        decode_student(tmp_path / "missing", rows=ROWS, dim=DIM)


def test_no_flipped_byte_or_cut_passes_for_another_student(tmp_path: Path) -> None:
    path = tmp_path / STUDENT_FILE
    whole = encode_student(student_weights(ROWS, DIM))
    good = student_weights(ROWS, DIM)
    rng = np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(whole)
        damaged[int(rng.integers(len(whole)))] ^= int(rng.integers(1, 256))
        path.write_bytes(bytes(damaged))
        assert _refused_or_same(path, good)
    for size in range(0, len(whole), 37):
        path.write_bytes(whole[:size])
        assert _refused_or_same(path, good)


def _refused_or_same(path: Path, good: StudentWeights) -> bool:
    try:
        found = decode_student(path, rows=ROWS, dim=DIM)
    except BundleError:
        return True
    return all(
        np.array_equal(getattr(found, name), getattr(good, name))
        for name in ("codes", "scale", "bias")
    )
