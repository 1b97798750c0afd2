"""What counts as a stage's code: all it imports when it runs, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.errors import ConfigError
from training.sources import SourceTree

FILES = {
    "app/__init__.py": "",
    "app/fit.py": "import app.deep.maths\nfrom lib import tool\nfrom app import words\n",
    "app/other.py": "import app.fit\n",
    "app/words.py": "import app.unread\n",
    "app/unread.py": "x = 1\n",
    "app/types.py": "x = 1\n",
    "app/deep/__init__.py": "",
    "app/deep/maths.py": (
        "from typing import TYPE_CHECKING\nimport numpy\nif TYPE_CHECKING:\n    import app.types\n"
        "def f(x):\n    '''Says.'''\n    from lib.tool import late\n    return late(x)\n"
    ),
    "lib/__init__.py": "",
    "lib/tool.py": "import app.fit\nlate = abs\n",
    "app/glue.py": "GAPS: tuple = ()\nSTEP = 1\nclass Run:\n    def fit(self): return 1\n"
    "    def show(self): return 2\n",
}


@pytest.fixture
def tree(tmp_path: Path) -> SourceTree:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return SourceTree(tmp_path, ("app", "lib"), frozenset({"app.words"}))


def test_the_closure_follows_every_import_that_runs(tree: SourceTree) -> None:
    found = tree.closure(["app.fit"])
    # Cycles end, inner imports count; types alone and what is left out do not.
    assert set(found) == {"app", "app.fit", "app.deep.maths", "lib", "lib.tool"}


@pytest.mark.parametrize("name", ["app/fit.py", "app/deep/maths.py", "lib/tool.py"])
def test_changed_code_within_reach_changes_the_hash(tree: SourceTree, name: str) -> None:
    before = tree.hash(["app.fit"])
    path = tree.root / name
    path.write_text(path.read_text() + "added = 1\n")
    assert tree.hash(["app.fit"]) != before


@pytest.mark.parametrize("name", ["app/other.py", "app/types.py", "app/words.py", "app/unread.py"])
def test_code_out_of_reach_does_not(tree: SourceTree, name: str) -> None:
    before = tree.hash(["app.fit"])
    (tree.root / name).write_text("changed = 1\n")
    assert tree.hash(["app.fit"]) == before


def test_comments_and_docstrings_are_free_but_other_texts_are_not(tree: SourceTree) -> None:
    before = tree.hash(["app.fit"])
    path = tree.root / "app/deep/maths.py"
    path.write_text(path.read_text().replace("'''Says.'''", "'''Says more.'''  # and why"))
    assert tree.hash(["app.fit"]) == before
    path.write_text(path.read_text().replace("return late(x)", "return 'x'"))
    assert tree.hash(["app.fit"]) != before


def test_a_definition_stands_for_itself_alone(tree: SourceTree) -> None:
    entries = ["app.glue:Run.fit", "app.glue:STEP", "app.glue:GAPS"]
    assert tree.closure(entries) == ()
    before = tree.hash(entries)
    path = tree.root / "app/glue.py"
    path.write_text(path.read_text().replace("return 2", "return 3"))
    assert tree.hash(entries) == before
    path.write_text(path.read_text().replace("return 1", "return 3"))
    changed = tree.hash(entries)
    path.write_text(path.read_text().replace("STEP = 1", "STEP = 2"))
    assert len({before, changed, tree.hash(entries)}) == 3


@pytest.mark.parametrize("entry", ["app.gone", "app.gone:f", "app.glue:Run.gone"])
def test_an_entry_that_is_not_there_is_an_error(tree: SourceTree, entry: str) -> None:
    with pytest.raises(ConfigError, match="gone"):
        tree.hash([entry])
