"""Settings: the rooms' sections together, from one file (TOML) and one environment prefix.

Variables are ``SCALREC_SECTION__NAME``; one that is no setting is refused. All settings are printed
at the start of a command.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)
from pydantic_settings.sources import TomlConfigSettingsSource

from cloud_service.settings import BACKENDS, TelemetrySettings
from device_runtime.settings import POLICIES
from experiments.settings import CellSettings
from loadtest.settings import DashboardSettings, FleetSettings
from scalrec.contradictions import contradictions
from scalrec.profile_table import profile_table, whole_table
from scalrec.setting_names import SettingNames
from scalrec.variables import check_variables
from shared.errors import ConfigError
from shared.profile import DEFAULT, DeviceProfile

SETTINGS_FILE = "scalrec.toml"
# Settings that are gone, and what they became: nothing ever set them to another value.
GONE = {
    name: f"is a constant now: {value}"
    for name, value in {
        "abstract.max_tokens": "100",
        "abstract.recent": "6",
        "abstract.favourites": "6",
        "abstract.habits": "3",
        "abstract.query_chars": "300",
        "embedder.concurrency": "4",
        "embedder.start_timeout_s": "300",
        "embedder.lora.alpha": "16",
        "embedder.lora.patience": "2",
        "embedder.lora.threads": "1",
        "training.heads": "2",
        "training.curriculum_window": "50",
        "training.batch_size": "64",
        "generative.levels": "2",
        "generative.prompt_vectors": "3",
        "generative.patience": "5",
        "generative.batch_size": "64",
        "generative.learning_rate": "0.003",
        "generative.weight_decay": "0.01",
        "generative.dropout": "0.1",
        "generative.label_smoothing": "0",
        "generative.validation_users": "2000",
        "generative.threads": "1",
        "lsc4rec.llm_seed": "0",
        "lsc4rec.similar": "14",
        "lsc4rec.cooperative_epochs": "4",
        "lsc4rec.din_epochs": "6",
        "lsc4rec.cooperative_rate": "0.0003",
        "lsc4rec.cooperative_batch": "256",
        "lsc4rec.adaptive_steps": "5",
        "lsc4rec.adaptive_transitions": "5",
        "lsc4rec.budgets": "5, 10, 20 and 40",
        "lsc4rec.din_learning_rate": "0.002",
        "lsc4rec.din_negatives": "128",
        "cloud.token_ttl_s": "a day, or what `scalrec token issue --ttl` says",
        "cloud.reorder_window_s": "60",
        "cloud.retry_after_s": "1",
        "cloud.store_deadline_s": "1",
        "device.top_k": "10",
        "device.link.backoff_base_s": "0.2",
        "device.link.backoff_cap_s": "2",
        "paper.half_life": "20",
        "cost.characters_per_token": "4; cost.tokens_per_abstract may say how many there are",
        "frontier.align": "users",
        "frontier.intervals": "3, 7, 14 and 30",
        "frontier.availability": "0.75",
        "frontier.mean_outage": "5",
        "dashboard.shard": "host and process id",
        "dashboard.window_s": "10",
    }.items()
} | {"telemetry.otlp_endpoint": "is OTEL_EXPORTER_OTLP_TRACES_ENDPOINT in the environment now"}


class Settings(CellSettings, FleetSettings, BaseSettings):
    """All settings. Precedence: arguments, then SCALREC_* environment, then scalrec.toml."""

    model_config = SettingsConfigDict(
        env_prefix="SCALREC_",
        env_nested_delimiter="__",
        # A container's environment has every variable that Compose names, set by somebody or not.
        env_ignore_empty=True,
        extra="forbid",
        validate_default=True,
        allow_inf_nan=False,
    )

    profile: Annotated[DeviceProfile, NoDecode] = Field(
        default=DEFAULT,
        description="tiny, small or full; or a table of limits: what differs from small, the name "
        "of one of the three and what differs from it, or a device of your own with another name",
    )
    telemetry: TelemetrySettings = TelemetrySettings()
    dashboard: DashboardSettings = DashboardSettings()

    @field_validator("profile", mode="before")
    @classmethod
    def _by_name(cls, profile: Any) -> Any:
        return whole_table(profile)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        file = _SettingsFile(settings_cls, settings_file())
        return (init_settings, _Environment(settings_cls), file)


class _Environment(EnvSettingsSource):
    """Variables; the limits of a profile are changed after its name was looked up."""

    def prepare_field_value(
        self, field_name: str, field: FieldInfo, value: Any, value_is_complex: bool
    ) -> Any:
        found = super().prepare_field_value(field_name, field, value, value_is_complex)
        if field_name != "profile" or found is None:
            return found
        return profile_table(found, self.explode_env_vars(field_name, field, self.env_vars))


class _SettingsFile(TomlConfigSettingsSource):
    """The settings file; a name of a profile in it can be changed by stronger sources."""

    def __call__(self) -> dict[str, Any]:
        found = super().__call__()
        if "profile" in found:
            found = {**found, "profile": profile_table(found["profile"])}
        return found


def settings_file() -> Path:
    """The settings file in force: SCALREC_CONFIG, else ./scalrec.toml (may not exist)."""
    return Path(os.environ.get("SCALREC_CONFIG", SETTINGS_FILE))


def load_settings(**overrides: Any) -> Settings:
    """Read file, environment and overrides (nested dicts); raises ConfigError in plain words.

    ``REDIS_URL``, which hosting platforms set, counts as cloud.redis_url when nothing else does.
    """
    names = SettingNames(Settings)
    check_variables(names, os.environ, GONE)
    if "profile" in overrides:
        overrides["profile"] = profile_table(overrides["profile"])
    if "SCALREC_CONFIG" in os.environ and not settings_file().exists():
        raise ConfigError(f"SCALREC_CONFIG names {settings_file()}, which does not exist")
    try:
        settings = Settings(**overrides)
    except ValidationError as error:
        problems = "; ".join(_told(names, e["loc"], e["msg"], e["type"]) for e in error.errors())
        raise ConfigError(f"invalid settings ({settings_file()}, SCALREC_*): {problems}") from error
    except SettingsError as error:
        raise ConfigError(f"invalid SCALREC_* environment: {error} (write JSON)") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{settings_file()} is not valid TOML: {error}") from error
    POLICIES.check(settings.device.policy)
    BACKENDS.check(settings.embedder.backend)
    if problems := "; ".join(contradictions(settings.log, settings.cloud)):
        raise ConfigError(f"settings that do not go together: {problems}")
    if settings.cloud.redis_url is None and (url := os.environ.get("REDIS_URL")):
        cloud = settings.cloud.model_copy(update={"redis_url": SecretStr(url)})
        settings = settings.model_copy(update={"cloud": cloud})
    return settings


def _told(names: SettingNames, place: tuple[int | str, ...], problem: str, kind: str) -> str:
    """One thing that is wrong, in words; what a setting became that is gone."""
    name = ".".join(part for part in place if isinstance(part, str)) or "settings"
    if name in GONE:
        return f"{name} {GONE[name]}"
    text = f"{'.'.join(map(str, place)) or 'settings'}: {problem}"
    if kind == "extra_forbidden" and (nearest := names.nearest(name)):
        return f"{text}; did you mean {nearest}?"
    if name in names and (names.is_list(name) or kind in ("model_type", "dataclass_type")):
        return f"{text}; {names.written(name)}"
    return text
