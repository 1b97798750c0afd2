"""A run of a bundle with own terms, from the fleet's records to the sentence about its channels."""

from __future__ import annotations

import io
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

from loadtest.evaluation.evaluation_models import EvaluationModels
from loadtest.evaluation.full_ranking import run_full_ranking
from loadtest.evaluation.paper import run_paper
from loadtest.replay.run_info import describe_run, write_run_info
from reports.page import verdict
from reports.page.build import build_report
from reports.page.channels import NO_WEIGHT
from reports.summary.build import build_summary
from reports.terminal import print_summary
from shared.bundle import Bundle, write_bundle
from shared.own_score import OwnCounts, TextStudentSpec
from shared.profile import PRESETS
from shared.split import split_log
from tests.support.bundles import make_bundle
from tests.support.page import Page
from tests.support.replays import replay_settings, replay_tiny
from tests.support.staleness import SeededSource, make_log

# So few that a device which never held a snapshot lacks items that the cloud names.
FEW_STARTERS = PRESETS["tiny"].model_copy(update={"starter_items": 5})


def weightless(bundle: Bundle, path: Path) -> Bundle:
    """The same models, of which validation gave the cloud's embedding no weight."""
    manifest = bundle.manifest.model_copy(update={"fusion_weight": 0.0})
    return write_bundle(path, manifest, {n: bundle.file(n).read_bytes() for n in manifest.files})


@pytest.mark.slow
@pytest.mark.parametrize("weight", [1.0, 0.0])
def test_a_run_says_what_carries_its_answers(tmp_path: Path, weight: float) -> None:
    bundle = make_bundle(
        tmp_path / "bundle", n_items=100, profile=FEW_STARTERS, semantic_vectors="own",
        own_counts=OwnCounts(weight=0.8, scale=4.0, half_life=5.0),
        text_student=TextStudentSpec(rows=256, weight=0.6),
    )  # fmt: skip
    if not weight:
        bundle = weightless(bundle, tmp_path / "weightless")
    log, folder = make_log(users=12, events=40, n_items=100), tmp_path / "run"
    settings = replay_settings(bundle)
    replay_tiny(folder, bundle, settings, log=log)
    models = EvaluationModels.load(bundle)
    split = split_log(log, test_steps=3)
    steps, source = split.test(), SeededSource(models)
    run_paper(folder, log, steps, models, source, gaps=(0, 5))
    run_full_ranking(folder, log, steps, models, source, half_life=5.0)
    info = describe_run(
        log, bundle.manifest, settings, split=split,
        served_by="hashing", requested_backend="hashing",
        started="2026-01-02T03:04:05+00:00",
    )  # fmt: skip
    write_run_info(folder, info)
    summary = build_summary(folder)
    said = verdict.sentences(summary)
    assert "device without any cloud" in said[-2]
    assert "structure with counts" in said[-1].lower()
    assert (NO_WEIGHT in said[-1]) == (not weight)
    full = pl.read_parquet(folder / "full.parquet")
    assert not full["rank_student"].equals(full["rank_counts"].rename("rank_student"))
    if not weight:
        requests = pl.read_parquet(folder / "requests.parquet")
        assert requests["rank"].equals(requests["rank_structure"].rename("rank"))
        assert not requests["rank"].equals(requests["rank_alone"].rename("rank"))
        assert full["rank_fused"].equals(full["rank_student"].rename("rank_fused"))
        assert "is exactly that of the cached snapshot as it is" in said[-2]
    screen = io.StringIO()
    print_summary(summary, Console(file=screen, width=400))
    words = "".join(Page(build_report(folder).read_text(encoding="utf-8")).words)
    for sentence in said[-2:]:
        assert sentence in screen.getvalue()
        assert sentence in words
