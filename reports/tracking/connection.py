"""How MLflow is reached: imported when it is asked for, without its usage data, within a minute."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from shared.addresses import masked, masked_address
from shared.errors import ConfigError, ScalrecError

# MLflow takes these from the environment alone. Left to itself it sends usage data to its makers
# and tries a server that does not answer for minutes. What the user has set stays.
DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",  # seconds, each of three attempts
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
INSTALL = "pip install 'scalrec[mlflow]' (in a checkout: python3 scripts/bootstrap.py mlflow)"
_SQLITE = "sqlite:///"


class TrackingUnavailable(ScalrecError):
    """MLflow's server or store cannot be reached, or does not do what it is asked."""


@dataclass(frozen=True)
class Tracker:
    """A client of MLflow.

    Attributes:
        client: an ``MlflowClient``. entities: the module with what it takes.
        uri: what it writes to, as MLflow resolved it; may hold a password.
    """

    client: Any
    entities: Any
    uri: str

    @property
    def shown(self) -> str:
        """Its address as it may be printed."""
        return masked_address(self.uri)

    def page_of(self, experiment_id: str, run_id: str) -> str | None:
        """Address of a run's page on a server, without user and password; None of a database."""
        parts = urlsplit(self.uri)
        if parts.scheme not in ("http", "https"):
            return None
        host = parts.netloc.rpartition("@")[2]
        root = f"{parts.scheme}://{host}{parts.path.rstrip('/')}"
        return f"{root}/#/experiments/{experiment_id}/runs/{run_id}"

    @property
    def artifacts(self) -> str | None:
        """Where the files of a new experiment go: beside a SQLite file; None where MLflow says.

        MLflow puts those of a local store into the working folder, wherever the store lies.
        """
        file = sqlite_file(self.uri)
        return None if file is None else (file.absolute().parent / "mlruns").as_uri()


@contextmanager
def connected(uri: str | None) -> Iterator[Tracker]:
    """A client of the store at ``uri``, with this process's environment set as MLflow needs it.

    Args:
        uri: of a tracking server (``http://HOST:PORT``) or a database (``sqlite:///FILE``); None:
            what MLFLOW_TRACKING_URI says, else MLflow's default, ``mlflow.db`` in this folder.

    Raises:
        ConfigError: MLflow is not installed, or does not know such a store.
        TrackingUnavailable: the store cannot be reached or refuses what it is asked.
    """
    with _environment():
        try:
            import mlflow.entities
            from mlflow.exceptions import MlflowException
            from mlflow.tracking import MlflowClient, get_tracking_uri
        except ImportError as error:
            raise ConfigError(f"MLflow is not installed ({error}): {INSTALL}") from error
        uri = uri or get_tracking_uri()
        if (file := sqlite_file(uri)) is not None:
            _check_sqlite(file)
        try:
            yield Tracker(MlflowClient(tracking_uri=uri), mlflow.entities, uri)
        except (MlflowException, OSError, *_database_errors()) as error:  # requests' are OSErrors
            raise TrackingUnavailable(
                f"MLflow at {masked_address(uri)} did not take the run: {_told(error)}\n"
                "Correct --tracking-uri or MLFLOW_TRACKING_URI, or start the server; the report "
                "itself is written, and the same command completes what is missing in MLflow"
            ) from error
        except ImportError as error:
            raise ConfigError(
                f"MLflow at {masked_address(uri)} needs the package {error.name}, which is not "
                "installed: install it beside scalrec"
            ) from error


def sqlite_file(uri: str) -> Path | None:
    """The file of a SQLite store; None for another store."""
    if not uri.startswith(_SQLITE):
        return None
    return Path(unquote(uri.removeprefix(_SQLITE).partition("?")[0]))


@contextmanager
def _environment() -> Iterator[None]:
    missing = {name: value for name, value in DEFAULTS.items() if name not in os.environ}
    os.environ.update(missing)
    try:
        yield
    finally:
        for name in missing:
            os.environ.pop(name, None)


def _check_sqlite(file: Path) -> None:
    """Open the file once: MLflow tries one that cannot be opened for a minute and a half."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(file)) as opened:
            opened.execute("PRAGMA schema_version")
    except (OSError, sqlite3.Error) as error:
        raise ConfigError(
            f"--tracking-uri: {file} cannot be used as MLflow's SQLite file ({error}); name another"
        ) from error


def _database_errors() -> tuple[type[Exception], ...]:
    try:
        from sqlalchemy.exc import SQLAlchemyError
    except ImportError:  # a server alone needs none
        return ()
    return (SQLAlchemyError,)


def _told(error: Exception) -> str:
    """The first line of what MLflow says, which can be a page long."""
    line = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return masked(line)
