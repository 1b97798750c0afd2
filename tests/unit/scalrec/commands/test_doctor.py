"""The doctor finds what is missing and says what to do."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from scalrec.cli import build_app
from scalrec.commands.doctor import (
    check_bundles,
    check_deadlines,
    check_port,
    check_redis,
    check_writable,
)
from scalrec.settings import Settings
from tests.support.bundles import make_bundle
from tests.support.redis_conditions import CONDITIONS


def test_a_taken_port_is_found_and_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        check = check_port("127.0.0.1", port)
        assert not check.ok
        assert str(port) in check.found
        assert "cloud.port" in check.advice
    assert check_port("127.0.0.1", port).ok


def test_an_altered_bundle_is_found_by_file(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundles" / "tiny")
    settings = Settings(work_dir=tmp_path)
    assert [check.ok for check in check_bundles(settings, None)] == [True]
    (bundle.path / "item_bias.npy").write_bytes(b"x")
    [check] = check_bundles(settings, None)
    assert not check.ok
    assert "item_bias.npy" in check.found


def test_a_device_that_gives_up_before_the_cloud_is_found() -> None:
    assert check_deadlines(Settings()).ok
    impatient = Settings(device={"link": {"deadline_s": 1.0}})
    assert not check_deadlines(impatient).ok


@pytest.mark.parametrize(
    ("condition", "advice"),
    [("unreachable", "check that it runs"), ("permission:no scripts", "ACL SETUSER NAME")],
)
async def test_a_redis_that_cannot_keep_snapshots_is_found(
    tmp_path: Path, condition: str, advice: str
) -> None:
    async with CONDITIONS[condition](tmp_path) as url:
        check = await check_redis(Settings(cloud={"redis_url": url}))
    assert not check.ok
    assert advice in check.advice


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    check = check_writable("work_dir", blocker)
    assert not check.ok
    assert str(blocker) in check.found


def test_exit_code_tells_whether_something_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCALREC_WORK_DIR", str(tmp_path / "runs"))
    monkeypatch.setenv("SCALREC_CACHE", str(tmp_path / "cache"))
    arguments = ["doctor", "--embedder", "hashing", "--set", "cloud.port=0"]
    good = CliRunner().invoke(build_app(), arguments)
    assert good.exit_code == 0, good.output
    bad = CliRunner().invoke(build_app(), ["doctor", "--set", "embedder.python=/nowhere/python"])
    assert bad.exit_code == 1
    assert "make env" in bad.output


@pytest.mark.parametrize(
    "command", ["train", "export", "serve", "fleet", "simulate", "report", "doctor"]
)
def test_every_command_explains_itself(command: str) -> None:
    result = CliRunner().invoke(build_app(), [command, "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.output
