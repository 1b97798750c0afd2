"""Where training embeds: inside where that gives what the server would, by the server elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from training.semantic import inside
from training.settings import Recipe, TextModelSettings


def model(folder: Path, **config: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def chosen(folder: Path, **embedder: Any) -> str:
    """The back end that training uses; settings that stay as they are stay the same object."""
    wanted = TextModelSettings(model=str(folder), **embedder)
    settings = Recipe(embedder=wanted, cache=folder)
    found = inside.embedding_inside(settings)
    backend = found.embedder.backend
    assert (found is settings) == (backend == settings.embedder.backend)
    assert found.embedder == wanted.model_copy(update={"backend": backend})
    return backend


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_measured_kinds_of_models_are_embedded_inside(tmp_path: Path, kind: str) -> None:
    folder = model(tmp_path / "m", model_type=kind)
    assert chosen(folder) == "transformers"
    assert chosen(folder, bulk="served") == "vllm"


@pytest.mark.parametrize(
    "embedder",
    [
        {"url": "http://127.0.0.1:1"},
        {"device": "gpu"},
        {"extra_args": ("--quantization", "fp8")},
        {"backend": "hashing"},
        {"backend": "transformers"},
    ],
)
def test_whoever_else_is_asked_for_embeds(tmp_path: Path, embedder: dict[str, Any]) -> None:
    folder = model(tmp_path / "m", model_type="bert")
    assert chosen(folder, **embedder) == embedder.get("backend", "vllm")


@pytest.mark.parametrize("config", [{"model_type": "gemma3_text"}, {"hidden_size": 16}])
def test_the_server_embeds_for_models_that_nobody_has_compared(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    assert chosen(model(tmp_path / "m", **config)) == "vllm"


def test_the_server_embeds_where_it_reads_files_that_transformers_ignores(tmp_path: Path) -> None:
    folder = model(tmp_path / "m", model_type="bert")
    (folder / "modules.json").write_text("[]")
    assert chosen(folder) == "vllm"


def test_a_damaged_folder_is_left_to_whoever_loads_it(tmp_path: Path) -> None:
    folder = model(tmp_path / "m")
    for damage in ("[]", "{", ""):
        (folder / "config.json").write_text(damage)
        assert chosen(folder) == "vllm"


def test_the_server_embeds_where_transformers_are_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = model(tmp_path / "m", model_type="bert")
    monkeypatch.setattr(inside, "find_spec", lambda name: None if name == "transformers" else name)
    assert chosen(folder) == "vllm"
