"""Parameters, tags and description of a tracked run: within MLflow's bounds, without secrets."""

from __future__ import annotations

from pydantic import SecretStr

from reports.summary.model import Summary
from reports.tracking.facts import (
    KEY_CHARS,
    RUN_ID,
    STARTED,
    TAG_CHARS,
    VALUE_CHARS,
    description_of,
    params_of,
    tags_of,
    times_of,
)
from scalrec.settings import Settings
from shared.section import printable
from tests.support.runs import invented_info


def test_settings_become_parameters_by_their_names() -> None:
    plain = printable(Settings())
    params = params_of(invented_info().model_copy(update={"settings": plain}))
    assert params["device.k"] == str(plain["device"]["k"])
    assert params["replay.warm_start"] == "true"
    assert params["paper.gaps"] == str(plain["paper"]["gaps"])
    assert params["profile.name"] == "small"
    assert "device.link.url" not in params  # not set


def test_no_secret_becomes_a_parameter() -> None:
    settings = Settings()
    cloud = settings.cloud.model_copy(
        update={
            "auth_keys": SecretStr("2026:of this cloud"),
            "redis_url": SecretStr("redis://someone:hidden@store:6379"),
        }
    )
    link = settings.device.link.model_copy(update={"url": "https://someone:hidden@cloud"})
    device = settings.device.model_copy(update={"link": link})
    plain = printable(settings.model_copy(update={"cloud": cloud, "device": device}))
    params = params_of(invented_info().model_copy(update={"settings": plain}))
    assert params["cloud.candidates"] == str(settings.cloud.candidates)
    assert not {"cloud.auth_keys", "cloud.redis_url", "device.link.url"} & set(params)
    told = " ".join(params.values())
    assert "hidden" not in told
    assert "of this cloud" not in told


def test_long_values_end_in_dots() -> None:
    settings = {"log": {"name": "x" * VALUE_CHARS, "path": "y" * (VALUE_CHARS + 1), "k" * 300: 1}}
    params = params_of(invented_info().model_copy(update={"settings": settings}))
    assert params["log.name"] == "x" * VALUE_CHARS
    assert params["log.path"] == "y" * (VALUE_CHARS - 3) + "..."
    assert max(map(len, params)) == KEY_CHARS


def test_tags_tell_a_run_and_its_code() -> None:
    info = invented_info()
    tags = tags_of("20260102T030405-invented", info)
    assert (tags[RUN_ID], tags[STARTED]) == ("20260102T030405-invented", info.started)
    assert tags["scalrec.dataset"] == "invented"
    assert tags["mlflow.source.git.commit"] == tags["scalrec.commit"] == "abcdef012345"
    edited = tags_of("run", info.model_copy(update={"git_revision": "abcdef012345+changes"}))
    assert edited["scalrec.commit"] == "abcdef012345+changes"
    assert edited["mlflow.source.git.commit"] == "abcdef012345"
    assert "scalrec.commit" not in tags_of("run", info.model_copy(update={"git_revision": None}))


def test_times_are_the_stages_after_the_start() -> None:
    began, ended = times_of(invented_info())
    assert began == 1767323045000  # 2026-01-02 03:04:05 UTC
    assert ended - began == 1000 * 273.7


def test_the_description_says_what_went_beside_the_plan() -> None:
    notes = {"run_failures": ("no snapshot came",), "run_notes": ("the cloud was gone",)}
    info = invented_info().model_copy(update=notes)
    summary = Summary(run=info, paper=None, full=None, system=None)
    told = description_of(summary)
    assert told == "*Failed:* no snapshot came\n\n*Note:* the cloud was gone"
    long = info.model_copy(update={"run_notes": ("x" * TAG_CHARS,)})
    assert len(description_of(summary.model_copy(update={"run": long}))) == TAG_CHARS
