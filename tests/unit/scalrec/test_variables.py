"""Variables, files and --set: what is no setting is refused, and the one that was meant named."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from scalrec.options import settings_from
from scalrec.setting_names import SettingNames, variable
from scalrec.settings import GONE, Settings, load_settings
from scalrec.variables import NOT_SETTINGS
from shared.errors import ConfigError
from shared.profile import PRESETS, DeviceProfile

ROOT = Path(__file__).parents[3]
NAMES = SettingNames(Settings)
SOURCES = ["README.md", "docs", "Makefile", "docker-compose.yml", "deploy", "scripts", ".ci",
           "scalrec", "shared", "launch", "cloud_service", "device_runtime", "training", "loadtest",
           "experiments", "reports", "benchmarks", "tests/e2e", "tests/compose",
           "tests/support"]  # fmt: skip
PLACEHOLDERS = {"SCALREC_SECTION__NAME"}


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.upper().startswith("SCALREC_"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("SCALREC_DEVICE_K", "SCALREC_DEVICE__K"),
        ("SCALREC_DEVICE__LINK_DEADLINE_S", "SCALREC_DEVICE__LINK__DEADLINE_S"),
        ("SCALREC_DEVICE__LINK__DEADLINE", "SCALREC_DEVICE__LINK__DEADLINE_S"),
        ("scalrec_device_k", "SCALREC_DEVICE__K"),
        ("SCALREC_CLOUD__REDIS", "SCALREC_CLOUD__REDIS_URL"),
        ("SCALREC_REDIS_URL", "SCALREC_CLOUD__REDIS_URL"),
        ("SCALREC_DEVISE__POLICY", "SCALREC_DEVICE__POLICY"),
        ("SCALREC_SEED__X", "SCALREC_SEED"),
        ("SCALREC_WORKDIR", "SCALREC_WORK_DIR"),
        ("SCALREC_PROFILE_WINDOW", "SCALREC_PROFILE__WINDOW"),
        ("SCALREC_DASHBORD__PORT", "SCALREC_DASHBOARD__PORT"),
    ],
)
def test_a_misspelt_variable_is_refused_with_what_was_meant(
    monkeypatch: pytest.MonkeyPatch, given: str, meant: str
) -> None:
    monkeypatch.setenv(given, "secret-10")
    with pytest.raises(ConfigError, match=rf"{given} is no setting; did you mean {meant}\?") as e:
        load_settings()
    assert "secret-10" not in str(e.value)


def test_all_that_are_wrong_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCALREC_DEVICE_K", "10")
    monkeypatch.setenv("SCALREC_XQZW", "10")
    with pytest.raises(ConfigError, match=r"SCALREC_DEVICE_K .*SCALREC_XQZW is no setting; unset"):
        load_settings()


def test_what_is_not_ours_to_refuse_is_let_be(monkeypatch: pytest.MonkeyPatch) -> None:
    others = {
        "SCALREC_DEVICE_K": "",  # a container has every variable that Compose names
        # What Kubernetes and Docker tell of services of that name.
        "SCALREC_SERVICE_HOST": "10.0.0.1",
        "SCALREC_CLOUD_SERVICE_PORT_HTTP": "8080",
        "SCALREC_CLOUD_PORT": "tcp://10.0.0.1:8080",
        "SCALREC_CLOUD_PORT_8080_TCP": "tcp://10.0.0.1:8080",
        "SCALREC_CLOUD_PORT_8080_TCP_ADDR": "10.0.0.1",
        "MY_SCALREC_DEVICE_K": "1",
    }
    for name, value in (
        others | dict.fromkeys(set(NOT_SETTINGS) - {"SCALREC_CONFIG"}, "1")
    ).items():
        monkeypatch.setenv(name, value)
    assert load_settings() == Settings()
    monkeypatch.setenv("SCALREC_CLOUD_PORT", "8080")
    with pytest.raises(ConfigError, match="did you mean SCALREC_CLOUD__PORT"):
        load_settings()


def test_every_variable_in_this_repository_is_a_setting_or_listed() -> None:
    files = [
        path
        for source in SOURCES
        for path in ([ROOT / source] if (ROOT / source).is_file() else (ROOT / source).rglob("*"))
        if path.is_file() and path.suffix not in (".pyc", ".whl", ".png")
    ]
    found = {
        name
        for path in files
        for name in re.findall(r"SCALREC_[A-Z][A-Z0-9_]*", path.read_text(errors="ignore"))
    }
    assert len(found) > 30
    unknown = {
        name
        for name in found - set(NOT_SETTINGS) - PLACEHOLDERS
        if not name.endswith("_")
        and name.removeprefix("SCALREC_").lower().replace("__", ".") not in NAMES
    }
    assert unknown == set()


def test_every_setting_has_a_variable_that_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        assert variable(name).removeprefix("SCALREC_").lower().replace("__", ".") == name
    assert not set(GONE) & set(NAMES)


Setter = Callable[[pytest.MonkeyPatch, Path, str, str], ConfigError]


def by_variable(monkeypatch: pytest.MonkeyPatch, _: Path, name: str, value: str) -> ConfigError:
    monkeypatch.setenv(variable(name), value)
    with pytest.raises(ConfigError) as caught:
        load_settings()
    return caught.value


def by_option(_: pytest.MonkeyPatch, __: Path, name: str, value: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        settings_from(assignments=[f"{name}={value}"])
    return caught.value


def by_file(_: pytest.MonkeyPatch, folder: Path, name: str, value: str) -> ConfigError:
    (folder / "scalrec.toml").write_text(f"{name} = '{value}'\n")
    with pytest.raises(ConfigError) as caught:
        load_settings()
    return caught.value


@pytest.mark.parametrize("given", [by_variable, by_option, by_file])
@pytest.mark.parametrize("name", [name for name in NAMES if NAMES.is_list(name)])
def test_a_list_that_is_none_is_named_in_full_with_an_example_that_works(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, given: Setter
) -> None:
    told = str(given(monkeypatch, tmp_path, name, "1,2"))
    assert name in told
    (tmp_path / "scalrec.toml").unlink(missing_ok=True)
    example = re.search(rf"--set '({re.escape(name)}=\[.*?\])'", told)
    assert example is not None, told
    monkeypatch.delenv(variable(name), raising=False)
    assert settings_from(assignments=[example[1]])
    in_environment = re.search(rf"{variable(name)}='(\[.*?\])'", told)
    assert in_environment is not None
    monkeypatch.setenv(variable(name), in_environment[1])
    assert load_settings()


@pytest.mark.parametrize("given", [by_variable, by_option, by_file])
@pytest.mark.parametrize("name", ["paper", "device.link", "dashboard", "embedder.lora"])
def test_a_section_that_is_given_a_value_says_how_its_values_are_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, given: Setter
) -> None:
    told = str(given(monkeypatch, tmp_path, name, "{8090"))
    assert f"{name}: " in told or f"({name})" in told
    assert f"--set {name}." in told


def test_an_unknown_name_in_file_or_option_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"device\.kay: .*did you mean device\.k\?"):
        settings_from(assignments=["device.kay=3"])
    (tmp_path / "scalrec.toml").write_text("[device.link]\ndeadline = 3\n")
    with pytest.raises(ConfigError, match=r"did you mean device\.link\.deadline_s\?"):
        load_settings()


FULL_BUT_30 = PRESETS["full"].model_copy(update={"window": 30})


def test_a_named_profile_and_a_changed_limit_are_both_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    limit = ["profile.window=30"]
    assert settings_from(profile="full", assignments=limit).profile == FULL_BUT_30
    assert settings_from(assignments=["profile=full", *limit]).profile == FULL_BUT_30
    assert settings_from(assignments=[*limit, "profile=full"]).profile == FULL_BUT_30
    assert settings_from(assignments=[*limit, "profile.name=full"]).profile == FULL_BUT_30
    monkeypatch.setenv("SCALREC_PROFILE", "full")
    assert settings_from(assignments=limit).profile == FULL_BUT_30
    monkeypatch.setenv("SCALREC_PROFILE__WINDOW", "30")
    assert load_settings().profile == FULL_BUT_30
    monkeypatch.setenv("SCALREC_PROFILE", '{"name": "full"}')
    assert load_settings().profile == FULL_BUT_30
    monkeypatch.delenv("SCALREC_PROFILE")
    for text in ("profile = 'full'\n", "[profile]\nname = 'full'\n", "profile = {name='full'}\n"):
        (tmp_path / "scalrec.toml").write_text(text)
        assert load_settings().profile == FULL_BUT_30
    monkeypatch.delenv("SCALREC_PROFILE__WINDOW")
    (tmp_path / "scalrec.toml").write_text("[profile]\nname = 'full'\nwindow = 30\n")
    assert load_settings().profile == FULL_BUT_30


SMALL_BUT_30 = PRESETS["small"].model_copy(update={"window": 30})


def test_a_changed_limit_alone_changes_the_default_profile(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert SMALL_BUT_30.local_candidates == 100  # not the field's default
    assert settings_from(assignments=["profile.window=30"]).profile == SMALL_BUT_30
    assert load_settings(profile={"window": 30}).profile == SMALL_BUT_30
    assert settings_from(assignments=['profile={"window": 30}']).profile == SMALL_BUT_30
    (tmp_path / "scalrec.toml").write_text("[profile]\nwindow = 30\n")
    assert load_settings().profile == SMALL_BUT_30
    assert settings_from(assignments=["profile.retain=window"]).profile == SMALL_BUT_30.model_copy(
        update={"retain": "window"}
    )
    monkeypatch.setenv("SCALREC_PROFILE__WINDOW", "31")
    assert load_settings().profile == SMALL_BUT_30.model_copy(update={"window": 31})
    (tmp_path / "scalrec.toml").unlink()
    monkeypatch.setenv("SCALREC_PROFILE__WINDOW", "30")
    assert load_settings().profile == SMALL_BUT_30
    monkeypatch.delenv("SCALREC_PROFILE__WINDOW")
    monkeypatch.setenv("SCALREC_PROFILE", '{"window": 30}')
    assert load_settings().profile == SMALL_BUT_30


def test_a_changed_limit_alone_changes_the_profile_of_a_weaker_source(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "scalrec.toml").write_text("profile = 'full'\n")
    assert settings_from(assignments=["profile.window=30"]).profile == FULL_BUT_30
    monkeypatch.setenv("SCALREC_PROFILE__WINDOW", "30")
    assert load_settings().profile == FULL_BUT_30


def test_a_device_of_another_name_is_of_its_own() -> None:
    own = settings_from(assignments=['profile={"name": "kiosk", "window": 30}']).profile
    assert own == DeviceProfile(name="kiosk", window=30)
    assert own.local_candidates == 0


def test_a_whole_profile_is_read_back_as_it_was_written() -> None:
    for profile in (DeviceProfile(), DeviceProfile(window=30), SMALL_BUT_30, PRESETS["tiny"]):
        stored = profile.model_dump(mode="json")
        assert load_settings(profile=stored).profile == profile
        assert DeviceProfile.model_validate(stored) == profile


def test_a_table_that_goes_with_no_re_retrieval_is_told_which_setting() -> None:
    with pytest.raises(ConfigError, match=r"profile\.local_candidates=0"):
        settings_from(assignments=["profile.table=none"])
    without = settings_from(assignments=["profile.table=none", "profile.local_candidates=0"])
    assert (without.profile.window, without.profile.vectors_in_snapshot) == (50, True)


def test_a_name_from_a_stronger_source_stands_for_all_its_limits(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "scalrec.toml").write_text("[profile]\nname = 'mine'\nwindow = 33\n")
    assert load_settings().profile.window == 33
    assert settings_from(profile="tiny").profile == PRESETS["tiny"]
    monkeypatch.setenv("SCALREC_PROFILE", "full")
    assert load_settings().profile == PRESETS["full"]
    assert settings_from(profile="tiny").profile == PRESETS["tiny"]


@pytest.mark.parametrize("profile", ["huge", "{bad", '{"name": 3}', '["full"]'])
def test_a_profile_that_is_none_is_told(profile: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for assignments in ([f"profile={profile}"], ["profile.window=30", f"profile={profile}"]):
        with pytest.raises(ConfigError, match="profile"):
            settings_from(assignments=assignments)
    monkeypatch.setenv("SCALREC_PROFILE", profile)
    monkeypatch.setenv("SCALREC_PROFILE__WINDOW", "30")
    with pytest.raises(ConfigError, match="profile"):
        load_settings()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"log": {"columns": "user=u,item=i,time=t"}}, r"log\.columns .* set log\.path"),
        ({"log": {"items": "items.csv"}}, r"log\.items .* set log\.path"),
        ({"cloud": {"auth_keys": "a:b", "auth_keys_file": "k"}}, "keep one of them"),
        ({"cloud": {"port": 8080, "admin_port": 8080}}, "choose another admin_port"),
    ],
)
def test_halves_and_contradictions_are_told(given: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        load_settings(**given)
    assert "a:b" not in str(caught.value)
