"""Settings: who overrides whom, what is said when they are wrong, no secret printed, none idle."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from scalrec.options import settings_environment
from scalrec.settings import GONE, Settings, load_settings
from shared.errors import ConfigError
from shared.paths import default_cache_dir
from shared.section import printable

ROOT = Path(__file__).parents[3]
ROOMS = [
    "shared",
    "cloud_service",
    "device_runtime",
    "loadtest",
    "training",
    "experiments",
    "scalrec",
]
MOST = 170


def modules_of(package: str) -> list[str]:
    paths = sorted((ROOT / package).rglob("*.py"))
    return [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths]


def names(section: type[BaseModel], path: str = "") -> Iterator[str]:
    """Every value that can be set, by its path."""
    for name, field in section.model_fields.items():
        kinds = (field.annotation, *get_args(field.annotation))
        inner = next((k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)), None)
        if inner is None:
            yield f"{path}{name}"
        else:
            yield from names(inner, f"{path}{name}.")


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
    """Import them and ``shared`` with an environment that records each of our look-ups."""
    names = [*modules_of("shared"), "scalrec.settings"]
    code = (
        "import os, sys, importlib\n"
        "seen = []\n"
        "class Recording(dict):\n"
        "    def __getitem__(self, key): seen.append(key); return super().__getitem__(key)\n"
        "    def get(self, key, default=None): seen.append(key); return super().get(key, default)\n"
        "    def __contains__(self, key): seen.append(key); return super().__contains__(key)\n"
        "os.environ = Recording(os.environ)\n"
        f"for name in {names}: importlib.import_module(name)\n"
        "ours = {'REDIS_URL', 'XDG_CACHE_HOME'}\n"
        "ours = [k for k in seen if str(k).startswith('SCALREC') or k in ours]\n"
        "importlib.import_module('shared.paths').default_cache_dir()\n"
        "assert 'SCALREC_CACHE' in seen\n"
        "sys.exit(repr(ours) if ours else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
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


def test_there_are_few_enough_to_know() -> None:
    assert len(list(names(Settings))) <= MOST


def test_each_is_read_by_something() -> None:
    sources = [
        path.read_text()
        for room in ROOMS
        for path in (ROOT / room).rglob("*.py")
        if path.name != "settings.py"
    ]
    text = "\n".join([*sources, (ROOT / "training/settings.py").read_text()])
    read = set(re.findall(r"\.(\w+)", text)) | set(re.findall(r"\"(\w+)\"", text))
    assert [name for name in names(Settings) if name.rpartition(".")[2] not in read] == []


@pytest.mark.parametrize("name", GONE)
def test_one_that_is_gone_says_what_became_of_it(name: str, monkeypatch) -> None:
    assert name not in set(names(Settings))
    *sections, last = name.split(".")
    nested: dict[str, Any] = {last: 1}
    for section in reversed(sections):
        nested = {section: nested}
    with pytest.raises(ConfigError, match=re.escape(f"{name} {GONE[name]}")):
        load_settings(**nested)
    monkeypatch.setenv("SCALREC_" + "__".join(name.upper().split(".")), "1")
    with pytest.raises(ConfigError, match=re.escape(f"{name} {GONE[name]}")):
        load_settings()


@pytest.mark.parametrize("package", ["shared", "device_runtime"])
def test_what_ships_needs_no_reader_of_settings(package: str) -> None:
    code = (
        "import importlib, sys\n"
        "sys.modules['pydantic_settings'] = None\n"
        f"for name in {modules_of(package)}: importlib.import_module(name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_hashing_embedder_brings_its_model(tmp_path, monkeypatch):
    assert load_settings(embedder={"backend": "hashing"}).embedder.model == "hashing"
    given = load_settings(embedder={"backend": "hashing", "model": "hashing-64"})
    assert given.embedder.model == "hashing-64"
    assert load_settings().embedder.model == "minilm"
    monkeypatch.setenv("SCALREC_EMBEDDER__BACKEND", "hashing")
    assert load_settings().embedder.model == "hashing"
    # What a child process is given says the same.
    for name, value in settings_environment(load_settings()).items():
        monkeypatch.setenv(name, value)
    assert load_settings().embedder.model == "hashing"
