"""Controlled experiments can be interrupted like everything else."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from scalrec import evidence
from scalrec.settings import load_settings
from shared.progress import NullProgress, Progress
from shared.split import split_log
from tests.support.bundles import make_bundle
from tests.support.staleness import make_log


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
