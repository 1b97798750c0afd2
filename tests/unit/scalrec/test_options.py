"""Options become settings, and settings survive the trip into a child process."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from scalrec.options import Given, options, settings_environment, settings_from
from scalrec.settings import load_settings
from shared.errors import ConfigError
from training.data.columns import parse_columns
from training.data.registry import load_log


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def test_assignments_reach_nested_sections() -> None:
    settings = settings_from(assignments=["device.k=7", "replay.availability.kind=never"], seed=3)
    assert settings.device.k == 7
    assert settings.replay.availability.kind == "never"
    assert settings.seed == 3


def test_sections_and_options_combine() -> None:
    settings = settings_from(embedder="hashing", replay={"users": 12, "steps": None})
    assert settings.embedder.backend == "hashing"
    assert settings.replay.users == 12
    assert settings.replay.steps == load_settings().replay.steps


def test_a_path_is_a_log_of_your_own(tmp_path: Path) -> None:
    path = tmp_path / "plays.tsv.gz"
    path.write_bytes(b"")
    settings = settings_from(log=str(path), columns=["user=u,item=i,time=t"])
    assert (settings.log.name, settings.log.path) == ("plays", path)


def test_columns_given_one_by_one_keep_their_names_whole(tmp_path: Path) -> None:
    path = tmp_path / "plays.csv"
    path.write_text(
        'who,"artist, band","a+b=c",at\n'
        + "".join(f"u,Band {i},Song {i},{1_700_000_000 + i}\n" for i in range(5))
    )
    given = ["user=who", "item=artist, band", "item=a+b=c", "time=at"]
    settings = settings_from(log=str(path), columns=given)
    log = load_log(settings.log, cache=tmp_path)
    assert len(log.catalogue) == 5
    assert log.catalogue.ids[0] == "Band 0\x1fSong 0"
    again = [given[0], *given]
    with pytest.raises(ConfigError, match="cannot read 'user=who'"):
        load_log(settings_from(log=str(path), columns=again).log, cache=tmp_path)
    with pytest.raises(ConfigError, match="once for each column if names hold commas"):
        parse_columns("user=who,item=artist, band,time=at")


def test_a_folder_and_a_pattern_are_logs_of_your_own(tmp_path: Path) -> None:
    parts = tmp_path / "plays.2024"
    parts.mkdir()
    for number in range(2):
        (parts / f"part-{number}.csv").write_text("user,item\n")
    assert settings_from(log=str(parts)).log.name == "plays"
    log = settings_from(log=str(parts / "*.csv")).log
    assert (log.name, log.path) == ("plays-2024".replace("-", "."), parts / "*.csv")
    assert settings_from(log=str(parts / "part-*.csv")).log.name == "part"


@pytest.mark.parametrize("empty", ["", " "])
def test_an_empty_log_is_not_the_folder_one_stands_in(empty: str) -> None:
    with pytest.raises(ConfigError, match="--log is empty"):
        settings_from(log=empty)


def test_a_missing_path_is_named() -> None:
    with pytest.raises(ConfigError, match=r"gone\.tsv: no such file"):
        settings_from(log="gone.tsv")


@pytest.mark.parametrize("assignment", ["device.k", "=3"])
def test_malformed_assignment_says_what_is_expected(assignment: str) -> None:
    with pytest.raises(ConfigError, match=r"section\.key=value"):
        settings_from(assignments=[assignment])


def test_lists_are_json() -> None:
    assert settings_from(assignments=["paper.gaps=[0, 3]"]).paper.gaps == (0, 3)
    for no_list in ("[0,", "[" * 100_000):
        with pytest.raises(ConfigError, match=r"paper\.gaps.*\["):
            settings_from(assignments=[f"paper.gaps={no_list}"])


@pytest.mark.parametrize("name", ["[x].csv", "[/red]", "[bold"])
def test_a_text_may_begin_with_a_bracket(name: str) -> None:
    assert settings_from(assignments=[f"log.name={name}"]).log.name == name


@pytest.mark.parametrize(
    "assignment",
    ["seed=-1", "seed=99999999999", "embedder.deadline_s=inf", "device.ttl_s=nan"],
)
def test_numbers_that_nothing_can_be_done_with_are_refused_before_a_run(assignment: str) -> None:
    with pytest.raises(ConfigError, match=assignment.partition("=")[0].rpartition(".")[2]):
        settings_from(assignments=[assignment])


def test_unknown_setting_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"device\.kay"):
        settings_from(assignments=["device.kay=3"])


def test_environment_round_trip(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_from(
        assignments=[
            "cloud.redis_url=redis://:secret@127.0.0.1:1/0",
            "embedder.url=http://127.0.0.1:9",
            "device.link.attempts=9",
            "profile.window=33",
        ],
        paper={"gaps": (0, 3)},
    )
    for name, value in settings_environment(settings).items():
        monkeypatch.setenv(name, value)
    assert load_settings() == settings


def test_quotes_in_a_list_survive_the_trip(monkeypatch: pytest.MonkeyPatch) -> None:
    given = ("--pooler-config", '{"pooling_type": "CLS"}', r"a\b")
    settings = settings_from()
    embedder = settings.embedder.model_copy(update={"extra_args": given})
    for name, value in settings_environment(
        settings.model_copy(update={"embedder": embedder})
    ).items():
        monkeypatch.setenv(name, value)
    assert load_settings().embedder.extra_args == given


def test_a_known_log_on_the_command_line_beats_a_file_in_the_settings(tmp_path: Path) -> None:
    (tmp_path / "scalrec.toml").write_text(
        "[log]\nname = 'plays'\npath = 'plays.tsv'\ncolumns = 'user=u,item=i,time=t'\n"
    )
    assert settings_from().log.path == Path("plays.tsv")
    log = settings_from(log="movielens-100k").log
    assert (log.name, log.path, log.columns) == ("movielens-100k", None, None)


def test_a_setting_is_no_section() -> None:
    with pytest.raises(ConfigError, match="seed is a setting, not a section"):
        settings_from(seed=3, assignments=["seed.x=1"])


def test_shared_options_stand_where_they_are_listed_and_reach_the_command() -> None:
    seen: list[tuple[int, int, Path]] = []

    @options("work_dir users embedder seed assignments")
    def command(given: Given, users: int = 3, seed: int = 8) -> None:
        """What it does."""
        settings = given(replay={"users": users})
        seen.append((settings.replay.users or 0, seed, settings.work_dir))

    app = typer.Typer()
    app.command()(command)
    arguments = ["--users", "5", "--work-dir", "w", "--set", "replay.users=6", "--seed", "9"]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert seen == [(6, 9, Path("w"))]  # the seed is the command's own
    names = ["--work-dir", "--users", "--embedder", "--seed", "--set"]
    text = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "120"}).output
    assert sorted(names, key=text.index) == names
    assert "What it does." in text
    assert "--model" not in text


def test_a_parameter_that_could_never_be_given_is_told_at_once() -> None:
    def command(given: Given, place: str = "") -> None:
        """Has a parameter of its own."""

    assert options("place log")(command).__name__ == "command"
    with pytest.raises(TypeError, match="place is not among its options"):
        options("log")(command)
