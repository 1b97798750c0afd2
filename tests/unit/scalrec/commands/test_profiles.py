"""`scalrec profiles`: what is printed was measured on the bundles at hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from loadtest.replay.profile_figures import measure_profile
from scalrec.cli import build_app
from shared.profile import PRESETS
from tests.support.bundles import make_bundle


def test_figures_follow_from_what_a_profile_holds(tmp_path: Path) -> None:
    found = {
        name: measure_profile(
            make_bundle(tmp_path / name, n_items=2000, dim=32, profile=profile), requests=20
        )
        for name, profile in PRESETS.items()
    }
    tiny, small, full = (found[name] for name in ("tiny", "small", "full"))
    assert small.download["item_vectors.npy"] > 2000 * 32 * 4
    assert 2000 * (32 + 6) < full.download["item_table.npz"] < 2000 * (32 + 6) + 2000
    assert tiny.download["starter_items.npz"] < 100 * (32 + 6 + 8) + 2000
    assert tiny.download_total < full.download_total < small.download_total
    assert tiny.snapshot - small.snapshot == pytest.approx(20 * (32 + 6), abs=20)
    assert small.snapshot == full.snapshot
    assert (tiny.page, small.page, full.page) == (32 + 6, 0, 0)
    assert tiny.model < full.model < small.model
    assert tiny.state > 256 * (32 + 6), "the vectors of met items are its own"
    for figures in found.values():
        assert 0 < figures.request_p50_us <= figures.request_p95_us


def test_presets_and_bundles_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    runner = CliRunner()
    none_yet = runner.invoke(build_app(), ["profiles", "--work-dir", str(tmp_path)])
    assert none_yet.exit_code == 0
    assert "scalrec export --profile NAME" in none_yet.output
    for name, profile in PRESETS.items():
        make_bundle(tmp_path / "bundles" / f"log-{name}", profile=profile)
        assert name in none_yet.output
    listed = runner.invoke(build_app(), ["profiles", "--work-dir", str(tmp_path)])
    assert listed.exit_code == 0, listed.output
    for name in PRESETS:
        (row,) = [line for line in listed.output.splitlines() if f"log-{name}" in line]
        assert row.count("KiB") == 4
        assert row.count("µs") == 2
