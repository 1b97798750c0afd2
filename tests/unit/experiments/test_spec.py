"""Experiments are checked when they are read, and every one that ships is runnable."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from experiments import spec
from experiments.cells import expand, overrides_of, plan
from experiments.selection import Operand
from scalrec.options import settings_over
from shared.errors import ConfigError
from training.data.registry import known_logs

MINIMAL = """
name: mine
question: Does it?
paper: table 1
tables: {t: {title: T}}
"""


def written(folder: Path, text: str, name: str = "mine") -> Path:
    (folder / f"{name}.yaml").write_text(text)
    return folder


@pytest.mark.parametrize("name", spec.names())
def test_every_experiment_that_ships_has_valid_settings_on_known_logs(name: str) -> None:
    experiment = spec.load(name)
    known = {source.name for source in known_logs()}
    assert set(experiment.logs) <= known
    assert experiment.logs
    for log in experiment.logs:
        cells = list(expand(experiment, log, seeds=1))
        planned = plan(experiment, cells, lambda o, s: settings_over(o | {"seed": s}), "data")
        assert len({p.key for p in planned}) == len(cells)  # no two variants are the same
        assert {p.settings.profile.name for p in planned} == set(experiment.profiles)
        quick = overrides_of(experiment, cells[0], quick=True)
        assert settings_over(quick).training.epochs <= 1


@pytest.mark.parametrize("name", spec.names())
def test_every_question_has_an_answer_in_words_that_hold_no_result(name: str) -> None:
    claims = spec.load(name).answer
    assert 1 <= sum(bool(claim.about) for claim in claims) <= 3
    assert claims[0].about
    for claim in claims:
        assert not re.search(r"\d\s*%|\d*\.\d|better|worse|significant(?!\s+harm)", claim.about)
        assert not re.search(r"\d\s*%|\d*\.\d|better|worse|significant", claim.than)


def test_gates_names_the_papers_parts() -> None:
    gates = spec.load("gates")
    assert list(gates.gates) == ["G1", "G2", "G3", "G4a", "G4b", "G4c", "G4d", "G4e", "G5", "G6"]
    assert gates.seeds == 5
    assert spec.names()[0] == "gates"


def test_every_backbone_is_compared_with_and_without_returns() -> None:
    experiment = spec.load("rq4-backbones")
    chosen = {}
    for cell in expand(experiment, "redial", profiles=["tiny"], seeds=1):
        training = settings_over(overrides_of(experiment, cell)).training
        chosen[cell.variant] = (training.backbone, training.return_mechanism)
    assert chosen == {
        "sasrec": ("sasrec", True),
        "sasrec-no-returns": ("sasrec", False),
        "surge": ("surge", True),
        "surge-no-returns": ("surge", False),
    }


def test_reused_cells_come_from_the_other_experiment() -> None:
    curves, gates = spec.load("rq2-curves"), spec.load("gates")
    assert curves.cells_of == "gates"
    assert (curves.logs, curves.base, curves.variants) == (gates.logs, gates.base, gates.variants)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("name: other\nquestion: q\npaper: p\ntables: {}\n", "name is 'other'.*that of the file"),
        (MINIMAL + "sedes: 3\n", r"sedes: Extra inputs"),
        (MINIMAL + "seeds: 0\n", "seeds: .*greater than or equal to 1"),
        (MINIMAL + "profiles: [huge]\n", "no profile 'huge': one of tiny, small, full"),
        (MINIMAL + "variants: {a/b: {}}\n", "'a/b' is no name"),
        (
            MINIMAL + "gates: {G: {title: t, checks: [{of: gain, require: above}]}}\n",
            "no difference or ratio is called 'gain'",
        ),
        (
            MINIMAL + "gates: {G: {title: t, checks: [], only_if: [H]}}\n",
            "only_if names 'H', no gate above it",
        ),
        (MINIMAL + "estimates: [{variants: [b]}]\n", "no variant 'b': one of base"),
        (
            MINIMAL + "differences: {d: {label: l, a: {}, b: {scorer: s}}}\n",
            "either scorer or best_of",
        ),
        (MINIMAL + "sections: [moon]\n", "the settings have no section 'moon'"),
        (MINIMAL + "estimates: [{gaps: [soon]}]\n", "gaps.0: String should match"),
        (MINIMAL + "tables: {t: {title: T}\n", "not valid YAML"),
        ("- a list\n", "expected a mapping, found list"),
        (MINIMAL + "reuse: none\n", "no experiment is called 'none': one of mine"),
        (MINIMAL + "answer: [{of: gain, setting: S1}]\n", "no difference is called 'gain'"),
        (MINIMAL + "answer: [{of: gain}]\n", "the claim about gain needs a setting"),
        (
            MINIMAL + "answer: [{of: gain, setting: S1, about: ours}]\n",
            "the claim about gain needs a than",
        ),
        (
            MINIMAL + "answer: [{show: frontier, of: plain, head: H, quantity: area}]\n",
            "the claim about plain needs a scorer",
        ),
        (
            MINIMAL + "answer: [{show: extra, of: x, about: x}]\n",
            "the claim about x needs a head",
        ),
        (
            MINIMAL + "answer: [{show: extra, of: x, head: X, variants: [b]}]\n",
            "answer: no variant 'b': one of base",
        ),
    ],
)
def test_a_wrong_file_is_refused_with_where_and_what(
    tmp_path: Path, text: str, complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        spec.load("mine", written(tmp_path, text))


def test_an_experiment_that_reuses_cells_cannot_change_them(tmp_path: Path) -> None:
    written(tmp_path, MINIMAL.replace("mine", "base"), "base")
    written(tmp_path, MINIMAL + "reuse: base\nseeds: 2\n")
    with pytest.raises(ConfigError, match="reuses the cells of base, so it cannot set seeds"):
        spec.load("mine", tmp_path)


def test_an_experiment_like_another_says_only_what_differs(tmp_path: Path) -> None:
    first = "seeds: 2\nbase: {training: {epochs: 1, dim: 8}}\nvariants: {a: {}}\n"
    written(tmp_path, MINIMAL.replace("mine", "first") + first, "first")
    written(tmp_path, MINIMAL + "like: first\nbase: {training: {dim: 16}}\nvariants: {b: {}}\n")
    found = spec.load("mine", tmp_path)
    assert found.seeds == 2
    assert found.base == {"training": {"epochs": 1, "dim": 16}}
    assert found.variants == {"b": {}}
    assert found.cells_of == "mine"  # it runs cells of its own

    written(tmp_path, MINIMAL.replace("mine", "second") + "like: mine\n", "second")
    with pytest.raises(ConfigError, match="is like mine, which does not state its own cells"):
        spec.load("second", tmp_path)


def test_an_experiment_like_another_asks_the_same_unless_it_shows_something(tmp_path: Path) -> None:
    shown = "extras: [a]\ndifferences: {d: {label: l, a: {scorer: a}, b: {scorer: b}}}\n"
    written(tmp_path, MINIMAL.replace("mine", "first") + shown, "first")
    bare = MINIMAL.replace("tables: {t: {title: T}}\n", "like: first\n")
    same = spec.load("mine", written(tmp_path, bare))
    assert (list(same.tables), list(same.differences), same.extras) == (["t"], ["d"], ("a",))
    own = spec.load("mine", written(tmp_path, MINIMAL + "like: first\n"))
    assert (list(own.differences), own.extras) == ([], ())


def test_the_global_gates_ask_what_the_gates_ask() -> None:
    gates, at_once = spec.load("gates"), spec.load("gates-global")
    for shown in ("gates", "differences", "ratios", "estimates", "answer", "tables", "variants"):
        assert getattr(at_once, shown) == getattr(gates, shown)
    timed = {name: own for name, own in gates.logs.items() if name != "redial"}
    assert at_once.logs == timed
    assert (at_once.profiles, at_once.seeds) == (("tiny",), 3)
    assert not at_once.published  # those papers cut by user
    for log in at_once.logs:
        (cell, *_) = expand(at_once, log, seeds=1)
        training = settings_over(overrides_of(at_once, cell)).training
        (other, *_) = expand(gates, log, seeds=1, profiles=["tiny"])
        by_user = settings_over(overrides_of(gates, other)).training
        assert training == by_user.model_copy(update={"split": "global"})


def test_an_operand_is_one_scorer_or_the_best_of_several() -> None:
    assert Operand(scorer="a").scorers == ("a",)
    assert Operand(best_of=("a", "b")).scorers == ("a", "b")
    with pytest.raises(ValueError, match="either scorer or best_of"):
        Operand(scorer="a", best_of=("b",))
