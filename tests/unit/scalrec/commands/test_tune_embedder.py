"""`scalrec tune-embedder`, and what commands that do not train say of a model still to be tuned."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from rich.console import Console

from scalrec.commands.tune_embedder import _tune, copied
from scalrec.options import settings_from
from scalrec.settings import Settings
from scalrec.stack.embedder_server import served_embedder
from shared.errors import ConfigError, DataError
from shared.progress import NullProgress
from tests.support.small_log import small_log
from tests.support.text_models import tiny_model
from training.settings import LoraSettings, TextModelSettings

FAST = ["embedder.lora.abstracts=64", "embedder.lora.validation_requests=30",
        "embedder.lora.temperature=0.1", "training.calibration_steps=0"]  # fmt: skip


def settings_over_a_file(folder: Path, *assignments: str) -> Settings:
    log, items = small_log(folder)
    words = set(re.findall(r"[a-z]+", items.read_text()))
    model = tiny_model(folder / "tiny", sorted(words | {",", ".", "Mostly", "Recently"}))
    return settings_from(
        log=str(log),
        columns=["user=who,item=what,time=when"],
        items=items,
        embedder="transformers",
        model=str(model),
        work_dir=folder / "work",
        assignments=[*FAST, f"cache={folder / 'cache'}", *assignments],
    )


async def test_it_leaves_a_model(tmp_path: Path) -> None:
    settings = settings_over_a_file(
        tmp_path, "embedder.lora.epochs=2", "embedder.lora.learning_rate=0.01"
    )
    console = Console(width=140, record=True)
    await _tune(settings, console, tmp_path / "models", force=False)
    (folder,) = (tmp_path / "models").iterdir()
    assert folder.name.startswith("tiny-lora-")
    assert (folder / "config.json").exists()
    shown = console.export_text()
    assert f"--model {folder}" in shown
    assert "as it came" in shown


async def test_a_rate_that_changes_nothing_writes_nothing(tmp_path: Path) -> None:
    settings = settings_over_a_file(
        tmp_path, "embedder.lora.epochs=1", "embedder.lora.learning_rate=1e-12"
    )
    with pytest.raises(DataError, match="nothing is written"):
        await _tune(settings, Console(quiet=True), tmp_path / "models", force=False)
    assert not (tmp_path / "models").exists()


def test_a_copy_replaces_an_older_one_whole(tmp_path: Path) -> None:
    source = tmp_path / "stages" / "minilm-lora-0123456789abcdef"
    source.mkdir(parents=True)
    (source / "config.json").write_text(json.dumps({"hidden_size": 3}))
    first = copied(source, tmp_path / "models")
    (first / "left-over").touch()
    again = copied(source, tmp_path / "models")
    assert again == first == tmp_path / "models" / source.name
    assert [path.name for path in again.iterdir()] == ["config.json"]
    assert [path.name for path in (tmp_path / "models").iterdir()] == [source.name]


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    source = tmp_path / "model"
    source.mkdir()
    with pytest.raises(ConfigError, match="cannot write the tuned model"):
        copied(source, tmp_path / "file")


async def test_a_model_still_to_be_tuned_is_not_served(tmp_path: Path) -> None:
    embedder = TextModelSettings(backend="transformers", lora=LoraSettings())
    settings = Settings(embedder=embedder, cache=tmp_path)
    with pytest.raises(ConfigError, match=r"scalrec tune-embedder"):
        async with served_embedder(
            settings, logs=tmp_path, progress=NullProgress(), console=Console(quiet=True),
            allow_fallback=True,
        ):  # fmt: skip
            pass
