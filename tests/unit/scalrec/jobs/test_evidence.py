"""Controlled experiments can be interrupted like everything else."""

from __future__ import annotations

import asyncio
import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from scalrec.jobs import evidence
from scalrec.settings import load_settings
from shared.progress import NullProgress, Progress
from shared.split import split_log
from tests.support.bundles import make_bundle
from tests.support.staleness import make_log
from training.stages import code


async def test_no_experiment_goes_on_after_a_cancellation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, ended = threading.Event(), threading.Event()

    def endless(*_: Any, progress: Progress, **__: Any) -> None:
        try:
            with progress.task("full ranking") as task:
                give_up = time.monotonic() + 20
                while time.monotonic() < give_up:
                    begun.set()
                    time.sleep(0.005)
                    task.advance()
        finally:
            ended.set()

    async def nothing(*_: Any, **__: Any) -> SimpleNamespace:
        return SimpleNamespace()

    monkeypatch.setattr(evidence, "run_full_ranking", endless)
    monkeypatch.setattr(evidence, "embed_abstracts", nothing)
    monkeypatch.setattr(evidence, "OfflineCloud", lambda *_: None)
    bundle = make_bundle(tmp_path / "bundle")
    settings = load_settings(work_dir=tmp_path / "runs").model_copy(
        update={"profile": bundle.manifest.profile}
    )
    log = make_log(users=3, events=12)
    running = asyncio.ensure_future(
        evidence.collect_evidence(
            settings,
            log,
            split_log(log),
            bundle,
            None,
            tmp_path,
            progress=NullProgress(),  # type: ignore[arg-type]
        )
    )
    await asyncio.to_thread(begun.wait, 20)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert ended.is_set()
    assert list((tmp_path / "runs").rglob("*.parquet")) == []


@pytest.mark.parametrize(
    "edited",
    [
        "shared/bundle.py",  # what a bundle's age rules mean
        "cloud_service/embedding/transformers.py",
        "device_runtime/ranking/scoring.py",
        "loadtest/evaluation/paper.py",
        "training/semantic/anchors.py",
        "scalrec/jobs/offline_cloud.py",
    ],
)
def test_figures_of_other_code_are_not_used_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edited: str
) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    log, settings = make_log(users=3, events=12), load_settings(work_dir=tmp_path / "runs")
    steps = split_log(log).last_test(1)
    for package in {"shared", "cloud_service", "device_runtime", "loadtest", "training", "scalrec"}:
        ignored = shutil.ignore_patterns("*.pyc")
        shutil.copytree(code.ROOT / package, tmp_path / package, ignore=ignored)

    def key() -> str:
        made = evidence.evidence_stage(settings, log, steps, bundle, None, tmp_path)  # type: ignore[arg-type]
        return made.key

    before = key()
    monkeypatch.setattr(code, "ROOT", tmp_path)
    assert key() == before
    path = tmp_path / edited
    path.write_text(path.read_text() + "\nEDITED = 1\n")
    assert key() != before


def test_another_test_event_is_measured_anew(tmp_path: Path) -> None:
    bundle, settings = make_bundle(tmp_path / "bundle"), load_settings(work_dir=tmp_path)
    log = make_log(users=3, events=12)
    item = log.item.copy()
    item[-1] = (item[-1] + 1) % len(log.catalogue)
    steps = split_log(log).last_test(1)
    keys = {
        evidence.evidence_stage(settings, of, steps, bundle, None, tmp_path).key  # type: ignore[arg-type]
        for of in (log, replace(log, item=item))
    }
    assert len(keys) == 2
