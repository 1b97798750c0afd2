"""What is known of ReDial's films: titles from the dialogues and two optional files beside them.

``movies_with_mentions.csv``: movieId, movieName (of the release). ``movies_info.json``: an object
of id -> name, genre, plot, director, star. Both also gzipped, and also named ``redial_...``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from pydantic import BaseModel, TypeAdapter, ValidationError

from shared.errors import DataError
from training.data.items import read_items
from training.data.reading.streams import first_line, read_content
from training.data.text import Item, describe

TITLES = "movies_with_mentions.csv"
INFO = "movies_info.json"


class _Film(BaseModel):
    name: str
    genre: tuple[str, ...] = ()
    plot: str = ""
    director: tuple[str, ...] = ()
    star: tuple[str, ...] = ()


_FILMS = TypeAdapter(dict[str, _Film])


@dataclass(frozen=True, slots=True)
class FilmFiles:
    """Files that tell of films, None where there is none."""

    titles: Path | None
    info: Path | None


def films_beside(path: Path) -> FilmFiles:
    """The files in the folder of ``path`` that tell of its films."""
    return FilmFiles(_beside(path, TITLES), _beside(path, INFO))


def read_films(files: FilmFiles, named: Mapping[str, str]) -> dict[str, Item]:
    """Every film known, by id.

    Args:
        files: where more is said; info counts most, the titles next.
        named: id -> title as the dialogues have it, "" where they have none.

    Raises:
        DataError: a file is malformed; names the film, or the file's line.
    """
    items = {film: describe(readable(title)) for film, title in named.items()}
    if files.titles is not None:
        titles = read_items(files.titles).items()
        items |= {film: describe(readable(item.title)) for film, item in titles}
    if files.info is not None:
        items |= read_info(files.info) if _is_json(files.info) else read_items(files.info)
    return items


def read_info(path: Path) -> dict[str, Item]:
    """Films of an info file: title with year, genres, plot, directors and stars in words."""
    try:
        films = _FILMS.validate_json(read_content(path))
    except ValidationError as error:
        raise DataError(complaint(error), path) from error
    return {film: _item(what) for film, what in films.items()}


def readable(title: str) -> str:
    """``Why Him%3F (2016)``, as part of an address, in plain characters."""
    return unquote(title)


def complaint(error: ValidationError) -> str:
    """The first thing wrong, with the place inside the JSON."""
    first = error.errors(include_url=False)[0]
    place = ".".join(str(step) for step in first["loc"])
    return f"{place}: {first['msg']}" if place else first["msg"]


def _item(film: _Film) -> Item:
    more = [film.plot.rstrip(".")]
    if film.director:
        more.append(f"Directed by {', '.join(film.director)}")
    if film.star:
        more.append(f"Starring {', '.join(film.star)}")
    said = ". ".join(part for part in more if part)
    return describe(readable(film.name), categories=film.genre, more=said)


def _is_json(path: Path) -> bool:
    return first_line(path).lstrip().startswith("{")


def _beside(path: Path, name: str) -> Path | None:
    names = (start + name + end for start in ("redial_", "") for end in ("", ".gz"))
    return next((file for name in names if (file := path.with_name(name)).is_file()), None)
