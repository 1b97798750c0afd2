"""Secrets of a deployment: made once, each for its readers, kept or rotated."""

from __future__ import annotations

import importlib.util
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from redis.connection import parse_url

ROOT = Path(__file__).resolve().parents[3]
READERS = {"redis", "vllm", "cloud", "embedder", "devices", "dashboard", "proxy", "loadtest"}

Make = Callable[..., dict[str, str]]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Runs make_secrets.py on a folder; what is in it then, by path."""
    spec = importlib.util.spec_from_file_location(
        "make_secrets", ROOT / "deploy" / "bin" / "make_secrets.py"
    )
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setenv("REDIS_ADDRESS", "hop-redis:6379")

    def run(*options: str) -> dict[str, str]:
        monkeypatch.setattr(sys, "argv", ["make_secrets.py", *options])
        module.main()
        files = (path for path in tmp_path.rglob("*") if path.is_file())
        return {str(p.relative_to(tmp_path)): p.read_text() for p in files}

    return run


def test_each_reader_has_its_own_and_nobody_else_can_read_them(make: Make, tmp_path: Path) -> None:
    made = make()
    assert {name.split("/")[0] for name in made} == READERS
    for name in made:
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o440, name
    assert made["proxy/token"] == made["loadtest/proxy/token"]
    assert len(made["proxy/token"]) >= 40
    of_devices = {value for name, value in made.items() if name.startswith("devices/")}
    assert made["proxy/token"] not in of_devices
    assert make() == made


def test_rotating_changes_all_and_lets_the_last_device_key_count(make: Make) -> None:
    before, after = make(), make("--rotate")
    assert not {name for name in before if before[name] == after[name]}
    old, new = before["cloud/SCALREC_CLOUD__AUTH_KEYS"], after["cloud/SCALREC_CLOUD__AUTH_KEYS"]
    assert new.split(",")[1] == old


@pytest.mark.parametrize("password", ['a"b\\c#d@e:f/g?h%41i j&k=l', "%" * 30])
def test_a_password_of_ones_own_reaches_redis_as_it_is(
    make: Make, tmp_path: Path, password: str
) -> None:
    (tmp_path / "redis").mkdir()
    (tmp_path / "redis" / "password").write_text(password + "\n")
    url = make()["cloud/SCALREC_CLOUD__REDIS_URL"]
    told = parse_url(url)
    assert told["password"] == password
    assert (told["host"], told["port"]) == ("hop-redis", 6379)
