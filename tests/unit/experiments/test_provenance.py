"""Where figures come from."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from experiments import provenance
from shared.errors import ConfigError


def git(root: Path, *arguments: str) -> None:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", "-C", str(root), *who, *arguments], check=True, capture_output=True)


@pytest.fixture
def code(tmp_path: Path) -> Path:
    for name in ("training", "docs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("")
    (tmp_path / "training" / "study.py").write_text('"""Doc."""\n\nX = 1\n')
    return tmp_path


@pytest.fixture
def checkout(code: Path) -> Path:
    if shutil.which("git") is None:
        pytest.skip("asks git what has changed, and there is no git here")
    git(code, "init", "-q")
    git(code, "add", ".")
    git(code, "commit", "-qm", "one")
    return code


def test_changed_code_is_seen_and_documents_are_not(checkout: Path) -> None:
    (checkout / "docs" / "results.md").write_text("generated")
    assert provenance.changed_code(checkout) == []
    clean = provenance.revision(checkout)
    assert clean is not None
    assert "+" not in clean
    (checkout / "training" / "study.py").write_text("X = 2\n")
    (checkout / "training" / "new.py").write_text("Y = 1\n")
    assert provenance.changed_code(checkout) == ["training/new.py", "training/study.py"]
    assert provenance.revision(checkout) == clean + "+changes"


def test_outside_a_checkout_there_is_no_revision(tmp_path: Path) -> None:
    assert provenance.revision(tmp_path) is None
    assert provenance.changed_code(tmp_path) == []


def test_the_code_hash_follows_code_and_not_comments(code: Path) -> None:
    study = code / "training" / "study.py"
    before = provenance.code_hash("training.study:run_cell", code)
    study.write_text('"""Another."""\n\n# why\nX = 1\n')
    assert provenance.code_hash("training.study:run_cell", code) == before
    study.write_text("X = 2\n")
    assert provenance.code_hash("training.study:run_cell", code) != before
    with pytest.raises(ConfigError, match=r"no module training\.other"):
        provenance.code_hash("training.other:run_cell", code)


def test_the_machine_is_told_in_words() -> None:
    assert "cores, Python 3." in provenance.machine()
