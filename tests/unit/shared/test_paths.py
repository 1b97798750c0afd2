"""The user cache: one place for all checkouts."""

from pathlib import Path

from shared.paths import default_cache_dir


def test_cache_dir_precedence(tmp_path: Path) -> None:
    both = {"SCALREC_CACHE": str(tmp_path / "own"), "XDG_CACHE_HOME": str(tmp_path)}
    assert default_cache_dir(both) == tmp_path / "own"
    assert default_cache_dir({"XDG_CACHE_HOME": str(tmp_path)}) == tmp_path / "scalrec"
    assert default_cache_dir({}) == Path.home() / ".cache" / "scalrec"
