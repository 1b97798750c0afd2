"""ReDial: people seeking a film talk to people recommending one; one dialogue a line, as JSON.

A seeker is a user, and each film's first mention in a dialogue (``@12345`` in a message, whoever
writes it) is an event, in the order of dialogues and messages. The query of an event is what was
said last in its dialogue before the message that mentions it: nothing of that message, nothing
later, nothing of an earlier dialogue; so it is empty where a dialogue opens with a mention.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated

import polars as pl
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from device_runtime.abstract.sanitise import MAX_INPUT_CHARS, clean_text, identifiers, newest
from shared.abstract_form import AbstractForm
from shared.errors import DataError
from shared.interactions import InteractionLog
from training.data.reading.streams import first_line, numbered_lines
from training.data.redial_films import (
    FilmFiles,
    complaint,
    films_beside,
    read_films,
)
from training.data.source import LogSource
from training.data.text import UNKNOWN_ITEM, Item
from training.data.validate import build_log

TERMS = """\
ReDial (Recommendations through Dialogue): Creative Commons Attribution 4.0 (CC BY 4.0).
Plots, genres, directors and stars, where a file beside the dialogues gives them, come from IMDb
through another project; no licence is stated for them.
Cite: Raymond Li, Samira Ebrahimi Kahou, Hannes Schulz, Vincent Michalski, Laurent Charlin and
Chris Pal. Towards Deep Conversational Recommendations. NeurIPS 2018."""
SOURCE = LogSource(
    name="redial",
    title="ReDial: film mentions in 11,348 dialogues (all of the release), with their queries",
    terms=TERMS,
    origin="the site its authors made for the ReDial data set: train_data.jsonl, test_data.jsonl",
    fetchable=False,
    # Most seekers mention a few films and are gone; of these, ten steps can be tested.
    min_events=15,
)
QUERY_MESSAGES = 6
# What an abstract passes on of a query; a longer one would lose its newest words there.
QUERY_CHARS = AbstractForm().query_chars
_KEYS = ("conversationId", "initiatorWorkerId", "messages")
_SPLITS = ("train_data.jsonl", "test_data.jsonl")
_MENTION = re.compile(r"@(\d+)(\w?)", re.ASCII)
_SENTENCE_ENDS = (".", "!", "?")


class _Message(BaseModel):
    text: str


def _none_is_empty(mentions: object) -> object:
    """The release writes a dialogue without films as an empty list."""
    return mentions or {}


class _Dialogue(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)

    conversation_id: Annotated[int, Field(ge=0, lt=1 << 63)]
    initiator_worker_id: int
    movie_mentions: Annotated[dict[str, str | None], BeforeValidator(_none_is_empty)] = {}
    messages: tuple[_Message, ...]


def recognises(path: Path) -> bool:
    """True if the first line is an object with the keys of a ReDial dialogue."""
    line = first_line(path, "utf-8").removeprefix("\ufeff")
    return line.lstrip().startswith("{") and all(f'"{key}"' in line for key in _KEYS)


def load(
    path: Path, *, name: str = SOURCE.name, items: Path | None = None, min_events: int
) -> InteractionLog:
    """Read dialogues; raises DataError naming file and line.

    Args:
        path: dialogues, one a line (gzip too). Of the release's two splits the one beside the
            other is read as well: a seeker's dialogues are in both.
        name: what to call the log.
        items: a file about films, see ``redial_films``; None: the ones beside ``path``.
        min_events: seekers with fewer mentions are dropped.
    """
    files = _with_other_split(path)
    dialogues = _read(files)
    beside = films_beside(path)
    about = FilmFiles(beside.titles, items or beside.info)
    films = read_films(about, _titles_in(dialogues))
    mentions = _first_mentions(dialogues, films)
    notes = ["no times: mentions stand in the order of dialogues and messages"]
    notes += [f"{file.name} beside it read as well" for file in files[1:]]
    if about.info is None:
        notes.append("films have titles alone, no plots")
    return build_log(
        name,
        mentions.select(
            "user", "item", session="dialogue", query=_queries(mentions, dialogues, films)
        ),
        films,
        min_events=min_events,
        source=path,
        terms=TERMS,
        notes=tuple(notes),
    )


def _read(files: list[Path]) -> dict[int, _Dialogue]:
    """The dialogues of all files by their number, ascending."""
    found: dict[int, _Dialogue] = {}
    places: dict[int, str] = {}
    for path in files:
        for line, text in numbered_lines(path):
            if not text.strip():
                continue
            try:
                dialogue = _Dialogue.model_validate_json(text)
            except ValidationError as error:
                raise DataError(f"not a dialogue: {complaint(error)}", path, line) from error
            number = dialogue.conversation_id
            if number in found:
                message = f"dialogue {number} already stands in {places[number]}"
                raise DataError(message, path, line)
            found[number], places[number] = dialogue, f"{path.name}, line {line}"
    return dict(sorted(found.items()))


def _titles_in(dialogues: Mapping[int, _Dialogue]) -> dict[str, str]:
    """Title of every film any dialogue lists, "" where none has one."""
    titles: dict[str, str] = {}
    for dialogue in dialogues.values():
        for film, title in dialogue.movie_mentions.items():
            titles[film] = titles.get(film) or title or ""
    return titles


def _first_mentions(dialogues: Mapping[int, _Dialogue], films: Collection[str]) -> pl.DataFrame:
    """Columns user, item, dialogue and message (its place), one row a dialogue and film."""
    rows = []
    for number, dialogue in dialogues.items():
        seen: set[str] = set()
        for place, message in enumerate(dialogue.messages):
            for film, _ in _MENTION.findall(message.text):
                if film in films and film not in seen:
                    seen.add(film)
                    rows.append((str(dialogue.initiator_worker_id), film, number, place))
    schema = {"user": pl.String, "item": pl.String, "dialogue": pl.Int64, "message": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _queries(
    mentions: pl.DataFrame, dialogues: Mapping[int, _Dialogue], films: Mapping[str, Item]
) -> pl.Series:
    """The query of each mention: what was said before the message it stands in."""
    ids = identifiers(films)
    titles = {film: "" if i.title == UNKNOWN_ITEM else i.title for film, i in films.items()}

    @functools.cache  # films of one message share their query
    def query(number: int, place: int) -> str:
        before = dialogues[number].messages[max(0, place - QUERY_MESSAGES) : place]
        return _query([message.text for message in before], titles, ids)

    rows = mentions.select("dialogue", "message").iter_rows()
    return pl.Series([query(number, place) for number, place in rows], dtype=pl.String)


def _query(messages: list[str], titles: Mapping[str, str], ids: Collection[str]) -> str:
    """The newest words of ``messages`` that fit, films by title, cleaned as the device cleans."""

    def titled(match: re.Match[str]) -> str:
        if match[1] not in titles:
            return match[0]  # no film; the sanitiser removes every word with an @
        return f"{titles[match[1]]} {match[2]}".strip()

    texts = (_MENTION.sub(titled, message).strip() for message in messages)
    said = " ".join(t if t.endswith(_SENTENCE_ENDS) else f"{t}." for t in texts if t)
    said = clean_text(newest(said, MAX_INPUT_CHARS), forbidden=ids, max_chars=MAX_INPUT_CHARS)
    if len(said) <= QUERY_CHARS:
        return said
    # Clean again after the cut: half of a harmless text may look like an id or a date.
    return clean_text(newest(said, QUERY_CHARS), forbidden=ids, max_chars=QUERY_CHARS)


def _with_other_split(path: Path) -> list[Path]:
    split = path.name.removesuffix(".gz")
    if split not in _SPLITS:
        return [path]
    other = _SPLITS[1 - _SPLITS.index(split)]
    beside = (path.with_name(name) for name in (other, f"{other}.gz"))
    return [path, *[file for file in beside if file.is_file()][:1]]
