"""A new key is nobody else's to read, or its maker is told."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from cloud_service.keys import load_keys
from scalrec.commands.token import keygen
from scalrec.settings import load_settings
from shared.errors import ConfigError


def test_a_key_that_is_written_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "auth.keys"
    before = os.umask(0)
    try:
        keygen(key_id="k1", out=path)
    finally:
        os.umask(before)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_keys(load_settings(cloud={"auth_keys_file": path}).cloud) is not None


def test_no_key_is_written_over_another(tmp_path: Path) -> None:
    path = tmp_path / "auth.keys"
    keygen(out=path)
    first = path.read_bytes()
    with pytest.raises(ConfigError, match=r"auth[.]keys is there already"):
        keygen(out=path)
    assert path.read_bytes() == first
    with pytest.raises(ConfigError, match="cannot be written: No such file"):
        keygen(out=tmp_path / "no" / "auth.keys")


@pytest.mark.parametrize(("mode", "warned"), [(0o644, True), (0o640, True), (0o600, False)])
def test_a_key_that_goes_into_an_open_file_is_warned_of(
    tmp_path: Path, mode: int, warned: bool
) -> None:
    path = tmp_path / "auth.keys"
    path.touch()
    path.chmod(mode)
    command = "from scalrec.commands.token import keygen; keygen()"
    with path.open("w") as file:
        done = subprocess.run(
            [sys.executable, "-c", command],
            stdout=file, stderr=subprocess.PIPE, text=True, timeout=60, check=True,
        )  # fmt: skip

    assert ("others on this machine can read" in done.stderr) is warned
    assert ":" in path.read_text()  # it is there either way, and alone
    assert len(path.read_text().splitlines()) == 1
