"""The package that docs/extending.md shows, installed into a folder, and its parts at work."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import scalrec
from device_runtime.refresh.names import policy_text
from device_runtime.settings import DeviceSettings
from shared.errors import ConfigError
from tests.support.bundles import make_bundle
from tests.support.packages import install, install_from_page
from tests.support.runs_of_cli import CliRun
from tests.support.small_run import QUICK
from training.data.registry import fetch, known_logs, load_log
from training.settings import LogSettings

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"
START = 1_600_000_000


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path that holds the package of the page."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path / "site")
    return install_from_page(tmp_path / "site", PAGE.read_text())


@pytest.fixture
def loans(tmp_path: Path) -> Path:
    """A library's database."""
    path = tmp_path / "loans.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE books (id TEXT, title TEXT, subject TEXT)")
        database.execute("CREATE TABLE loans (reader TEXT, book TEXT, lent_at REAL)")
        titles = [f"{a} {b}" for a in ("red", "blue", "old") for b in ("river", "mill", "cat")]
        books = [(f"b{n}", title, ("crime", "poetry")[n % 2]) for n, title in enumerate(titles)]
        database.executemany("INSERT INTO books VALUES (?, ?, ?)", books)
        rows = [
            (f"reader{user}", f"b{(user + step * (1 + user % 3)) % 9}", START + 3600.0 * step)
            for user in range(40)
            for step in range(14)
        ]
        database.executemany("INSERT INTO loans VALUES (?, ?, ?)", rows)
    database.close()
    return path


def test_a_log_loader(site: Path, loans: Path) -> None:
    log = scalrec.load_log("library", settings={"log.path": loans})
    assert (len(log), len(log.users), len(log.items)) == (40 * 14, 40, 9)
    assert log.frame().row(0) == ("reader0", "b0", "red river", float(START))
    assert log.interactions.name == "library"
    assert log.interactions.notes[-1] == "read by the log loader library of scalrec-examples 1.0"
    assert log.interactions.terms.startswith("The library's own")
    few = scalrec.load_log("library", settings={"log.path": loans, "log.min_events": 5})
    assert len(few) == len(log)


def test_its_name_is_listed_and_nothing_is_fetched(site: Path, tmp_path: Path) -> None:
    listed = {source.name: source for source in known_logs()}
    assert listed["library"].origin == "scalrec-examples 1.0"
    with pytest.raises(ConfigError, match="library is a log of an installed package"):
        fetch("library", tmp_path)
    with pytest.raises(ConfigError, match="name one of movielens-100k, foursquare-nyc, library, "):
        load_log(LogSettings(name="netflix"), cache=tmp_path)


def test_a_refresh_policy(site: Path, tmp_path: Path) -> None:
    settings = {"device.policy": "drifted-enough", "device.k": 7}
    device = scalrec.Device.load(make_bundle(tmp_path / "bundle"), settings=settings)
    policy = device.device.policy
    assert type(policy).__name__ == "DriftedEnough"
    assert policy.every == 7  # type: ignore[attr-defined]
    device.recommend(3)
    assert device.wants_refresh()
    assert policy_text(DeviceSettings(policy="drifted-enough")) == "drifted-enough"
    with pytest.raises(ConfigError, match=r"there are every-k, .*indexed-drift, drifted-enough \("):
        scalrec.Device.load(tmp_path / "bundle", settings={"device.policy": "drifted"})


def test_an_embedder(site: Path) -> None:
    from cloud_service.embedding.factory import create_embedder
    from cloud_service.settings import EmbedderSettings

    embedder = create_embedder(EmbedderSettings(backend="trigrams"), model_dir=None)

    async def near(first: str, second: str) -> float:
        await embedder.ready()
        vectors = await embedder.embed([first, second])
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0)
        return float(vectors[0] @ vectors[1])

    assert embedder.identity.backend == "trigrams"
    assert asyncio.run(near("the red river", "the read rivers")) > 0.6
    assert asyncio.run(near("the red river", "old blue cats")) < 0.4


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("def make(settings, rng): return 7", "makes int, which is no refresh policy"),
        (
            "class Bare:\n    def wants_refresh(self, state): return True\n\n"
            "def make(settings, rng): return Bare()",
            "makes Bare, which does not say by compares_rankings",
        ),
    ],
)
def test_what_is_no_policy_is_refused(
    site: Path, tmp_path: Path, source: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path / "more")
    module = f"odd_policy_{len(source)}"
    points = {"scalrec.refresh_policies": {"odd": f"{module}:make"}}
    install(tmp_path / "more", "odd-parts", {f"{module}.py": source}, points)
    bundle = make_bundle(tmp_path / "bundle")
    with pytest.raises(ConfigError, match=f"device.policy=odd {why}"):
        scalrec.Device.load(bundle, settings={"device.policy": "odd"})


def test_what_is_no_log_is_refused(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path / "more")
    points = {"scalrec.log_loaders": {"odd": "odd_loader:load"}}
    source = "def load(settings, cache, progress): return [1, 2]"
    install(tmp_path / "more", "odd-parts", {"odd_loader.py": source}, points)
    with pytest.raises(ConfigError, match=r"'odd' of odd-parts 1\.0 gave list, not an Interaction"):
        scalrec.load_log("odd")


def test_a_whole_run_of_nothing_but_the_packages_parts(site: Path, loans: Path) -> None:
    """Their names on the command line; the cloud service is a process of its own."""
    quick = [part for part in QUICK if part != "--set" and "embedder" not in part]
    arguments = [
        "simulate", "--log", "library", "--set", f"log.path={loans}", "--embedder", "trigrams",
        "--set", "device.policy=drifted-enough", "--users", "20", "--duration", "6",
        *(part for assignment in quick for part in ("--set", assignment)),
    ]  # fmt: skip
    paths = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))
    run = CliRun(arguments, loans.parent / "runs", env={"PYTHONPATH": paths})
    run.finish(timeout_s=240)
    assert run.left_over() == []
    folder = (loans.parent / "runs" / "latest").resolve()
    told: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    assert told["run"]["embedder"]["backend"] == "trigrams"
    assert told["run"]["log"]["log"] == "library"
    assert told["run"]["run_failures"] == []
    assert told["system"]["policy"] == "drifted-enough"
    refreshes = scalrec.read_records(folder, "refreshes")
    assert "fresh" in refreshes["outcome"].to_list()
    requests = scalrec.read_records(folder)
    assert requests.height == 20 * 4
