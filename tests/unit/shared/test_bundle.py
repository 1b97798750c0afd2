"""A bundle is used whole and unaltered, or refused with the file named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from shared.bundle import (
    ARRAY_FILES,
    CATALOGUE_FILE,
    MANIFEST,
    ONNX_FILES,
    AgeRule,
    CalibrationSpec,
    EmbedderIdentity,
    Manifest,
    encode_array,
    encode_catalogue,
    load_bundle,
    write_bundle,
)
from shared.errors import BundleError
from shared.interactions import Catalogue
from shared.profile import DeviceProfile

CATALOGUE = Catalogue(
    ids=("1", "2"),
    titles=("Heat", "Fargo"),
    categories=(("Crime",), ()),
    areas=("", ""),
    texts=("Heat", "Fargo"),
)
FILES = {
    **{name: f"graph {name}".encode() for name in ONNX_FILES},
    **{name: encode_array(np.ones((2, 3), np.float32)) for name in ARRAY_FILES},
    CATALOGUE_FILE: encode_catalogue(CATALOGUE),
}


def manifest(**fields):
    return Manifest(
        **{
            "scalrec": "0.1.0",
            "created": "2024-01-01T00:00:00Z",
            "log": "log",
            "n_items": 2,
            "dim": 3,
            "profile": DeviceProfile(),
            "embedder": EmbedderIdentity(backend="hashing", model="m", pooling="MEAN", dim=4),
            "backbone": "sasrec",
            "has_time": True,
            "repeat_policy": "allow",
            "fusion_weight": 0.5,
            "candidates": 10,
            "calibration": CalibrationSpec(gamma_max=1.0, top_l=5),
            "training": {"epochs": 2, "loss": 0.123456789, "note": "n"},
        }
        | fields
    )


@pytest.fixture
def path(tmp_path):
    return write_bundle(tmp_path / "bundle", manifest(), FILES).path


def test_what_is_written_is_read(path):
    bundle = load_bundle(path)
    assert bundle.catalogue() == CATALOGUE
    np.testing.assert_array_equal(bundle.array("item_vectors.npy"), np.ones((2, 3)))
    assert bundle.array("item_bias.npy").dtype == np.float32
    assert len(bundle.id) == 16
    assert [entry.name for entry in path.parent.iterdir()] == ["bundle"]


def test_identity_follows_content(tmp_path, path):
    same = write_bundle(tmp_path / "same", manifest(), FILES)
    assert same.id == load_bundle(path).id
    other = write_bundle(tmp_path / "other", manifest(), FILES | {"encoder.onnx": b"another"})
    tuned = write_bundle(tmp_path / "tuned", manifest(fusion_weight=0.6), FILES)
    assert len({same.id, other.id, tuned.id}) == 3


@pytest.mark.parametrize("name", sorted(FILES))
def test_altered_file_is_named(path, name):
    data = bytearray((path / name).read_bytes())
    data[len(data) // 2] ^= 1
    (path / name).write_bytes(bytes(data))
    with pytest.raises(BundleError, match=f"{path / name} does not match the manifest"):
        load_bundle(path)


@pytest.mark.parametrize("name", sorted(FILES))
def test_truncated_file_is_named(path, name):
    (path / name).write_bytes((path / name).read_bytes()[:-1])
    with pytest.raises(BundleError, match=f"{path / name} does not match the manifest"):
        load_bundle(path)


@pytest.mark.parametrize("name", sorted(FILES))
def test_missing_file_is_named(path, name):
    (path / name).unlink()
    with pytest.raises(BundleError, match=f"{path / name} cannot be read"):
        load_bundle(path)


@pytest.mark.parametrize("name", sorted(FILES))
def test_manifest_must_list_every_file(tmp_path, name):
    files = {other: data for other, data in FILES.items() if other != name}
    partial = write_bundle(tmp_path / "partial", manifest(), files)
    with pytest.raises(BundleError, match=f"does not list {name}"):
        load_bundle(partial.path)


def edit(path, change):
    content = json.loads((path / MANIFEST).read_text())
    change(content)
    (path / MANIFEST).write_text(json.dumps(content))


def fields():
    # A generator is optional, and what goes with it: test_generator_bundle.py alters them, and
    # test_own_terms.py what a device may add to its score.
    optional = {"generator", "collaboration", "own_counts", "text_student"}
    return sorted(set(Manifest.model_fields) - {"format", "repeat_policy"} - optional)


@pytest.mark.parametrize("field", fields())
def test_any_altered_field_of_the_manifest_is_noticed(path, field):
    def change(content):
        value = content[field]
        if isinstance(value, dict):
            key = next(key for key in sorted(value) if isinstance(value[key], int | float | dict))
            value[key] = 7
        elif isinstance(value, bool):
            content[field] = not value
        else:
            content[field] = value + ("x" if isinstance(value, str) else 1)

    edit(path, change)
    with pytest.raises(BundleError, match=r"manifest\.json was altered|is not a bundle manifest"):
        load_bundle(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.update(format="3"),
        lambda content: content.update(unknown=1),
        lambda content: content.pop("dim"),
        lambda content: content["files"]["encoder.onnx"].update(sha256="zz"),
        lambda content: content["profile"].update(window=0),
    ],
)
def test_malformed_manifest_is_named(path, change):
    edit(path, change)
    with pytest.raises(BundleError, match=f"{path / MANIFEST} is not a bundle manifest"):
        load_bundle(path)


@pytest.mark.parametrize("other", [1, 2, 4])
def test_a_bundle_of_another_format_says_what_to_do(path, other):
    edit(path, lambda content: content.update(format=other))
    with pytest.raises(BundleError, match=rf"bundle format {other}, .* reads format 3; run .*exp"):
        load_bundle(path)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b"[" * 100_000])
def test_unreadable_manifest_is_named(path, content):
    (path / MANIFEST).write_bytes(content)
    with pytest.raises(BundleError, match=f"{path / MANIFEST} is not a bundle manifest"):
        load_bundle(path)


def test_no_bundle_says_how_to_make_one(tmp_path):
    with pytest.raises(BundleError, match="scalrec export"):
        load_bundle(tmp_path / "none")


def test_file_outside_the_bundle_is_never_opened(tmp_path):
    (tmp_path / "secret").write_bytes(b"secret")
    with_path = FILES | {"../secret": b"secret"}
    with pytest.raises(BundleError, match="outside the bundle"):
        load_bundle(write_bundle(tmp_path / "bundle", manifest(), with_path).path)


def test_file_that_is_not_of_the_bundle_is_refused(path):
    with pytest.raises(BundleError, match=r"has no file 'other\.onnx'"):
        load_bundle(path).file("other.onnx")


def test_pickled_array_is_refused(tmp_path):
    np.save(tmp_path / "p.npy", np.array([{}], dtype=object), allow_pickle=True)
    files = FILES | {"item_bias.npy": (tmp_path / "p.npy").read_bytes()}
    bundle = load_bundle(write_bundle(tmp_path / "bundle", manifest(), files).path)
    with pytest.raises(BundleError, match=r"item_bias\.npy"):
        bundle.array("item_bias.npy")


def test_damaged_catalogue_is_refused(tmp_path):
    files = FILES | {CATALOGUE_FILE: b"\xc1"}
    bundle = load_bundle(write_bundle(tmp_path / "bundle", manifest(), files).path)
    with pytest.raises(BundleError, match=CATALOGUE_FILE):
        bundle.catalogue()


def test_replacing_leaves_one_whole_bundle(path):
    write_bundle(path, manifest(fusion_weight=0.7), FILES)
    assert load_bundle(path).manifest.fusion_weight == 0.7
    assert [entry.name for entry in path.parent.iterdir()] == ["bundle"]


def test_failed_write_keeps_the_old_bundle(path):
    before = load_bundle(path).id
    with pytest.raises(BundleError, match="cannot write bundle"):
        write_bundle(path, manifest(), FILES | {"no/such/folder": b""})
    assert load_bundle(path).id == before
    assert [entry.name for entry in path.parent.iterdir()] == ["bundle"]


def test_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError, match="cannot write a bundle into"):
        write_bundle(tmp_path / "file" / "bundle", manifest(), FILES)


def test_a_move_that_fails_halfway_puts_the_old_bundle_back(path, monkeypatch):
    before = load_bundle(path).id
    replace = Path.replace

    def fails_for_the_new_one(self, target):
        if self.name.startswith(".bundle-"):
            raise OSError("no space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fails_for_the_new_one)
    with pytest.raises(BundleError, match="no space left"):
        write_bundle(path, manifest(fusion_weight=0.7), FILES)
    assert load_bundle(path).id == before


def test_the_rule_in_force_is_the_last_that_began():
    rules = (AgeRule(from_delta=1), AgeRule(from_delta=4, weight=0.5, moved_correct=False))
    spec = CalibrationSpec(gamma_max=1.0, top_l=5, rules=rules)
    assert [spec.rule_at(delta) for delta in (0, 1, 3)] == [rules[0]] * 3
    assert [spec.rule_at(delta) for delta in (4, 1000)] == [rules[1]] * 2
    assert rules[1].at(moved=False) == (0.5, True)
    assert rules[1].at(moved=True) == (1.0, False)
    assert CalibrationSpec(gamma_max=1.0, top_l=5).rule_at(9).at(moved=True) == (1.0, True)


@pytest.mark.parametrize(
    "rules",
    [
        (),
        (AgeRule(from_delta=3), AgeRule(from_delta=3)),
        (AgeRule(from_delta=3), AgeRule(from_delta=0)),
    ],
)
def test_rules_out_of_order_or_none_are_refused(rules):
    with pytest.raises(ValidationError, match="rules"):
        CalibrationSpec(gamma_max=1.0, top_l=5, rules=rules)
