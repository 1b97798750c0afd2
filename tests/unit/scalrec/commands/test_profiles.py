"""`scalrec profiles`: what is printed was measured on the bundles at hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from loadtest.replay.profile_figures import measure_profile
from scalrec.cli import build_app
from shared.own_score import OwnCounts, TextStudentSpec
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
        row, *parts = [line for line in listed.output.splitlines() if f"log-{name}" in line]
        assert row.count("KiB") == 4
        assert row.count("µs") == 2
        for part in ("encoder", "calibrator", "item vectors"):
            [line] = [line for line in parts if part in line]
            assert "KiB" in line
            assert "µs" in line


@pytest.mark.parametrize("name", PRESETS)
def test_every_part_that_a_bundle_adds_has_its_bytes_and_its_time(
    tmp_path: Path, name: str
) -> None:
    plain, added = (
        measure_profile(
            make_bundle(tmp_path / kind, n_items=2000, dim=32, profile=PRESETS[name], **more),
            requests=20,
        )
        for kind, more in (("plain", {}), ("added", ADDED))
    )
    rows = {"tiny": 100 * (32 + 4), "small": 2000 * 32 * 4 + 128, "full": 2000 * (32 + 4)}[name]
    assert added.parts["semantic vectors"] == rows
    # Weights of random numbers hardly compress.
    assert 256 * 32 < added.parts["text student"] < 256 * (32 + 2) + 32 * 4 + 1500
    grown = {"semantic vectors", "text student"}
    assert sum(added.parts[part] for part in grown) == pytest.approx(
        added.download_total - plain.download_total, abs=200
    )
    for figures in (plain, added):
        assert sum(figures.parts.values()) == figures.download_total
        assert set(figures.part_p50_us) >= {"encoder", "calibrator", "item vectors"}
        assert all(took > 0 for took in figures.part_p50_us.values())
    assert not grown & set(plain.parts)
    # Its counts and digest, and with no table a second vector of items met: no words, no student.
    assert added.state - plain.state < 256 * (32 + 4) * (name == "tiny") + STATE_OF_OWN_TERMS
    assert set(added.part_p50_us) - set(plain.part_p50_us) == {"own counts", "text student"}
    assert (added.parts["own counts"], "own counts" in plain.parts) == (0, False)


STATE_OF_OWN_TERMS = 120_000  # bytes, of 420 events with some 400 items
ADDED: dict[str, Any] = {
    "semantic_vectors": "own",
    "own_counts": OwnCounts(weight=1.0, scale=1.0, half_life=5.0),
    "text_student": TextStudentSpec(rows=256, weight=0.5),
}
