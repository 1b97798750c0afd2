"""Parts of other people's packages: found by name, and refused in words that say whose they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.errors import ConfigError
from shared.plugins import PluginKind
from tests.support.packages import install

GROUP = "scalrec.test_parts"
KIND = PluginKind(group=GROUP, noun="part", setting="some.part", built_in=("ours", "other"))
MODULE = {"parts_of_ada.py": "def make():\n    return 7\n\nTEXT = 'no function'\n"}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_a_part_of_a_package_is_loaded_by_its_name(site: Path) -> None:
    assert KIND.names() == ()
    assert KIND.load("adas") is None
    install(site, "ada-parts", MODULE, {GROUP: {"adas": "parts_of_ada:make"}})
    assert KIND.names() == ("adas",)
    assert KIND.load("adas")() == 7  # type: ignore[misc]
    KIND.check("adas")
    KIND.check("ours")
    assert KIND.load("ours") is None


def test_an_unknown_name_says_what_there_is(site: Path) -> None:
    install(site, "ada-parts", MODULE, {GROUP: {"adas": "parts_of_ada:make"}})
    told = r"some\.part: no part is called 'bobs'; there are ours, other, adas .*\.test_parts"
    with pytest.raises(ConfigError, match=told):
        KIND.check("bobs")


def test_a_built_in_name_cannot_be_taken(site: Path) -> None:
    install(site, "ada-parts", MODULE, {GROUP: {"ours": "parts_of_ada:make"}})
    with pytest.raises(ConfigError, match=r"ada-parts 1\.0 brings a part called 'ours'.*built-in"):
        KIND.check("ours")
    KIND.check("other")


def test_two_packages_cannot_have_one_name(site: Path) -> None:
    for name in ("ada-parts", "bob-parts"):
        install(site, name, MODULE, {GROUP: {"same": "parts_of_ada:make"}})
    with pytest.raises(ConfigError, match=r"ada-parts 1\.0 and bob-parts 1\.0 both bring a part"):
        KIND.load("same")


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("parts_of_nobody:make", "cannot be loaded from parts_of_nobody:make: No module named"),
        ("parts_of_ada:missing", "cannot be loaded from parts_of_ada:missing: .*no attribute"),
        ("parts_of_ada:TEXT", "is parts_of_ada:TEXT, which is str and cannot be called"),
    ],
)
def test_a_part_that_is_none_is_told_of(site: Path, place: str, why: str) -> None:
    install(site, "ada-parts", MODULE, {GROUP: {"adas": place}})
    with pytest.raises(ConfigError, match=f"the part 'adas' of ada-parts 1.0 {why}"):
        KIND.load("adas")
