"""The package as others get it: one version, its licence, ranges that hold what is tested."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import version

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from typer.testing import CliRunner

from scalrec.cli import build_app
from scalrec.machine import WANTED_PYTHON
from scalrec.rooms import ROOMS
from tests.support.installed import ROOT, declared, normal

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_program_states_the_version_that_is_installed() -> None:
    result = CliRunner().invoke(build_app(), ["--version"])
    assert result.exit_code == 0
    assert result.output == f"scalrec {version('scalrec')}\n"
    assert version("scalrec") == PROJECT["version"]


def test_what_cannot_ask_for_the_version_has_the_same() -> None:
    """Citation, changelog and image tags are text."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    released = re.findall(r"^## \[(\d[\w.]*)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert released[0] == PROJECT["version"]
    files = [ROOT / "docker-compose.yml", *(ROOT / "deploy").glob("*.yml")]
    tags = {
        tag
        for file in files
        for tag in re.findall(r"image: scalrec-[\w-]+:([\w.]+)", file.read_text())
    }
    assert tags == {PROJECT["version"]}


def test_both_papers_are_cited() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    papers = {
        one["value"] for paper in citation["references"] for one in paper.get("identifiers", ())
    }
    assert papers == {"arXiv:2601.22543", "arXiv:2501.05647"}


def test_the_licence_is_there_in_full() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License\n                           Version 2.0" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert PROJECT["license-files"] == ["LICENSE"]
    assert "!LICENSE" in (ROOT / ".dockerignore").read_text().splitlines()
    assert re.search(r"^COPY .*\bLICENSE\b", (ROOT / "deploy/Dockerfile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"])
def test_links_of_a_page_lead_somewhere(page: str) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", (ROOT / page).read_text())
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_package_says_that_it_is_typed() -> None:
    assert [room for room in ROOMS if not (ROOT / room / "py.typed").is_file()] == []


def test_python_versions_are_the_same_everywhere() -> None:
    wanted = SpecifierSet(PROJECT["requires-python"])
    minors = [f"3.{minor}" for minor in range(20) if f"3.{minor}.5" in wanted]
    named = re.findall(r":: Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    assert named == minors
    (_, first), (_, last) = WANTED_PYTHON
    assert minors == [f"3.{minor}" for minor in range(first, last + 1)]
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    assert workflow["jobs"]["wheel"]["strategy"]["matrix"]["python"] == minors


@pytest.mark.parametrize(
    ("extra", "lock"), [("train", "product.txt"), ("ray", "ray.txt"), ("mlflow", "mlflow.txt")]
)
def test_ranges_hold_the_locked_versions(extra: str, lock: str) -> None:
    lines = (ROOT / "requirements" / lock).read_text().splitlines()
    locked = {normal(line.split("==")[0]): line.split("==")[1] for line in lines if "==" in line}
    wanted: dict[str, Requirement] = declared(extra)
    if extra != "train":
        wanted = {name: one for name, one in wanted.items() if name not in declared()}
    assert wanted
    wrong = [
        str(one)
        for name, one in wanted.items()
        if name not in locked or not one.specifier.contains(locked[name])
    ]
    assert wrong == []


def test_everything_has_a_lowest_version() -> None:
    for extra in ("train", "otel", "ray", "mlflow"):
        bare = [
            str(one)
            for one in declared(extra).values()
            if not any(limit.operator == ">=" for limit in one.specifier)
        ]
        assert bare == []


def test_all_brings_every_extra_but_ray_and_mlflow() -> None:
    everything = set(declared("train")) | set(declared("otel"))
    assert set(declared("all")) == everything
    assert not {"ray", "mlflow-skinny"} & everything
