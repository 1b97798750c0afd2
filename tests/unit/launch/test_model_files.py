from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest

from launch import model_files
from launch.model_files import resolve_model
from shared.errors import ConfigError


def test_minilm_is_copied_once_and_whole(tmp_path: Path) -> None:
    folder = resolve_model("minilm", cache=tmp_path)
    assert {file.name for file in folder.iterdir()} == set(model_files.MINILM_FILES)
    assert (folder / "model.safetensors").stat().st_size > 80e6
    changed = (folder / "model.safetensors").stat().st_mtime_ns
    assert resolve_model("minilm", cache=tmp_path) == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == changed
    assert "torch" not in vars(model_files)


def test_interrupted_preparation_is_redone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut_off(target: Path) -> None:
        (target / "half").touch()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(model_files, "_copy_minilm", cut_off)
        with pytest.raises(KeyboardInterrupt):
            resolve_model("minilm", cache=tmp_path)
    folder = resolve_model("minilm", cache=tmp_path)
    assert not (folder / "half").exists()
    assert not list(folder.parent.glob("*.partial"))


def test_missing_package_names_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_files, "MINILM_PACKAGE", "no-such-package")
    with pytest.raises(ConfigError, match="no-such-package, which is not installed"):
        resolve_model("minilm", cache=tmp_path)


def test_unwritable_cache(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="set SCALREC_CACHE"):
        resolve_model("minilm", cache=tmp_path / "file")


def test_local_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no config\.json"):
        resolve_model(str(tmp_path), cache=tmp_path)
    (tmp_path / "config.json").write_text("{}")
    assert resolve_model(str(tmp_path), cache=tmp_path / "unused") == tmp_path


@pytest.mark.parametrize("name", ["minilm2", "a/b/c", "", "../elsewhere", "org/"])
def test_unknown_names(tmp_path: Path, name: str) -> None:
    if name == "":
        # the empty path is the current folder: a folder, but no model
        with pytest.raises(ConfigError, match="not a model"):
            resolve_model(name, cache=tmp_path)
        return
    with pytest.raises(ConfigError, match="unknown model"):
        resolve_model(name, cache=tmp_path)


def test_hub_model_absent_and_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="not in the local hub cache and HF_HUB_OFFLINE is set"):
        resolve_model("some-org/some-model", cache=tmp_path, offline=True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ConfigError, match="HF_HUB_OFFLINE is set"):
        resolve_model("some-org/some-model", cache=tmp_path)


def test_hub_model_is_asked_for_without_pickles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, object] = {}

    def snapshot_download(name: str, **options: object) -> str:
        asked.update(options, name=name)
        return str(tmp_path)

    hub = types.ModuleType("huggingface_hub")
    hub.snapshot_download = snapshot_download  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    assert resolve_model("org/model", cache=tmp_path, offline=False) == tmp_path
    assert asked["name"] == "org/model"
    assert asked["local_files_only"] is False
    assert asked["allow_patterns"] == model_files.HUB_FILES
    assert not any(pattern.endswith((".bin", ".pt", ".pkl")) for pattern in model_files.HUB_FILES)
