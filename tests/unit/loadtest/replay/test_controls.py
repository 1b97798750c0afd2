"""A replay changed by hand while it runs: what its devices then do, and what is left on record."""

from pathlib import Path

import pytest

from loadtest.replay.controls import INTERVENTIONS, Controls, Intervention, read_interventions
from loadtest.replay.ticker import ReplayTick
from shared.bundle import Bundle
from shared.errors import ConfigError, DataError
from tests.support.bundles import make_bundle
from tests.support.replays import records, replay_settings, replay_tiny


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("bundle"))


class Hand:
    """Does something with the controls at given seconds of the replay."""

    def __init__(self, **at: float) -> None:
        self.at = dict(at)
        self.controls: Controls | None = None

    def start(self, controls: Controls) -> None:
        self.controls = controls

    def tick(self, tick: ReplayTick) -> None:
        assert self.controls is not None
        for what in [w for w, t in self.at.items() if tick.replay_s >= t]:
            del self.at[what]
            match what:
                case "cut":
                    self.controls.cloud("down")
                    self.controls.cloud("down")
                case "restore":
                    self.controls.cloud("up")
                case "k":
                    self.controls.refresh_every(1)
                case "face_value":
                    self.controls.calibrate(False)


def test_a_cut_takes_the_cloud_and_a_restore_brings_it_back(tmp_path: Path, bundle: Bundle) -> None:
    hand = Hand(cut=20.0, restore=50.0)
    settings = replay_settings(bundle, device={"k": 2}, availability={"kind": "always"})
    result = replay_tiny(tmp_path, bundle, settings, on_start=hand.start, on_tick=hand.tick)
    requests, refreshes = records(tmp_path)
    assert result.requests == len(requests) == 120
    [(start, end)] = result.outages
    assert (start, end) == (pytest.approx(20.0, abs=0.5), pytest.approx(50.0, abs=0.5))
    away = requests["scheduled_s"].is_between(start, end, closed="left")
    assert (requests["cloud_up"] != away).all()
    lost = refreshes.filter(~refreshes["cloud_up"])
    assert len(lost) > 10
    assert "fresh" not in set(lost["outcome"])
    assert "fresh" in set(refreshes.filter(refreshes["started_s"] > end)["outcome"])
    assert [(i.what, i.value) for i in read_interventions(tmp_path)] == [
        ("cloud", "down"),
        ("cloud", "up"),
    ]


def test_k_and_calibration_change_what_devices_do(tmp_path: Path, bundle: Bundle) -> None:
    hand = Hand(k=45.0, face_value=45.0)
    settings = replay_settings(bundle, device={"k": 9}, availability={"kind": "always"})
    replay_tiny(tmp_path, bundle, settings, on_start=hand.start, on_tick=hand.tick)
    requests, refreshes = records(tmp_path)
    late = refreshes["started_s"] >= 46
    early = (refreshes["started_s"] >= 0) & ~late
    assert late.sum() > 3 * early.sum()
    before, after = (requests.filter(m) for m in
                     (requests["scheduled_s"] < 45, requests["scheduled_s"] > 46))  # fmt: skip
    assert (before["de_norm"] > 0).any()
    assert (after["de_norm"] == 0).all()
    assert (after["rank"] == after["rank_uncalibrated"]).all()


def test_k_belongs_to_one_policy(tmp_path: Path, bundle: Bundle) -> None:
    complaints: list[str] = []

    def start(controls: Controls) -> None:
        with pytest.raises(ConfigError) as error:
            controls.refresh_every(3)
        complaints.append(str(error.value))

    replay_tiny(tmp_path, bundle, replay_settings(bundle, device={"policy": "never"}),
                on_start=start)  # fmt: skip
    assert complaints == ["the refresh policy is never, which has no k"]
    assert not (tmp_path / INTERVENTIONS).exists()


def test_calibration_belongs_to_one_ranking(tmp_path: Path, bundle: Bundle) -> None:
    complaints: list[str] = []

    def start(controls: Controls) -> None:
        with pytest.raises(ConfigError) as error:
            controls.calibrate(False)
        complaints.append(str(error.value))

    settings = replay_settings(bundle, device={"ranking": "collaborative"})
    replay_tiny(tmp_path, bundle, settings, on_start=start)
    assert complaints == ["the ranking is collaborative, which has nothing to calibrate"]
    assert not (tmp_path / INTERVENTIONS).exists()


def test_an_unreadable_line_is_named(tmp_path: Path) -> None:
    (tmp_path / INTERVENTIONS).write_text('{"replay_s":1,"what":"k","value":"2"}\n{"replay_s":\n')
    with pytest.raises(DataError, match="line 2"):
        read_interventions(tmp_path)
    (tmp_path / INTERVENTIONS).write_text('{"replay_s":1,"what":"k","value":"2"}\n')
    assert read_interventions(tmp_path) == (Intervention(1.0, "k", "2"),)
