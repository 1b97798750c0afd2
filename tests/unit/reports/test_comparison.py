"""Several runs side by side: figures are those of their summaries, unlike runs are named."""

import re
from pathlib import Path

import pytest

from loadtest.replay.controls import INTERVENTIONS
from loadtest.replay.run_info import read_run_info, write_run_info
from reports import text
from reports.page.build import build_report
from reports.page.comparison import build_comparison
from reports.summary.build import build_summary
from reports.summary.latency import SCHEDULED
from shared.errors import ConfigError, DataError
from tests.support.runs import invent_run


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("runs")
    return [invent_run(root / name, seed=seed) for seed, name in enumerate(("first", "second"))]


@pytest.fixture(scope="module")
def html(folders: list[Path]) -> str:
    return build_comparison(folders, folders[0].parent / "comparison.html").read_text("utf-8")


def test_rows_hold_the_figures_of_the_runs_own_summaries(folders: list[Path], html: str) -> None:
    for folder in folders:
        system = build_summary(folder).system
        assert system is not None
        rows = re.findall(rf'<th scope="row">{folder.name}</th>.*?</tr>', html, re.S)
        assert len(rows) == 2
        [answered] = [s.metrics["ndcg@10"] for s in system.scores
                      if (s.by, s.scorer) == ("all", "answered")]  # fmt: skip
        latency = next(line for line in system.latency if line.what == SCHEDULED)
        for figure in (
            text.score(answered.value), text.interval(answered), text.milliseconds(latency.p99),
            text.percent(system.cloud.saved, 1), text.percent(system.cloud_up, 1),
        ):  # fmt: skip
            assert figure in rows[0] + rows[1]


def test_charts_show_every_run(folders: list[Path], html: str) -> None:
    specs = re.findall(r'id="spec-(compare-\w+)">(.*?)</script>', html, re.S)
    assert [name for name, _ in specs] == [
        "compare-availability", "compare-time", "compare-age", "compare-latency"
    ]  # fmt: skip
    for _, spec in specs:
        for folder in folders:
            assert f'"{folder.name}"' in spec
    markup = re.sub(r"<script.*?</script>", "", html, flags=re.S)
    assert not re.search(r'(?:src|href)="(?!#)', markup)


def test_what_is_not_alike_is_said(folders: list[Path], tmp_path: Path) -> None:
    other = invent_run(tmp_path / "other", seed=2, users=41)
    info = read_run_info(other)
    write_run_info(other, info.model_copy(update={"bundle_id": "fedcba9876543210"}))
    (other / INTERVENTIONS).write_text('{"replay_s":31.0,"what":"cloud","value":"down"}\n')
    page = build_comparison([folders[0], other], tmp_path / "c.html").read_text("utf-8")
    for words in ("The model bundle differs", "The number of requests differs", "by hand"):
        assert words in page
    assert "The log differs" not in page
    report = build_report(other).read_text("utf-8")
    assert "Changed by hand" in report
    assert "cloud down at 31.0 s" in report


def test_what_cannot_be_compared_is_refused(folders: list[Path], tmp_path: Path) -> None:
    target = tmp_path / "c.html"
    with pytest.raises(ConfigError, match="2 to 8"):
        build_comparison(folders[:1], target)
    with pytest.raises(ConfigError, match="twice"):
        build_comparison([folders[0], folders[0]], target)
    still = invent_run(tmp_path / "still")
    (still / "requests.parquet").unlink()
    with pytest.raises(DataError, match="no replay"):
        build_comparison([folders[0], still], target)
    assert not target.exists()


def test_curves_are_distributions_of_the_records(folders: list[Path]) -> None:
    system = build_summary(folders[0]).system
    assert system is not None
    scheduled, service = system.curves
    by_name = {line.what: line for line in system.latency}
    for curve in (scheduled, service):
        assert list(curve.share) == sorted(curve.share)
        assert list(curve.ms) == sorted(curve.ms)
        assert curve.ms[-1] == by_name[curve.what].max
        assert curve.ms[curve.share.index(0.95)] == by_name[curve.what].p95
    assert 0.999 not in scheduled.share  # 400 requests say nothing about one in a thousand
