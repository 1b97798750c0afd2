"""Settings: one file (TOML), one environment prefix (SCALREC_, ``__`` nests), printed at start."""

from __future__ import annotations

import json
import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)
from pydantic_settings.sources import TomlConfigSettingsSource

from shared.abstract_settings import AbstractSettings
from shared.cloud_settings import CloudSettings, TelemetrySettings
from shared.cost_settings import CostSettings
from shared.errors import ConfigError
from shared.fleet_settings import (
    AvailabilitySettings,
    DashboardSettings,
    DeviceSettings,
    LinkSettings,
    ReplaySettings,
)
from shared.frontier_settings import FrontierSettings
from shared.generative_settings import GenerativeSettings
from shared.lora_settings import LoraSettings
from shared.lsc4rec_settings import Lsc4recSettings
from shared.paths import default_cache_dir
from shared.profile import DeviceProfile, preset
from shared.training_settings import (
    EmbedderSettings,
    LogSettings,
    PaperSettings,
    TrainingSettings,
)

__all__ = [
    "SETTINGS_FILE",
    "AvailabilitySettings",
    "CloudSettings",
    "CostSettings",
    "DashboardSettings",
    "DeviceSettings",
    "EmbedderSettings",
    "FrontierSettings",
    "GenerativeSettings",
    "LinkSettings",
    "LogSettings",
    "LoraSettings",
    "Lsc4recSettings",
    "PaperSettings",
    "ReplaySettings",
    "Settings",
    "TelemetrySettings",
    "TrainingSettings",
    "load_settings",
    "printable",
    "settings_file",
]

SETTINGS_FILE = "scalrec.toml"
_USERINFO = re.compile(r"^([a-z][a-z0-9+.-]*://)[^/?#]*@", re.IGNORECASE)


class Settings(BaseSettings):
    """All settings. Precedence: arguments, then SCALREC_* environment, then scalrec.toml."""

    model_config = SettingsConfigDict(
        env_prefix="SCALREC_",
        env_nested_delimiter="__",
        # A container's environment has every variable that Compose names, set by somebody or not.
        env_ignore_empty=True,
        extra="forbid",
        validate_default=True,
    )

    work_dir: Path = Field(default=Path("runs"), description="stages, bundles and run records")
    cache: Path = Field(default_factory=default_cache_dir)
    seed: int = 0
    log: LogSettings = LogSettings()
    profile: Annotated[DeviceProfile, NoDecode] = Field(
        default=DeviceProfile(),
        description="tiny, small or full; or a table with all limits of a device of your own",
    )
    abstract: AbstractSettings = AbstractSettings()
    embedder: EmbedderSettings = EmbedderSettings()
    training: TrainingSettings = TrainingSettings()
    generative: GenerativeSettings = GenerativeSettings()
    lsc4rec: Lsc4recSettings = Lsc4recSettings()
    cloud: CloudSettings = CloudSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    device: DeviceSettings = DeviceSettings()
    replay: ReplaySettings = ReplaySettings()
    paper: PaperSettings = PaperSettings()
    cost: CostSettings = CostSettings()
    frontier: FrontierSettings = FrontierSettings()
    dashboard: DashboardSettings = DashboardSettings()

    @field_validator("profile", mode="before")
    @classmethod
    def _by_name(cls, profile: Any) -> Any:
        """A name stands for its preset; an environment variable may also hold the table as JSON."""
        if not isinstance(profile, str):
            return profile
        if profile.lstrip().startswith("{"):
            return json.loads(profile)
        return preset(profile)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        toml = TomlConfigSettingsSource(settings_cls, settings_file())
        return (init_settings, env_settings, toml)


def settings_file() -> Path:
    """The settings file in force: SCALREC_CONFIG, else ./scalrec.toml (may not exist)."""
    return Path(os.environ.get("SCALREC_CONFIG", SETTINGS_FILE))


def load_settings(**overrides: Any) -> Settings:
    """Read file, environment and overrides (nested dicts); raises ConfigError in plain words.

    ``REDIS_URL``, which hosting platforms set, counts as cloud.redis_url when nothing else does.
    """
    if "SCALREC_CONFIG" in os.environ and not settings_file().exists():
        raise ConfigError(f"SCALREC_CONFIG names {settings_file()}, which does not exist")
    try:
        settings = Settings(**overrides)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'settings'}: {e['msg']}" for e in error.errors()
        )
        raise ConfigError(f"invalid settings ({settings_file()}, SCALREC_*): {problems}") from error
    except SettingsError as error:
        raise ConfigError(f"invalid SCALREC_* environment: {error} (write JSON)") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{settings_file()} is not valid TOML: {error}") from error
    if settings.cloud.redis_url is None and (url := os.environ.get("REDIS_URL")):
        cloud = settings.cloud.model_copy(update={"redis_url": SecretStr(url)})
        settings = settings.model_copy(update={"cloud": cloud})
    return settings


def printable(settings: BaseModel) -> dict[str, Any]:
    """All settings as plain values; secrets, and passwords inside addresses, as stars."""
    masked: dict[str, Any] = _mask_userinfo(settings.model_dump(mode="json"))
    return masked


def _mask_userinfo(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _mask_userinfo(inner) for name, inner in value.items()}
    if isinstance(value, str):
        return _USERINFO.sub(r"\1**********@", value)
    return value
