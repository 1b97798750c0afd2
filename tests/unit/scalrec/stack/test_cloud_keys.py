"""Keys of a run: made where none are set, found by the same user's fleet, printed to nobody."""

from __future__ import annotations

import stat
import time
from pathlib import Path

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from cloud_service.keys import load_keys
from cloud_service.settings import CloudSettings
from scalrec.cli import build_app
from scalrec.settings import Settings
from scalrec.stack.cloud_keys import (
    shared_on_this_machine,
    token_source,
    with_keys,
    with_keys_on_loopback,
    with_local_keys,
)
from shared.errors import ConfigError
from shared.section import printable
from shared.tokens import new_key, verify_token

GIVEN = new_key("mine")


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def settings(tmp_path: Path, **cloud: object) -> Settings:
    return Settings(cache=tmp_path / "cache", cloud=CloudSettings.model_validate(cloud))


def test_a_run_without_keys_makes_its_own_each_time(tmp_path: Path) -> None:
    first, second = (load_keys(with_keys(settings(tmp_path)).cloud) for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.signing[1] != second.signing[1]


def test_keys_that_are_set_stay_and_none_are_made_where_none_are_asked(tmp_path: Path) -> None:
    given = settings(tmp_path, auth_keys=SecretStr(GIVEN))
    assert with_keys(given) is given
    off = settings(tmp_path, auth="off")
    assert with_keys(off) is off


def test_a_cloud_that_others_can_reach_makes_no_key(tmp_path: Path) -> None:
    for host in ("0.0.0.0", "192.0.2.1", "cloud.example"):
        assert load_keys(with_keys_on_loopback(settings(tmp_path, host=host)).cloud) is None
    for host in ("127.0.0.1", "localhost", "::1"):
        assert load_keys(with_keys_on_loopback(settings(tmp_path, host=host)).cloud) is not None


async def test_a_fleet_of_the_same_user_finds_the_key_while_the_cloud_runs(tmp_path: Path) -> None:
    cloud = with_keys(settings(tmp_path))
    url = "http://127.0.0.1:8080"
    with shared_on_this_machine(cloud, 8080):
        (path,) = (tmp_path / "cache" / "serve").iterdir()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        found = with_local_keys(settings(tmp_path), url)
        assert (
            load_keys(with_local_keys(settings(tmp_path), "http://cloud.example:8080").cloud)
            is None
        )
        tokens = token_source(found, time.time)
        assert tokens is not None
        ring = load_keys(cloud.cloud)
        assert ring is not None
        assert verify_token(await tokens.token("ada"), ring, now=time.time()).user == "ada"
    assert not path.exists()
    with pytest.raises(ConfigError, match=r"no key to make the fleet's with.*auth_keys_file"):
        token_source(with_local_keys(settings(tmp_path), url), time.time)


def test_keys_that_were_given_are_not_written_anywhere(tmp_path: Path) -> None:
    with shared_on_this_machine(settings(tmp_path, auth_keys=SecretStr(GIVEN)), 8080):
        assert not (tmp_path / "cache" / "serve").exists()


def test_printed_settings_hide_the_key(tmp_path: Path) -> None:
    shown = str(printable(with_keys(settings(tmp_path, auth_keys=SecretStr(GIVEN)))))
    assert GIVEN.partition(":")[2] not in shown


def run(*arguments: str) -> str:
    result = CliRunner().invoke(build_app(), arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output.strip()


def test_keygen_and_issue_work_together(tmp_path: Path) -> None:
    keys = tmp_path / "auth.keys"
    keys.write_text(run("token", "keygen", "--id", "k1") + "\n" + run("token", "keygen") + "\n")
    token = run("token", "issue", "ada", "--ttl", "60", "--device", "tv", "--keys", str(keys))
    ring = load_keys(CloudSettings(auth_keys_file=keys))
    assert ring is not None
    claims = verify_token(token, ring, now=time.time())
    assert (claims.user, claims.device) == ("ada", "tv")
    assert 0 < claims.expires_s - time.time() <= 60
    assert run("token", "issue", "bob", "--set", f"cloud.auth_keys_file={keys}")


def test_issue_without_a_key_says_how_to_make_one() -> None:
    with pytest.raises(ConfigError, match="scalrec token keygen"):
        CliRunner().invoke(build_app(), ["token", "issue", "ada"], catch_exceptions=False)
