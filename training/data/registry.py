"""The logs scalrec knows by name, and which module reads a file somebody brings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, Protocol

from shared.errors import ConfigError, DataError
from shared.interactions import InteractionLog
from shared.plugins import PluginKind, package_of
from shared.progress import NullProgress, Progress
from training.data import amazon, custom, foursquare, movielens, recbole, redial, sequences
from training.data.reading.parts import name_of, parts_of
from training.data.source import MIN_EVENTS, LogSource
from training.settings import LogSettings

RETURNS_ALLOWED_ABOVE = 0.01  # share of events that are returns


class _Fetch(Protocol):
    def __call__(
        self,
        cache: Path,
        progress: Progress,
        source_url: str | None = None,
        sha256: str | None = None,
    ) -> Path: ...


@dataclass(frozen=True)
class _Known:
    source: LogSource
    fetch: _Fetch
    load: Callable[..., InteractionLog]


_KNOWN = {
    module.source.name: module
    for module in (
        _Known(movielens.SOURCE, movielens.fetch, movielens.load),
        _Known(foursquare.SOURCE, foursquare.fetch, foursquare.load),
    )
}
_BROUGHT = {source.name: source for source in (redial.SOURCE, *amazon.SOURCES)}
LOADERS = PluginKind(
    group="scalrec.log_loaders",
    noun="log loader",
    setting="log.name",
    built_in=(*_KNOWN, *_BROUGHT),
)


def known_logs() -> list[LogSource]:
    """Logs that can be named in ``log.name``, the default first; some need their file as well."""
    ours = [*(known.source for known in _KNOWN.values()), *_BROUGHT.values()]
    return [*ours, *(_of_a_package(name) for name in LOADERS.names() if name not in _names(ours))]


def fetch(
    name: str,
    cache: Path,
    progress: Progress | None = None,
    source_url: str | None = None,
    sha256: str | None = None,
) -> Path:
    """Bring a known log into the cache, unless it is there, and return where it lies.

    Args:
        name: one of ``known_logs``.
        cache: the user cache.
        source_url: another address (or path) of the same file.
        sha256: the hash that file must have.

    Raises:
        ConfigError: no such log, or one whose file has to be brought.
        DataError: it cannot be fetched or is not what it should be.
    """
    return _known(name).fetch(cache, progress or NullProgress(), source_url, sha256)


def load_log(
    settings: LogSettings, *, cache: Path, progress: Progress | None = None
) -> InteractionLog:
    """The validated log the settings ask for; a known one is fetched first if need be.

    A log whose loader an installed package brings is that loader's, whatever ``path`` says: it
    gets these settings.

    Raises:
        ConfigError: unknown name, a log to bring without its file, malformed ``columns``, or a
            package's loader that cannot be used.
        DataError: the file is missing, malformed (named by file and line) or has no usable user.
    """
    progress = progress or NullProgress()
    loader = LOADERS.load(settings.name)
    if loader is not None:
        return _loaded(settings.name, loader(settings, cache, progress))
    if settings.path is not None:
        return _load_file(settings, settings.path)
    known = _known(settings.name)
    path = known.fetch(cache, progress)
    return known.load(path, min_events=settings.min_events or known.source.min_events)


def repeat_policy(settings: LogSettings, log: InteractionLog) -> Literal["allow", "exclude"]:
    """May items the user already had be recommended: as set, or yes if the log's users return."""
    if settings.repeat_policy != "auto":
        return settings.repeat_policy
    return "allow" if log.return_share() > RETURNS_ALLOWED_ABOVE else "exclude"


def _load_file(settings: LogSettings, path: Path) -> InteractionLog:
    """A file somebody brings: what it is shows in its name and its first line."""
    if settings.items is not None and not settings.items.is_file():
        raise DataError(
            "no such file; log.items (--items) names one with item ids and text", settings.items
        )
    parts = parts_of(path)
    stem = name_of(path)
    name = stem if settings.name == movielens.SOURCE.name else settings.name
    few, items = settings.min_events or MIN_EVENTS, settings.items
    own = partial(
        custom.load,
        name=name,
        columns=settings.columns,
        items=items,
        min_events=few,
        bad_rows=settings.bad_rows,
        duplicates=settings.duplicates,
    )
    if len(parts) > 1:
        return own(path)
    (path,) = parts
    if path.suffix == recbole.SUFFIX:
        return recbole.load(path, **own.keywords)
    if settings.columns is None:
        if settings.name == foursquare.SOURCE.name or foursquare.recognises(path):
            chosen = {key: value for key, value in own.keywords.items() if key != "columns"}
            return foursquare.load(path, **chosen)
        if settings.name == redial.SOURCE.name or redial.recognises(path):
            few = settings.min_events or redial.SOURCE.min_events
            return redial.load(path, name=name, items=items, min_events=few)
        if settings.name in amazon.NAMES or sequences.recognises(path):
            return sequences.load(path, name=name, items=items, min_events=few)
    return own(path)


def _loaded(name: str, log: object) -> InteractionLog:
    """What a package's loader gave, with a note of where it is from."""
    package = _package(name)
    if not isinstance(log, InteractionLog):
        raise ConfigError(
            f"the log loader {name!r} of {package} gave {type(log).__name__}, not an InteractionLog"
        )
    return replace(log, notes=(*log.notes, f"read by the log loader {name} of {package}"))


def _of_a_package(name: str) -> LogSource:
    package = _package(name)
    return LogSource(
        name=name,
        title=f"read by {package}",
        terms=f"see {package}",
        origin=package,
        fetchable=False,
    )


def _package(name: str) -> str:
    """That brings the loader of this name."""
    point = LOADERS.find(name)
    return name if point is None else package_of(point)


def _names(sources: list[LogSource]) -> set[str]:
    return {source.name for source in sources}


def _known(name: str) -> _Known:
    if LOADERS.find(name) is not None:
        raise ConfigError(
            f"{name} is a log of an installed package, which reads it itself: there is nothing to "
            "fetch"
        )
    if name in _BROUGHT:
        raise ConfigError(
            f"{name} is a log you bring; give its file with log.path (--log PATH). "
            f"It comes from {_BROUGHT[name].origin}"
        )
    if name not in _KNOWN:
        raise ConfigError(
            f"no log is called {name!r}: name one of "
            f"{', '.join((*_KNOWN, *LOADERS.names()))}, or give the file of your own with "
            "log.path (--log PATH)"
        )
    return _KNOWN[name]
