"""Addresses of MLflow: which file one names, where files go, what may be shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from reports.tracking.connection import Tracker, sqlite_file


def tracker(uri: str) -> Tracker:
    return Tracker(client=None, entities=None, uri=uri)


def test_a_sqlite_address_names_a_file() -> None:
    assert sqlite_file("sqlite:///mlflow.db") == Path("mlflow.db")
    assert sqlite_file("sqlite:////srv/our%20runs/m.db?timeout=5") == Path("/srv/our runs/m.db")
    assert sqlite_file("http://host:5000") is None
    assert sqlite_file("postgresql://host/runs") is None


def test_files_of_a_sqlite_store_lie_beside_it() -> None:
    assert tracker("sqlite:////srv/our/m.db").artifacts == "file:///srv/our/mlruns"
    assert tracker("http://host:5000").artifacts is None


@pytest.mark.parametrize(
    ("uri", "page"),
    [
        ("http://host:5000", "http://host:5000/#/experiments/1/runs/ab"),
        ("https://me:hidden@host/ml/", "https://host/ml/#/experiments/1/runs/ab"),
        ("sqlite:////srv/m.db", None),
    ],
)
def test_the_page_of_a_run_holds_no_password(uri: str, page: str | None) -> None:
    assert tracker(uri).page_of("1", "ab") == page
    assert "hidden" not in tracker(uri).shown
