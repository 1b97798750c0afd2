"""A generator in a bundle: optional, verified like everything else, the device's part on demand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from shared.bundle import GENERATOR_FILE, MANIFEST, TOKENS_FILE, Bundle, load_bundle, write_bundle
from shared.errors import BundleError
from shared.item_tokens import ItemTokens, encode_tokens, read_tokens
from tests.support.bundles import make_bundle
from tests.support.generators import small_generator, with_generator
from training.generative.trained import TrainedGenerator


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("plain") / "bundle", n_items=20)


@pytest.fixture(scope="module")
def trained(plain: Bundle, tmp_path_factory: pytest.TempPathFactory) -> TrainedGenerator:
    return small_generator(plain, tmp_path_factory.mktemp("generator"))


def test_a_bundle_made_before_generators_is_as_good_as_ever(plain: Bundle, tmp_path: Path) -> None:
    for name in plain.manifest.files:
        (tmp_path / name).write_bytes(plain.file(name).read_bytes())
    manifest = json.loads((plain.path / MANIFEST).read_text())
    assert manifest.pop("generator") is None
    assert manifest.pop("collaboration") is None
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    assert load_bundle(tmp_path).id == plain.id


@pytest.mark.parametrize("told", [True, False])
def test_devices_download_the_tokens_only_where_they_tell_them(
    plain: Bundle, trained: TrainedGenerator, tmp_path: Path, told: bool
) -> None:
    with_generator(plain, tmp_path / "b", trained, told=told)
    bundle = load_bundle(tmp_path / "b")
    assert (TOKENS_FILE in bundle.manifest.device_files) is told
    assert GENERATOR_FILE not in bundle.manifest.device_files
    np.testing.assert_array_equal(read_tokens(bundle).codes, trained.tokens.codes)
    assert bundle.id != plain.id


@pytest.mark.parametrize("change", ["told", "shape", "gone", "added", "share"])
def test_an_altered_manifest_is_noticed(
    plain: Bundle, trained: TrainedGenerator, tmp_path: Path, change: str
) -> None:
    """Above all, nobody can make devices tell more than their bundle allows."""
    whole = with_generator(plain, tmp_path / "b", trained, told=False)
    path = tmp_path / "b" / MANIFEST
    manifest = json.loads(path.read_text())
    if change == "told":
        manifest["generator"]["devices_send_tokens"] = True
    elif change == "shape":
        manifest["generator"]["config"]["history"] += 1
    elif change == "gone":
        manifest["generator"] = None
    elif change == "share":
        manifest["collaboration"] = {"initial_share": 0.9}
    else:
        spec = manifest["generator"]
        manifest = json.loads((plain.path / MANIFEST).read_text()) | {"generator": spec}
    path.write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="was altered"):
        load_bundle(whole.path)


@pytest.mark.parametrize("name", [GENERATOR_FILE, TOKENS_FILE])
def test_altered_files_are_refused(
    plain: Bundle, trained: TrainedGenerator, tmp_path: Path, name: str
) -> None:
    bundle = with_generator(plain, tmp_path / "b", trained)
    data = bytearray(bundle.file(name).read_bytes())
    data[len(data) // 2] ^= 1
    bundle.file(name).write_bytes(bytes(data))
    with pytest.raises(BundleError, match=f"{name} does not match the manifest"):
        load_bundle(tmp_path / "b")


def test_a_generator_without_its_files_is_refused(
    plain: Bundle, trained: TrainedGenerator, tmp_path: Path
) -> None:
    whole = with_generator(plain, tmp_path / "whole", trained, told=False)
    files = {n: whole.file(n).read_bytes() for n in whole.manifest.files if n != GENERATOR_FILE}
    write_bundle(tmp_path / "b", whole.manifest, files)
    with pytest.raises(BundleError, match=f"does not list {GENERATOR_FILE}"):
        load_bundle(tmp_path / "b")


def test_tokens_of_other_items_are_refused(
    plain: Bundle, trained: TrainedGenerator, tmp_path: Path
) -> None:
    whole = with_generator(plain, tmp_path / "whole", trained)
    files = {name: whole.file(name).read_bytes() for name in whole.manifest.files}
    for number, data in enumerate(
        (
            encode_tokens(ItemTokens(trained.tokens.codes[:-1], trained.tokens.sizes)),
            encode_tokens(
                ItemTokens(trained.tokens.codes + 1, tuple(s + 1 for s in trained.tokens.sizes))
            ),
            b"no archive",
        )
    ):
        bundle = write_bundle(tmp_path / str(number), whole.manifest, files | {TOKENS_FILE: data})
        with pytest.raises(BundleError, match="does not hold item tokens"):
            read_tokens(bundle)
    with pytest.raises(BundleError, match="has no file"):
        read_tokens(plain)
