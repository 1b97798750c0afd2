"""What makes a cell the same cell."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments import spec
from experiments.cell_store import CellStore
from experiments.cells import (
    Cell,
    PlannedCell,
    cell_key,
    common,
    overrides_of,
    plan,
    relevant,
)
from experiments.spec import merge
from experiments.study import STUDIES, STUDY
from scalrec.options import settings_over
from scalrec.settings import Settings
from shared.errors import ConfigError, DataError
from tests.support.cells import store_cell
from tests.support.fake_study import invented


def test_layers_lie_over_one_another() -> None:
    assert merge({"a": {"x": 1, "y": 2}, "b": 1}, {"a": {"y": 3}, "c": 4}) == {
        "a": {"x": 1, "y": 3},
        "b": 1,
        "c": 4,
    }
    sweeps = spec.load("rq3-sweeps")
    cell = Cell("redial", "tiny", "gamma-.2", 0)
    settings = settings_over(overrides_of(sweeps, cell))
    assert settings.training.gamma_max == 0.2  # the variant's
    assert settings.training.test_steps == 10  # the log's
    assert settings.training.calibration_steps == 8  # the base's
    assert settings.profile.window == 10  # the profile's
    redial = spec.load("gates"), Cell("redial", "tiny", "base", 0)
    assert settings_over(overrides_of(*redial)).paper.gaps == (0, 1, 2, 5, 10, 20)  # the log's


def test_the_key_depends_on_what_decides_a_result_and_nothing_else() -> None:
    key = cell_key(Settings(), "data")
    same = [
        {"work_dir": "elsewhere"},
        {"training": {"threads": 1}},
        {"embedder": {"extra_args": ("--dtype=float32",), "url": "http://localhost:1"}},
        {"training": {"backbone": "sasrec"}},
        {"embedder": {"lora": None}},
        {"embedder": {"backend": "transformers", "batch_size": 3}},
        {"replay": {"users": 5}},
    ]
    assert {cell_key(settings_over(o), "data") for o in same} == {key}
    other = [
        {"seed": 1},
        {"training": {"gamma_max": 0.5}},
        {"training": {"backbone": "surge"}},
        {"embedder": {"pooling": "LAST"}},
        {"embedder": {"lora": {"rank": 8}}},
        {"embedder": {"lora": {"rank": 4}}},
        {"cloud": {"candidates": 200}},
        {"abstract": {"level": "categories"}},
        {"profile": "tiny"},
        {"paper": {"steps": 3}},
    ]
    keys = {cell_key(settings_over(o), "data") for o in other}
    assert len(keys | {key}) == len(other) + 1
    assert cell_key(Settings(), "other data") != key


def test_places_and_machinery_are_marked_where_they_are_declared() -> None:
    found = relevant(settings_over({"embedder": {"lora": {"rank": 3}}}), ["generative"])
    assert "threads" not in found["training"]
    assert found["embedder"]["lora"]["rank"] == 3
    assert not {"path", "columns", "items"} & found["log"].keys()
    assert found["embedder"].keys() == {"model", "pooling", "lora", "max_tokens", "query_apart"}
    assert relevant(settings_over({"training": {"backbone": "surge"}}))["training"]["backbone"]


def test_a_model_folder_may_lie_anywhere(tmp_path: Path) -> None:
    def key(folder: Path) -> str:
        return cell_key(settings_over({"embedder": {"model": str(folder)}}), "data")

    folders = [tmp_path / place / "my-model" for place in ("a", "b")]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(b"weights")
        (folder / "README.md").write_text(str(folder))
    first, second = map(key, folders)
    assert first == second
    (folders[1] / "model.safetensors").write_bytes(b"others!")
    assert key(folders[1]) != first


def test_variants_that_are_the_same_are_refused() -> None:
    sweeps = spec.load("rq3-sweeps")
    cells = [Cell("redial", "tiny", variant, 0) for variant in ("base", "gamma-2")]

    def overridden(overrides: dict[str, object], seed: int) -> Settings:
        return settings_over(overrides, ["training.gamma_max=2"])

    with pytest.raises(ConfigError, match=r"gamma-2 seed 0 has the same settings as .*base"):
        plan(sweeps, cells, overridden, "data")


def test_common_settings() -> None:
    assert common([{"a": {"x": 1, "y": 2}, "b": 1}, {"a": {"x": 1, "y": 3}, "b": 1}]) == {
        "a": {"x": 1},
        "b": 1,
    }


def test_a_stored_cell_is_found_by_its_key_alone(tmp_path: Path) -> None:
    cell = Cell("loans", "tiny", "base", 1)
    scores = invented(5, 1)
    finished = store_cell(tmp_path, cell, scores)
    assert finished.scores().equals(scores)
    assert finished.folder.name.startswith("tiny_base_1_")
    store = CellStore(tmp_path)
    elsewhere = Cell("loans", "tiny", "other-name", 1)
    again = store.find(PlannedCell(elsewhere, Settings(), finished.info.key))
    assert again is not None
    assert again.folder == finished.folder
    assert store.find(PlannedCell(cell, Settings(), "0" * 16)) is None
    assert store.count("gates") == {"loans": 1}
    assert store.count("privacy") == {}


def test_a_half_written_or_damaged_cell_is_no_cell(tmp_path: Path) -> None:
    cell = Cell("loans", "tiny", "base", 0)
    finished = store_cell(tmp_path, cell, invented(5, 0))
    planned = PlannedCell(cell, Settings(), finished.info.key)
    (finished.folder / "scores.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(DataError, match=r"scores\.parquet.*delete its folder"):
        finished.scores()
    (finished.folder / "cell.json").write_text('{"log": "loans"')
    assert CellStore(tmp_path).find(planned) is None
    assert [p.name for p in (tmp_path / "loans").iterdir()] == [finished.folder.name]


def test_another_study_or_section_makes_another_cell() -> None:
    keys = {
        cell_key(Settings(), "data"),
        cell_key(Settings(), "data", "training.other:run_cell"),
        cell_key(Settings(), "data", "training.other:run_cell", ["device"]),
    }
    assert len(keys) == 3
    assert cell_key(Settings(), "data", STUDY) in keys


def test_a_key_names_no_place_of_code(monkeypatch: pytest.MonkeyPatch) -> None:
    before = [cell_key(Settings(), "data", study) for study in STUDIES]
    assert len(set(before)) == len(STUDIES)
    for study in STUDIES:
        monkeypatch.setitem(STUDIES, study, "elsewhere.module:function")
    assert [cell_key(Settings(), "data", study) for study in STUDIES] == before
    assert "device" in relevant(Settings(), ["device"])
