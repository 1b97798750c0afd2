"""Settings: who overrides whom, what is said when they are wrong, and no secret printed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from shared.errors import ConfigError
from shared.paths import default_cache_dir
from shared.settings import load_settings, printable


@pytest.fixture(autouse=True)
def clean(tmp_path, monkeypatch):
    """An empty folder and no settings in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("SCALREC_") or name in ("REDIS_URL", "XDG_CACHE_HOME"):
            monkeypatch.delenv(name)


def test_arguments_beat_environment_beats_file_beats_default(tmp_path, monkeypatch):
    assert load_settings().seed == 0
    (tmp_path / "scalrec.toml").write_text(
        "seed = 1\n[training]\ndim = 16\nepochs = 3\nlayers = 1\n"
    )
    assert load_settings().seed == 1
    monkeypatch.setenv("SCALREC_SEED", "2")
    monkeypatch.setenv("SCALREC_TRAINING__DIM", "32")
    settings = load_settings(training={"layers": 4})
    assert settings.seed == 2
    # Sections merge field by field; the rest keeps what weaker sources say.
    assert (settings.training.dim, settings.training.epochs, settings.training.layers) == (32, 3, 4)
    assert load_settings(seed=3).seed == 3


def test_named_settings_file(tmp_path, monkeypatch):
    (tmp_path / "mine.toml").write_text("seed = 9\n")
    monkeypatch.setenv("SCALREC_CONFIG", str(tmp_path / "mine.toml"))
    assert load_settings().seed == 9
    monkeypatch.setenv("SCALREC_CONFIG", "none.toml")
    with pytest.raises(ConfigError, match=r"SCALREC_CONFIG names none\.toml, which does not exist"):
        load_settings()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("seed = 'x'", "seed: "),
        ("sed = 1", "sed: Extra inputs"),
        ("[training]\ndim = 1", r"training\.dim: "),
        ("[device.link]\ndeadline_s = 0", r"device\.link\.deadline_s: "),
        ("seed = ", "is not valid TOML"),
    ],
)
def test_wrong_file_is_explained(tmp_path, content, message):
    (tmp_path / "scalrec.toml").write_text(content)
    with pytest.raises(ConfigError, match=message) as caught:
        load_settings()
    assert "scalrec.toml" in str(caught.value)


def test_file_that_is_not_text_is_explained(tmp_path):
    (tmp_path / "scalrec.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"scalrec\.toml"):
        load_settings()


def test_wrong_environment_is_explained(monkeypatch):
    monkeypatch.setenv("SCALREC_CLOUD__PORT", "99999")
    with pytest.raises(ConfigError, match=r"cloud\.port"):
        load_settings()


def test_an_empty_variable_is_an_unset_one(tmp_path, monkeypatch):
    """A container has every variable that Compose names, set by somebody or not."""
    (tmp_path / "scalrec.toml").write_text("seed = 7\n[device]\ninitial_share = 0.4\n")
    for name in ("SCALREC_SEED", "SCALREC_DEVICE__INITIAL_SHARE", "SCALREC_DEVICE__RANKING"):
        monkeypatch.setenv(name, "")
    settings = load_settings()
    assert (settings.seed, settings.device.initial_share) == (7, 0.4)
    assert settings.device.ranking == "semantic"


def test_malformed_environment_section_is_explained(monkeypatch):
    monkeypatch.setenv("SCALREC_TRAINING", "{not json")
    with pytest.raises(ConfigError, match=r"(?i)training"):
        load_settings()


def test_secrets_are_masked_wherever_settings_are_shown(monkeypatch):
    monkeypatch.setenv("SCALREC_EMBEDDER__API_KEY", "hunter2")
    monkeypatch.setenv("SCALREC_CLOUD__REDIS_URL", "redis://:hunter2@host/0")
    settings = load_settings()
    for shown in (str(printable(settings)), repr(settings), settings.model_dump_json()):
        assert "hunter2" not in shown
    assert settings.embedder.api_key.get_secret_value() == "hunter2"


def test_an_invalid_secret_is_not_printed(monkeypatch):
    monkeypatch.setenv("SCALREC_EMBEDDER__API_KEY", "hunter2")
    monkeypatch.setenv("SCALREC_EMBEDDER__BATCH_SIZE", "0")
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert "hunter2" not in str(caught.value)


def test_redis_url_of_the_platform_counts_last(monkeypatch):
    monkeypatch.setenv("REDIS_URL", "redis://platform")
    assert load_settings().cloud.redis_url.get_secret_value() == "redis://platform"
    monkeypatch.setenv("SCALREC_CLOUD__REDIS_URL", "redis://ours")
    assert load_settings().cloud.redis_url.get_secret_value() == "redis://ours"


def test_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / ".cache" / "scalrec"
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert default_cache_dir() == Path("/x/scalrec")
    monkeypatch.setenv("SCALREC_CACHE", "/y")
    assert default_cache_dir() == load_settings().cache == Path("/y")


def test_nothing_reads_the_environment_when_imported():
    """Import the whole of ``shared`` with an environment that records each of our look-ups."""
    root = Path(__file__).parents[3]
    names = sorted(path.stem for path in (root / "shared").glob("*.py"))
    code = (
        "import os, sys, importlib\n"
        "seen = []\n"
        "class Recording(dict):\n"
        "    def __getitem__(self, key): seen.append(key); return super().__getitem__(key)\n"
        "    def get(self, key, default=None): seen.append(key); return super().get(key, default)\n"
        "    def __contains__(self, key): seen.append(key); return super().__contains__(key)\n"
        "os.environ = Recording(os.environ)\n"
        f"for name in {names}: importlib.import_module('shared.' + name)\n"
        "ours = {'REDIS_URL', 'XDG_CACHE_HOME'}\n"
        "ours = [k for k in seen if str(k).startswith('SCALREC') or k in ours]\n"
        "importlib.import_module('shared.paths').default_cache_dir()\n"
        "assert 'SCALREC_CACHE' in seen\n"
        "sys.exit(repr(ours) if ours else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_fresh_gap_is_always_measured():
    assert load_settings(paper={"gaps": [20, 5, 5]}).paper.gaps == (0, 5, 20)
    with pytest.raises(ConfigError, match=r"paper\.gaps: .*0 or more"):
        load_settings(paper={"gaps": [0, -1]})


def test_passwords_inside_addresses_are_masked() -> None:
    settings = load_settings(
        embedder={"url": "https://ada:secret@127.0.0.1:9/v1"},
        device={"link": {"url": "http://127.0.0.1:8080"}},
    )
    shown = printable(settings)
    assert shown["embedder"]["url"] == "https://**********@127.0.0.1:9/v1"
    assert shown["device"]["link"]["url"] == "http://127.0.0.1:8080"
    assert "secret" not in str(shown)
