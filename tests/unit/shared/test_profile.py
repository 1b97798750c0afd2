"""Profiles: presets by name, tables of one's own, and what cannot be."""

from __future__ import annotations

import json
import os

import pytest
from pydantic import ValidationError

from scalrec.options import settings_environment, settings_from
from scalrec.settings import load_settings
from shared.errors import ConfigError
from shared.profile import PRESETS, DeviceProfile, preset


@pytest.fixture(autouse=True)
def bare(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("SCALREC_"):
            monkeypatch.delenv(name)


def test_the_presets():
    limits = {
        p.name: (p.window, p.table, p.unite_history, p.local_candidates) for p in PRESETS.values()
    }
    assert limits == {
        "tiny": (10, "none", True, 0),
        "small": (50, "float32", True, 100),
        "full": (200, "int8", True, 100),
    }
    assert [name for name in PRESETS if preset(name).vectors_in_snapshot] == ["tiny"]
    assert load_settings().profile == PRESETS["small"]


@pytest.mark.parametrize("name", PRESETS)
def test_a_name_is_a_short_form_everywhere(name, tmp_path, monkeypatch):
    assert settings_from(profile=name).profile == PRESETS[name]
    assert settings_from(assignments=[f"profile={name}"]).profile == PRESETS[name]
    (tmp_path / "scalrec.toml").write_text(f'profile = "{name}"\n')
    assert load_settings().profile == PRESETS[name]
    monkeypatch.setenv("SCALREC_PROFILE", "tiny" if name == "full" else "full")
    assert load_settings().profile == PRESETS["tiny" if name == "full" else "full"]
    assert settings_from(profile=name).profile == PRESETS[name]


def test_a_table_is_a_profile_of_ones_own(tmp_path):
    (tmp_path / "scalrec.toml").write_text(
        '[profile]\nname = "kiosk"\nwindow = 20\ntable = "int8"\nlocal_candidates = 40\n'
        'unite_history = false\nretain = "window"\nmet_items = 30\nstarter_items = 10\n'
    )
    own = load_settings().profile
    assert own == DeviceProfile(
        name="kiosk", window=20, table="int8", local_candidates=40, unite_history=False,
        retain="window", met_items=30, starter_items=10,
    )  # fmt: skip


def test_a_child_process_gets_the_profile_whatever_it_inherits(monkeypatch):
    settings = settings_from(profile="tiny", assignments=None)
    monkeypatch.setenv("SCALREC_PROFILE", "full")
    monkeypatch.setenv("SCALREC_PROFILE__WINDOW", "7")
    for name, value in settings_environment(settings).items():
        monkeypatch.setenv(name, value)
    assert json.loads(os.environ["SCALREC_PROFILE"])["name"] == "tiny"
    assert load_settings().profile == PRESETS["tiny"]


def test_an_unknown_name_is_answered_with_those_there_are():
    with pytest.raises(ConfigError, match=r"'huge'; there are tiny, small, full"):
        settings_from(profile="huge")
    with pytest.raises(ConfigError, match="profile"):
        settings_from(profile="{")


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"table": "none", "local_candidates": 5}, "needs an item table"),
        ({"table": "none", "window": 50, "met_items": 49}, "all 50 events of its window"),
        ({"item_table": True}, "item_table"),
    ],
)
def test_limits_that_contradict_each_other_are_refused(limits, message):
    with pytest.raises(ValidationError, match=message):
        DeviceProfile(**limits)
