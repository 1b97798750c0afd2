"""A record of the gates experiment, made from invented scores."""

from __future__ import annotations

import pytest

from experiments import spec
from experiments.aggregate import aggregate
from experiments.cells import expand
from experiments.record import Record
from experiments.spec import Experiment
from tests.support.cells import store_cell
from tests.support.fake_study import invented
from tests.support.logs import drifting_log

USERS = 40


@pytest.fixture(scope="session")
def gates() -> Experiment:
    return spec.load("gates")


@pytest.fixture(scope="session")
def record(gates: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Record:
    """Made once: two hundred draws of every figure take seconds. Tests change copies."""
    folder = tmp_path_factory.mktemp("cells")
    cells = list(expand(gates, "foursquare-nyc", profiles=("tiny", "small"), seeds=2))
    pairs = [(cell, store_cell(folder, cell, invented(USERS, cell.seed))) for cell in cells]
    return aggregate(gates, drifting_log(users=USERS), "allow", pairs, draws=200)
