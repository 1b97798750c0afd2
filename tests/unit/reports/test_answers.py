"""Answers on results pages say what the figures say, and change when they change."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from experiments import spec
from experiments.answer import Claim
from experiments.gates import judge
from experiments.record import Extra, Figure, Record
from experiments.spec import Experiment
from reports.experiments.answer_chart import answer_svg
from reports.experiments.answers import MOST_ROWS, glance, sentences
from reports.experiments.page import fold
from reports.experiments.publish import records_of

PAGES = sorted((Path(__file__).parents[3] / "docs/results/experiments").glob("*/README.md"))
KEY = "{profile}/base/cloud-or-none/device/5/all/last/ndcg10"
WORSE, LEVEL, BETTER = (-0.03, -0.02, -0.01), (-0.01, 0.0, 0.01), (0.01, 0.02, 0.03)
Ends = tuple[float, float, float]


def figure(ends: Ends, share: float | None = None) -> Figure:
    low, value, high = ends
    relative = None if share is None else (share, share, share)
    return Figure(value=value, low=low, high=high, count=9, relative=relative)


def claimed(gates: Experiment, *claims: Claim) -> Experiment:
    return gates.model_copy(update={"answer": claims})


def having(record: Record, log: str = "redial", **profiles: Figure) -> Record:
    """The record with these figures of cloud-or-none."""
    figures = {KEY.format(profile=profile): found for profile, found in profiles.items()}
    return record.model_copy(update={"log": log, "differences": record.differences | figures})


CLOUD = Claim(
    of="cloud-or-none", setting="device", about="a device with a cloud", than="one without"
)


def test_a_sentence_says_where_it_is_better_worse_or_neither(
    record: Record, gates: Experiment
) -> None:
    first = having(record, tiny=figure(BETTER, 0.2), small=figure(LEVEL, 0.0))
    other = having(record, "movielens-100k", tiny=figure(WORSE), small=figure(BETTER, 0.051))
    assert sentences(claimed(gates, CLOUD), [first, other]) == [
        "A device with a cloud ranks better than one without on ReDial (tiny +20.0 %) and "
        "MovieLens 100K (small +5.1 %); worse on MovieLens 100K (tiny -0.0200); no significant "
        "difference on ReDial (small)."
    ]


def test_a_sentence_begins_with_what_came_out(record: Record, gates: Experiment) -> None:
    harmed = having(record, tiny=figure(WORSE, -0.1), small=figure(LEVEL))
    [said] = sentences(claimed(gates, CLOUD), [harmed])
    assert said.startswith("A device with a cloud ranks worse than one without on ReDial (tiny")
    level = having(record, tiny=figure(LEVEL), small=figure(LEVEL))
    [said] = sentences(claimed(gates, CLOUD), [level])
    assert said == (
        "A device with a cloud does not rank significantly better or worse than one without on "
        "ReDial (tiny, small)."
    )


def test_what_has_no_figure_is_not_told(record: Record, gates: Experiment) -> None:
    nothing = record.model_copy(update={"differences": {}, "ratios": {}})
    assert sentences(claimed(gates, CLOUD), [nothing]) == ["Not run yet."]
    assert glance(claimed(gates, CLOUD), [nothing]) == ""
    assert answer_svg(claimed(gates, CLOUD), [nothing]) is None


def test_a_gate_and_an_extra_are_told_in_their_own_way(record: Record, gates: Experiment) -> None:
    told = record.model_copy(
        update={
            "log": "mine",
            "extras": {
                "tiny/base": {"seconds": Extra(0.00007, None, 1)},
                "small/base": {"seconds": Extra(1234.5, 2.0, 2)},
            },
        }
    )
    gate = Claim(show="gate", of="G4b", head="G4b", about="calibration costs nothing")
    extra = Claim(show="extra", of="seconds", head="seconds", about="it takes")
    held, seconds = sentences(claimed(gates, gate, extra), [told])
    verdicts = {
        profile: judge(gates.gates, told, profile)["G4b"].status for profile in told.profiles
    }
    for profile, status in verdicts.items():
        before = "this fails" not in held.partition(profile)[0]
        assert before == (status == "holds")
    assert seconds == "It takes: mine (tiny 0.00007, small 1,234)."


def test_a_failed_gate_is_not_told_as_held(record: Record, gates: Experiment) -> None:
    key = "{profile}/base/fresh-calibration/S1/0/all/last/ndcg10"
    gate = Claim(show="gate", of="G4b", head="G4b", about="calibration costs nothing")
    figures = {key.format(profile=p): figure(WORSE) for p in ("tiny", "small")}
    one = record.model_copy(
        update={"differences": record.differences | {key.format(profile="tiny"): figure(WORSE)}}
    )
    both = record.model_copy(update={"differences": record.differences | figures})
    [said] = sentences(claimed(gates, gate), [one])
    assert "; this fails on Foursquare NYC (tiny)" in said
    [said] = sentences(claimed(gates, gate), [both])
    assert said == (
        "It does not hold that calibration costs nothing: not on Foursquare NYC (tiny, small)."
    )


def test_the_table_shows_the_figures_behind_the_sentence(record: Record, gates: Experiment) -> None:
    found = having(record, tiny=figure(BETTER, 0.2), small=figure(LEVEL))
    table = glance(claimed(gates, CLOUD), [found])
    assert "| ReDial | tiny | +0.0200 [+0.0100, +0.0300] (+20.0 %) |" in table
    assert "| ReDial | small | +0.0000 [-0.0100, +0.0100] n.s. |" in table
    assert "clustered by user" in table


def test_of_many_rows_the_table_keeps_ten_and_the_significant_ones() -> None:
    experiment = spec.load("rq5-ablations")
    [record] = [found for found in _committed("rq5-ablations") if found.log == "redial"]
    key = "tiny/paper/from-base/S2/mean/all/last/ndcg10"
    assert list(experiment.variants)[-1] == "paper"
    changed = record.model_copy(
        update={"differences": record.differences | {key: figure(BETTER, 0.3)}}
    )
    rows = [line for line in glance(experiment, [changed]).splitlines() if line.startswith("| Re")]
    assert len(rows) == MOST_ROWS
    assert "| paper | +0.0200" in "".join(rows[:2])
    [first, *_] = sentences(experiment, [changed])
    assert "ranks better than that of the whole method on ReDial (paper +30.0 %)" in first


def _committed(name: str) -> list[Record]:
    return records_of(PAGES[0].parents[2], spec.load(name))


def test_a_fold_counts_its_rows_and_keeps_its_markdown() -> None:
    text = fold("A < B", "| a |\n| --- |\n| 1 |\n| 2 |\n\nA note.\n")
    assert text.startswith('<details markdown="1">\n<summary>A &lt; B, 2 rows</summary>\n\n| a |')
    assert text.endswith("A note.\n\n</details>\n")
    assert "one, 1 row<" in fold("one", "| a |\n| --- |\n| 1 |\n")
    assert "none, no rows<" in fold("none", "Not run yet.\n")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.parent.name)
def test_a_page_can_be_read(path: Path) -> None:
    """Question, sentence, a small table, a picture; every other table is folded."""
    name, text = path.parent.name, path.read_text()
    experiment = spec.load(name)
    lines = text.splitlines()
    assert lines[2] == f"# {experiment.question}"
    assert lines[4].endswith(".")
    assert "|" not in lines[4]
    top, picture, rest = text.partition("![")
    assert picture
    assert 3 <= sum(line.startswith("| ") for line in top.splitlines()) <= MOST_ROWS + 2
    assert sum(line.startswith("| --- |") for line in top.splitlines()) == 1
    folds = re.findall(r"^<details.*?^</details>$", rest, re.MULTILINE | re.DOTALL)
    for block in folds:
        assert re.match(r'<details markdown="1">\n<summary>[^\n]+</summary>\n\n', block)
        assert block.endswith("\n\n</details>")
        rest = rest.replace(block, "")
    assert folds
    assert "| --- |" not in rest
    assert f"scalrec experiment run {name} --log " in rest
    for record in path.parent.glob("*.json"):
        assert f"[{record.name}]({record.name}), computed 20" in rest


def test_the_list_of_results_says_each_answer_before_any_table() -> None:
    text = (PAGES[0].parents[2] / "README.md").read_text()
    before = text.partition("| --- |")[0]
    for path in PAGES:
        name = path.parent.name
        first, *_ = sentences(spec.load(name), _committed(name))
        assert f"**[{spec.load(name).question}](experiments/{name}/README.md)** {first}\n" in before
