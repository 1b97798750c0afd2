"""An edit costs exactly the stages whose results it may change."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import training
from training.fingerprint import code_hashes

ROOT = Path(training.__file__).parents[1]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sources")
    for package in ("training", "device_runtime", "shared"):
        shutil.copytree(ROOT / package, root / package, ignore=shutil.ignore_patterns("*.pyc"))
    return root


ALL = {"items", "backbone", "abstracts", "projector", "calibration"}


@pytest.mark.parametrize(
    ("edited", "stages"),
    [
        ("training/calibration_fit.py", {"calibration"}),
        ("training/calibration.py", {"calibration"}),
        ("training/projector.py", {"projector"}),
        ("training/backbone.py", {"backbone"}),
        ("training/encoders/base.py", {"backbone", "projector", "calibration"}),
        # The backbone's key holds its code, and the keys of what reads it hold that key.
        ("training/encoders/sasrec.py", {"backbone"}),
        ("training/encoders/surge.py", set()),
        ("training/embedding_cache.py", {"items", "backbone", "abstracts"}),
        ("device_runtime/cues.py", {"projector", "calibration"}),
        ("training/export.py", set()),
        ("training/stage_forms.py", set()),
        ("training/fingerprint.py", set()),
        ("shared/errors.py", set()),
        ("training/settings.py", set()),
    ],
)
def test_an_edit_changes_the_code_of_its_own_stages_only(
    copy: Path, edited: str, stages: set[str]
) -> None:
    before = code_hashes(root=copy)
    path = copy / edited
    text = path.read_text()
    path.write_text(text + "\nEDITED = 1\n")
    after = code_hashes(root=copy)
    path.write_text(text)
    assert {stage for stage in ALL if before[stage] != after[stage]} == stages


def test_the_text_of_abstracts_is_code_of_their_stage(copy: Path) -> None:
    before = code_hashes(root=copy)["abstracts"]
    path = copy / "device_runtime/sanitise.py"
    path.write_text(path.read_text() + "\nEDITED = 1\n")
    assert code_hashes(root=copy)["abstracts"] != before


def test_the_code_in_use_is_what_is_hashed(copy: Path) -> None:
    assert code_hashes() == code_hashes(root=ROOT)
    assert set(code_hashes()) == ALL
