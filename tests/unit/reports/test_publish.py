"""Pages, charts and index come from the records, byte for byte."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

from experiments import expected, spec
from experiments.gates import judge
from experiments.record import Record, encode, read_record, write_record
from experiments.spec import Experiment
from reports.documents import render
from reports.experiments import publish
from reports.experiments.charts import chart_svg
from reports.experiments.tables import table_text
from shared.errors import DataError

ROOT = Path(__file__).parents[3]
RESULTS = ROOT / "docs" / "results"


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def published(record: Record, folder: Path) -> dict[str, bytes]:
    write_record(record, publish.record_path(folder, record.experiment, record.log))
    publish.regenerate(folder)
    return files_of(folder)


def test_what_is_committed_is_what_the_records_say(tmp_path: Path) -> None:
    committed = {
        name: data
        for name, data in files_of(RESULTS).items()
        if name == "README.md" or name.startswith("experiments/")
    }
    assert "README.md" in committed
    for name, data in committed.items():
        if name.endswith(".json"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(data)
    publish.regenerate(tmp_path)
    assert files_of(tmp_path) == committed, "run `scalrec experiment table` again"


def test_a_record_survives_the_file_and_stays_small(record: Record, tmp_path: Path) -> None:
    write_record(record, tmp_path / "r.json")
    again = read_record(tmp_path / "r.json")
    assert encode(again) == (tmp_path / "r.json").read_text()
    key = "tiny/base/calibration/S1/5/all/last/ndcg10"
    assert again.differences[key].value == pytest.approx(record.differences[key].value, abs=1e-5)
    assert again.differences[key].sign == 1
    assert max(len(line) for line in encode(again).splitlines()[:-1]) < 600
    assert again.runs == record.runs
    assert again.settings == {"training": {"dim": 64, "lambda_rel": 1.0}}


@pytest.mark.slow
def test_pages_are_the_same_bytes_in_another_process(record: Record, tmp_path: Path) -> None:
    here = published(record, tmp_path / "here")
    there = tmp_path / "there"
    write_record(record, publish.record_path(there, record.experiment, record.log))
    code = "import sys, pathlib; from reports.experiments.publish import regenerate as r; "
    subprocess.run(
        [sys.executable, "-c", code + "r(pathlib.Path(sys.argv[1]))", str(there)],
        check=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONHASHSEED": "1234"},
    )
    assert files_of(there) == here
    assert publish.regenerate(there) == []  # nothing to change


def test_a_page_states_what_a_reader_must_know(record: Record, tmp_path: Path) -> None:
    terms = record.model_copy(update={"terms": "For research only."})
    files = published(terms, tmp_path)
    page = files["experiments/gates/README.md"].decode()
    assert "repeats are allowed" in page
    assert "For research only." in page
    assert "`tiny` 2 of 5" in page
    assert "returns" in page
    assert "discoveries" in page
    assert "| SCaLRec | 0.2845 | 0.4561 |" in page  # the paper's figures beside ours
    assert "not applicable" in page
    stale = read_record(tmp_path / "experiments/gates/foursquare-nyc.json").estimates[
        "tiny/base/stale/S1/5/all/last/ndcg10"
    ]
    assert f"{stale.value:.4f}" in page
    assert "gates/README.md" in files["README.md"].decode()
    assert "[privacy]" not in files["README.md"].decode()  # not run, so there is no page


def test_a_page_names_what_its_record_does_not_answer(
    record: Record, gates: Experiment, tmp_path: Path
) -> None:
    """A record of before a question was asked is published all the same."""
    asked = {*gates.differences, *gates.ratios} - {key.split("/")[2] for key in record.differences}
    older = record.model_copy(
        update={
            "differences": {k: f for k, f in record.differences.items() if "/loss/" not in k},
            "ratios": {},
        }
    )
    page = published(older, tmp_path)["experiments/gates/README.md"].decode()
    [line] = [line for line in page.splitlines() if line.startswith("Not answered here: ")]
    named = set(line.removeprefix("Not answered here: ").partition(".")[0].split(", "))
    assert named == asked | {"loss"}
    assert "calibration" not in named


@pytest.mark.parametrize(
    ("training", "older"), [({"dim": 64}, True), ({"text_student": False}, False)]
)
def test_a_page_says_that_its_devices_had_no_score_of_their_own(
    record: Record, tmp_path: Path, training: dict[str, object], older: bool
) -> None:
    made = record.model_copy(update={"settings": {**record.settings, "training": training}})
    page = published(made, tmp_path)["experiments/gates/README.md"].decode()
    assert ("Recorded before devices had counts and words of their own" in page) == older


def test_charts_are_drawings_with_words_beside_them(record: Record, tmp_path: Path) -> None:
    files = published(record, tmp_path)
    svg = files["experiments/gates/foursquare-nyc-gaps.svg"].decode()
    ET.fromstring(svg)  # noqa: S314 - our own file
    assert "tiny, device" in svg
    assert "calibrated" in svg
    assert 'fill="white"' not in svg  # dark pages show through
    page = files["experiments/gates/README.md"].decode()
    assert (
        "![NDCG@10 by age of the snapshot, foursquare-nyc; NDCG@10 at device, gap 5: tiny" in page
    )


def test_a_table_without_figures_says_so(record: Record) -> None:
    gates = spec.load("gates")
    empty = record.model_copy(update={"estimates": {}})
    assert table_text(gates, gates.tables["scores"], [empty]).startswith("Not run yet.")


def test_one_table_over_all_logs(record: Record) -> None:
    gates = spec.load("gates")
    records = [record, record.model_copy(update={"log": "redial"})]
    text = table_text(gates, gates.tables["headline"], records)
    assert "| foursquare-nyc | tiny | S1 | NDCG@10 | +" in text
    assert "| redial | small | S2 | HR@10 | +" in text
    assert "over ensemble_counts" in text


def test_captions_count_the_steps_that_were_scored(record: Record) -> None:
    gates = spec.load("gates")

    def with_steps(log: str, steps: int) -> Record:
        settings = record.settings | {"paper": {"steps": steps}}
        return record.model_copy(update={"log": log, "settings": settings})

    table, few, many = gates.tables["headline"], with_steps("redial", 10), with_steps("nyc", 20)
    assert "last 10 steps;" in table_text(gates, table, [few])
    assert "last steps: 10 (redial), 20 (nyc);" in table_text(gates, table, [few, many])


def test_the_grid_of_gates_says_what_each_verdict_says(record: Record) -> None:
    gates = spec.load("gates")
    [row] = [
        line
        for line in table_text(gates, gates.tables["gate-grid"], [record]).splitlines()
        if line.startswith("| foursquare-nyc | tiny |")
    ]
    marks = dict(zip(gates.gates, row.strip("| ").split(" | ")[2:], strict=True))
    words = {"holds": "**holds**", "fails": "fails", "not applicable": "–"}
    assert marks == {
        name: words[verdict.status] for name, verdict in judge(gates.gates, record, "tiny").items()
    }
    assert set(marks.values()) == {"**holds**", "–"}


def test_the_readmes_headline_comes_from_the_records(record: Record, tmp_path: Path) -> None:
    results = tmp_path / "docs" / "results"
    write_record(record, publish.record_path(results, "gates", record.log))
    block = "<!-- table: experiment gates headline -->\nold\n<!-- /table -->\n"
    text = render(block, tmp_path)
    assert "old" not in text
    assert "| foursquare-nyc | tiny | S1 | NDCG@10 |" in text
    assert render(text, tmp_path) == text
    with pytest.raises(DataError, match="gates has no table 'sales'"):
        render(block.replace("headline", "sales"), tmp_path)


def test_a_damaged_record_is_named(tmp_path: Path, gates: Experiment) -> None:
    path = publish.record_path(tmp_path, "gates", "redial")
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    with pytest.raises(DataError, match=r"redial\.json: not the record of an experiment"):
        publish.records_of(tmp_path, gates)


def test_expected_results_are_met_or_named(
    record: Record, gates: Experiment, tmp_path: Path
) -> None:
    path = tmp_path / "expected" / "gates.json"
    assert expected.compare(gates, record, path) == []
    assert expected.update(gates, record, path) > 10
    assert all(c.met for c in expected.compare(gates, record, path))
    key = "tiny/base/headline/S1/5/all/last/ndcg10"
    moved = record.differences[key]
    far = replace(moved, value=(moved.value or 0) + 0.006)
    near = replace(moved, value=(moved.value or 0) + 0.004)
    for figure, met in ((far, False), (near, True)):
        changed = record.model_copy(update={"differences": record.differences | {key: figure}})
        found = {c.key: c for c in expected.compare(gates, changed, path)}
        assert found[f"differences/{key}"].met is met
    gone = record.model_copy(update={"differences": {}})
    assert any(c.found is None and not c.met for c in expected.compare(gates, gone, path))


def test_a_sweep_s_chart_runs_in_the_order_it_names() -> None:
    """The base stands first among the variants, but between .5 and 2 on the axis."""
    experiment = spec.load("rq3-sweeps")
    record = read_record(RESULTS / "experiments" / "rq3-sweeps" / "redial.json")
    svg = chart_svg(experiment, experiment.charts["gamma"], record)
    assert svg is not None
    labels = [element.text for element in ET.fromstring(svg).iter() if element.text]  # noqa: S314
    first = [labels.index(name) for name in experiment.charts["gamma"].variants or ()]
    assert len(first) == 8
    assert first == sorted(first)
