"""Run folders and the `latest` pointer."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from loadtest.dashboard.messages import Facts
from scalrec.folders import (
    bundle_dir,
    find_bundle,
    latest_run,
    new_run_dir,
    point_latest,
    recipe_note,
    settings_digest,
)
from scalrec.settings import Settings
from scalrec.stack.live_view import run_name
from shared.bundle import Bundle
from shared.errors import ConfigError
from tests.support.bundles import make_bundle

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_latest_moves_to_the_newest_run(tmp_path: Path) -> None:
    first = new_run_dir(tmp_path, "a", NOW)
    second = new_run_dir(tmp_path, "b", NOW)
    point_latest(tmp_path, first)
    point_latest(tmp_path, second)
    assert latest_run(tmp_path) == second.resolve()
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "20260102T030405-a",
        "20260102T030405-b",
        "latest",
    ]


def test_no_run_yet_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="scalrec simulate"):
        latest_run(tmp_path)


def test_an_unusable_work_dir_is_named(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    with pytest.raises(ConfigError, match="cannot create run folder"):
        new_run_dir(blocker, "a", NOW)


def test_runs_that_begin_in_the_same_second_have_folders_of_their_own(tmp_path: Path) -> None:
    names = [new_run_dir(tmp_path, "a", NOW).name for _ in range(3)]
    assert names == ["20260102T030405-a", "20260102T030405-a-2", "20260102T030405-a-3"]


@pytest.mark.parametrize(
    "name",
    ["my log", "a/b", "../up", 'say "x"', "Bücher & Filme", "журнал", "x" * 300, "…", "50%#?", "-"],
)
def test_the_live_view_links_to_a_run_whatever_its_log_is_called(tmp_path: Path, name: str) -> None:
    run_dir = new_run_dir(tmp_path, f"{name}-fleet", NOW)
    assert run_dir.parent == tmp_path
    assert run_name(Settings(), run_dir) == run_dir.name
    again = new_run_dir(tmp_path, f"{name}-fleet", NOW)
    assert run_name(Settings(), again) == again.name != run_dir.name
    assert len(again.name) <= 100
    assert Facts.__struct_fields__[0] == "run"


def exported(settings: Settings, recipe: str, made: float, seed: int = 0) -> Bundle:
    """A bundle as an export with these settings leaves it, ``made`` seconds after 1970."""
    bundle = make_bundle(bundle_dir(settings, recipe), seed=seed)
    told = {"recipe": recipe, "bundle_id": bundle.id, "asked": settings_digest(settings)}
    note = recipe_note(bundle.path)
    note.write_text(json.dumps(told))
    for file in (note, bundle.path / "manifest.json"):
        os.utime(file, (made, made))
    return bundle


def test_each_recipe_has_a_bundle_of_its_own_and_settings_find_theirs(tmp_path: Path) -> None:
    first, second = (Settings(work_dir=tmp_path, seed=seed) for seed in (1, 2))
    with pytest.raises(ConfigError, match=r"scalrec export.*--bundle"):
        find_bundle(first)
    mine = exported(first, "a" * 16, made=100.0, seed=1)
    theirs = exported(second, "b" * 16, made=200.0, seed=2)
    assert mine.path != theirs.path
    assert find_bundle(first) == mine.path
    assert find_bundle(second) == theirs.path
    newer = exported(first, "c" * 16, made=300.0, seed=3)  # the log has grown, say
    assert find_bundle(first) == newer.path
    # A fleet's own seed is none that a bundle was made with: the newest, or the cloud's.
    fleet = Settings(work_dir=tmp_path, seed=77)
    assert find_bundle(fleet) == newer.path
    assert find_bundle(fleet, theirs.id) == theirs.path
    assert find_bundle(first, "unknown") == newer.path


def test_bundles_of_other_logs_and_unfinished_ones_are_not_taken(tmp_path: Path) -> None:
    settings = Settings.model_validate({"work_dir": tmp_path, "log": {"name": "films"}})
    longer = Settings.model_validate({"work_dir": tmp_path, "log": {"name": "films-small-minilm"}})
    exported(longer, "a" * 16, made=100.0)
    bundle_dir(settings, "d" * 16).mkdir()
    with pytest.raises(ConfigError, match="no bundle films-small-minilm"):
        find_bundle(settings)
    old = make_bundle(tmp_path / "bundles" / "films-small-minilm")  # named without a recipe
    assert find_bundle(settings) == old.path
