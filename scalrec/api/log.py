"""Log: an interaction log that was loaded, and how to find it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from scalrec.api.options import Assignments, PathLike, assigned, console_for, settings_for
from scalrec.console import ConsoleProgress
from shared.interactions import InteractionLog
from training.data import registry


@dataclass(frozen=True, eq=False)
class Log:
    """A log in memory.

    Attributes:
        interactions: the events as columns, by indices of users and items.
        source: which log it is, in the options of a command; the other calls use it.
    """

    interactions: InteractionLog
    source: Mapping[str, Any]

    def __len__(self) -> int:
        """Events."""
        return len(self.interactions)

    def __repr__(self) -> str:
        return f"<Log {self.interactions.name}: {len(self):,} events of {len(self.users):,} users>"

    @property
    def users(self) -> tuple[str, ...]:
        """Their ids, as in the file."""
        return self.interactions.user_ids

    @property
    def items(self) -> tuple[str, ...]:
        """Their ids, as in the file."""
        return self.interactions.catalogue.ids

    def describe(self) -> dict[str, str]:
        """Counts and time span in words, as `scalrec data show` prints them."""
        return self.interactions.describe()

    def frame(self) -> pl.DataFrame:
        """One row an event, each user's in order: user, item, title, and what else is known: time
        (Unix seconds), utc_offset_min (of the user's clock), query."""
        log = self.interactions
        items = log.catalogue
        columns: dict[str, Any] = {
            "user": [log.user_ids[user] for user in log.user.tolist()],
            "item": [items.ids[item] for item in log.item.tolist()],
            "title": [items.titles[item] for item in log.item.tolist()],
        }
        known = {"time": log.time, "utc_offset_min": log.utc_offset_min, "query": log.query}
        columns |= {name: column for name, column in known.items() if column is not None}
        return pl.DataFrame(columns)


def load_log(
    log: PathLike = "movielens-100k",
    *,
    columns: str | Mapping[str, str] | None = None,
    items: PathLike | None = None,
    settings: Assignments | None = None,
    verbose: bool = False,
) -> Log:
    """Read and check a log.

    Args:
        log: a known one (`scalrec data list`), one that an installed package reads, or your file.
        columns: of your file, by role: ``{"user": "who", "item": "what", "time": "when"}``, or as
            ``--columns`` takes them; None: by the usual names.
        items: a file with item id and item text.
        settings: by full names, e.g. ``{"log.min_events": 10}``.
        verbose: print progress.

    Raises:
        ConfigError: no such log, or a setting that is none; says what there is.
        DataError: the file is malformed, named with the line, or nobody has enough events.
    """
    source: dict[str, Any] = {"log": str(log)}
    if columns is not None:
        told = [columns] if isinstance(columns, str) else [f"{r}={c}" for r, c in columns.items()]
        source["columns"] = told
    if items is not None:
        source["items"] = Path(items)
    if settings:
        source["assignments"] = assigned(settings)
    chosen = settings_for(source, None, {})
    progress = ConsoleProgress(console_for(verbose))
    return Log(registry.load_log(chosen.log, cache=chosen.cache, progress=progress), source)


def source_of(log: Log | PathLike) -> Mapping[str, Any]:
    """The options of a log that was loaded, or that goes by its name or file."""
    return log.source if isinstance(log, Log) else {"log": str(log)}
