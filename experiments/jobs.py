"""What the runner and a cell's process tell each other, as files in a folder of their own.

``job.json`` is what to do, ``progress.json`` how far it is. When a text has to be embedded and no
server is known, the process writes ``embedder-wanted`` with the model's name and waits for
``embedder.json`` with the address of one that the runner started: so two processes share a server,
and none is started when every text is in the cache.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, SecretStr, ValidationError

from experiments.cells import Cell, PlannedCell
from experiments.settings import CellSettings
from shared.errors import ConfigError, DataError
from shared.files import write_whole
from shared.section import printable
from shared.strict import Strict

JOB, PROGRESS, WANTED, SERVED = "job.json", "progress.json", "embedder-wanted", "embedder.json"
POLL_S = 0.2
API_KEY = "SCALREC_EMBEDDER__API_KEY"  # the only secret that a cell needs
M = TypeVar("M", bound=BaseModel)


class Job(Strict):
    """One cell to compute and where to put it."""

    experiment: str
    log: str
    profile: str
    variant: str
    seed: int
    key: str
    settings: dict[str, Any]
    threads: int
    study: str
    sections: tuple[str, ...] = ()
    store: Path
    revision: str | None
    code: str

    def planned(self) -> PlannedCell:
        """Raises ConfigError if the settings are not valid here."""
        try:
            settings = CellSettings.model_validate(self.settings, extra="ignore")
        except ValidationError as error:
            raise ConfigError(f"invalid settings of a cell: {error}") from error
        training = settings.training.model_copy(update={"threads": self.threads})
        embedder = settings.embedder
        if (key := os.environ.get(API_KEY)) is not None:
            embedder = embedder.model_copy(update={"api_key": SecretStr(key)})
        settings = settings.model_copy(update={"training": training, "embedder": embedder})
        cell = Cell(self.log, self.profile, self.variant, self.seed)
        return PlannedCell(cell, settings, self.key, self.sections)


class StageProgress(Strict):
    """What a cell's process is doing."""

    label: str
    done: int = 0
    total: int | None = None


class Wanted(Strict):
    """The model that texts are to be embedded with: a name, or the folder of a tuned one."""

    model: str


class EmbedderAnswer(Strict):
    """A running embedding server, or why there is none."""

    url: str | None = None
    error: str = ""


def without_secrets(settings: CellSettings) -> dict[str, Any]:
    """CellSettings as a file may hold them; a cell's process has the rest from its environment."""
    plain = printable(settings)
    for name, section in settings:
        if isinstance(section, BaseModel):
            for field, value in section:
                if isinstance(value, SecretStr):
                    del plain[name][field]
    return plain


def secrets_environment(settings: CellSettings) -> dict[str, str]:
    """The embedder's key as the variable the settings are read from."""
    key = settings.embedder.api_key
    return {} if key is None else {API_KEY: key.get_secret_value()}


def send(folder: Path, name: str, message: BaseModel | None = None) -> None:
    """Write a message in one step; the reader sees the whole of it or none."""
    # No fsync: a message is worthless after a crash of the machine.
    text = "" if message is None else message.model_dump_json()
    write_whole(folder / name, text, fsync=False)


def receive(folder: Path, name: str, kind: type[M]) -> M | None:
    """The message, None if it is not there yet; raises DataError if it is none."""
    try:
        return kind.model_validate_json((folder / name).read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise DataError(f"not a message between runner and cell: {error}", folder / name) from error


async def await_message(folder: Path, name: str, kind: type[M]) -> M:
    """Wait for a message; the other side answers or ends this process."""
    # A file of another process: there is no event to wait for.
    while (message := receive(folder, name, kind)) is None:  # noqa: ASYNC110
        await asyncio.sleep(POLL_S)
    return message
