"""Lines of robustness runs: kept one by one, read back whole, summed up, and gone on with."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtest.scenarios.load import load_scenario
from loadtest.scenarios.robustness_record import (
    RobustnessHead,
    RobustnessRecord,
    RunLine,
    add_line,
    fault_rows,
    read_lines,
    read_robustness_record,
    robustness_rows,
)
from scalrec.jobs.robustness import claim_folder, variations
from shared.errors import ConfigError, DataError
from tests.support.scenarios import run_virtually

HEAD = RobustnessHead(seed=3, log="small", bundle_id="b" * 16, embedder="hashing x", revision="r1")


def line(number: int, **other: object) -> RunLine:
    fields = {
        "number": number, "scenario": "freeze", "seed": 3 + number, "place": "virtual clock",
        "faults": ("cloud freeze", "redis restart"), "requests": 400, "findings": (),
        "replayed_s": 60.0, "spent_s": 1.5,
    }  # fmt: skip
    return RunLine.model_validate({**fields, **other})


def test_lines_come_back_from_all_parts_but_one_that_was_cut_short(tmp_path: Path) -> None:
    for number in range(4):
        add_line(tmp_path / f"virtual-{number % 2}-2.jsonl", line(number))
    with (tmp_path / "virtual-0-2.jsonl").open("a") as file:
        file.write(line(9).model_dump_json()[:50])
    assert sorted(found.number for found in read_lines(tmp_path)) == [0, 1, 2, 3]
    # Whoever goes on writes after what is whole; a run made twice counts once.
    add_line(tmp_path / "virtual-0-2.jsonl", line(9))
    add_line(tmp_path / "virtual-0-1.jsonl", line(0))
    assert sorted(found.number for found in read_lines(tmp_path)) == [0, 1, 2, 3, 9]
    (tmp_path / "virtual-1-2.jsonl").write_text("{}\n")
    with pytest.raises(DataError, match=r"virtual-1-2\.jsonl, line 1"):
        read_lines(tmp_path)


def test_the_sum_tells_runs_faults_and_findings() -> None:
    lines = [line(0), line(1, findings=("ages are true",)), line(0, place="local processes")]
    record = RobustnessRecord.of(HEAD, lines)
    assert record.runs == {"local processes": 1, "virtual clock": 2}
    assert record.faults == {"cloud freeze": 3, "redis restart": 3}
    assert record.findings == ("freeze, seed 4, virtual clock: ages are true",)
    assert record.replayed_h == 0.05
    assert read_robustness_record(record.model_dump_json()) == record
    rows = dict(row for row in robustness_rows(record)[1] if len(row) == 2)
    assert rows["runs"] == "1 on local processes, 2 on virtual clock"
    assert rows["runs whose history does not hold"] == "1"
    assert ("redis", "restart", "3") in fault_rows(record)[1]
    with pytest.raises(DataError, match="not a record"):
        read_robustness_record("{}")


def test_a_folder_is_gone_on_with_by_the_same_code_and_bundle_alone(tmp_path: Path) -> None:
    claim_folder(tmp_path, HEAD)
    claim_folder(tmp_path, HEAD)
    with pytest.raises(ConfigError, match="revision r1, this is r2"):
        claim_folder(tmp_path, HEAD.model_copy(update={"revision": "r2"}))
    (tmp_path / "robustness.json").write_text("{")
    with pytest.raises(ConfigError, match="does not tell"):
        claim_folder(tmp_path, HEAD)


def test_a_run_becomes_a_line(tmp_path: Path) -> None:
    scenario = load_scenario("freeze").changed(users=10)
    verdict = run_virtually(tmp_path, scenario)
    made = RunLine.of(4, scenario, verdict, 1.23456)
    assert (made.faults, made.findings, made.spent_s) == (("cloud freeze",), (), 1.235)
    short = RunLine.of(4, scenario, verdict.model_copy(update={"answered": 1}), 1.0)
    assert short.findings == ("unanswered requests",)


def test_the_same_numbers_are_the_same_variations_however_many_there_are() -> None:
    few, many = list(variations(5, 7)), list(variations(60, 7))
    assert many[:5] == few
    assert len({scenario.seed for scenario in many}) == 60
