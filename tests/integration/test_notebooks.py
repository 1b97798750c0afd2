"""The notebooks run from top to bottom and show what they show where they are kept.

After a change, in a copy of the folder, so that what the run writes stays outside the checkout:
``.venv/bin/python -c "from nbclient.cli import main; main()" --inplace NAME.ipynb``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[2] / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
TIMEOUT_S = 240  # of a cell, on a busy machine


def pictures(notebook: nbformat.NotebookNode) -> list[str]:
    """Ids of the cells that show a picture, in order."""
    return [
        cell["id"] for cell, output in outputs(notebook) if "image/png" in output.get("data", {})
    ]


def outputs(
    notebook: nbformat.NotebookNode,
) -> Iterator[tuple[nbformat.NotebookNode, nbformat.NotebookNode]]:
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            yield cell, output


def test_there_are_three() -> None:
    assert [path.stem for path in NOTEBOOKS] == [
        "own-log-and-policy",
        "quick-start",
        "reading-the-records",
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all three run, as they do side by side: what one has trained the next one reuses."""
    return tmp_path_factory.mktemp("notebooks")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_and_shows_its_pictures(
    path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCALREC_CACHE", str(folder / "cache"))
    monkeypatch.setenv("IPYTHONDIR", str(folder / "ipython"))
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    kept = nbformat.read(path, as_version=4)
    shown = pictures(kept)
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=TIMEOUT_S,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute()
    assert len(shown) >= 3
    assert pictures(notebook) == shown
    assert not any(output.get("name") == "stderr" for _, output in outputs(notebook))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_is_kept_names_no_folder_of_whoever_ran_it(path: Path) -> None:
    text = path.read_text()
    assert "/home/" not in text
    assert "/root/" not in text
    assert "/tmp/" not in text  # noqa: S108
    assert len(text) < 400_000
