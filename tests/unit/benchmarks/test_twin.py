"""The bench's study and its devices answer the same requests, many at once and one by one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from benchmarks import twin
from benchmarks.twin import StudyAnswers, answer_each, compare_twin, ready_devices
from cloud_service.embedding.hashing import HashingEmbedder
from scalrec.settings import Settings, load_settings
from tests.support.bundles import make_bundle
from tests.support.logs import drifting_log
from training.train import train
from training.trained import TrainedModel

USERS, EVENTS, GAPS = 12, 24, (0, 1, 5)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("study")
    return load_settings(
        work_dir=folder / "runs",
        cache=folder / "cache",
        cloud={"candidates": 8},
        paper={"gaps": GAPS, "steps": 2},
        training={
            "dim": 8, "layers": 1, "epochs": 1, "restart_epochs": 0, "test_steps": 2,
            "validation_steps": 1, "calibration_steps": 2, "abstracts_per_user": 2,
            "semantic_epochs": 1, "calibration_epochs": 1, "top_l": 8, "threads": 1,
        },
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained(settings: Settings) -> TrainedModel:
    log = drifting_log(users=USERS, events=EVENTS)
    return asyncio.run(train(settings, log, HashingEmbedder(16)))


def test_a_study_answers_every_step_by_a_snapshot_of_every_age(
    settings: Settings, trained: TrainedModel
) -> None:
    study = StudyAnswers(settings, trained)
    assert study.answer(study.encoded()) == USERS * 2 * len(GAPS)


def test_the_row_tells_both_rates(
    settings: Settings, trained: TrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = trained.log
    bundle = make_bundle(tmp_path / "bundle", n_items=len(log.catalogue))
    devices = ready_devices(log, bundle)
    assert len(devices) == USERS
    assert answer_each(devices) == 2 * USERS
    assert all(device.step == EVENTS - 1 for device, _ in devices)
    monkeypatch.setattr(twin, "ROUNDS", 1)
    whole, ranking = compare_twin(settings, trained, bundle)
    assert "3 ages" in whole.name
    assert 0 < whole.ours < ranking.ours
    assert whole.theirs == ranking.theirs > 0
    assert ranking.ratio == pytest.approx(ranking.ours / ranking.theirs)
