"""Settings: one file (TOML), one environment prefix (SCALREC_, ``__`` nests), printed at start."""

from __future__ import annotations

import json
import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)
from pydantic_settings.sources import TomlConfigSettingsSource

from shared.abstract_form import AbstractForm
from shared.errors import ConfigError
from shared.paths import default_cache_dir
from shared.profile import DeviceProfile, preset

SETTINGS_FILE = "scalrec.toml"
_USERINFO = re.compile(r"^([a-z][a-z0-9+.-]*://)[^/?#]*@", re.IGNORECASE)


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", validate_default=True)


class LogSettings(_Section):
    """Which interactions to use."""

    name: str = Field(
        default="movielens-100k",
        description="a known log (`scalrec data list`), or a short name for your own",
    )
    path: Path | None = Field(default=None, description="your own csv, tsv, parquet or .inter file")
    columns: str | None = Field(
        default=None, description="user=U,item=I[+I2],time=T[,session=S][,text=X]: your columns"
    )
    items: Path | None = Field(default=None, description="file with item id and item text")
    min_events: int | None = Field(
        default=None,
        ge=3,
        description="users with fewer events are left out; unset: 5, or what the known log says",
    )
    repeat_policy: Literal["auto", "allow", "exclude"] = Field(
        default="auto",
        description="may an item the user already had be recommended; auto: yes if users return",
    )


class EmbedderSettings(_Section):
    """The text model behind item vectors and semantic user embeddings."""

    backend: Literal["vllm", "transformers", "hashing"] = "vllm"
    model: str = Field(default="minilm", description="minilm, smollm2, a local folder or a hub id")
    pooling: Literal["MEAN", "LAST"] = "MEAN"
    url: str | None = Field(default=None, description="a running OpenAI-compatible server to use")
    api_key: SecretStr | None = None
    python: Path | None = Field(default=None, description="python of the vLLM environment")
    batch_size: int = Field(default=64, ge=1)
    concurrency: int = Field(default=4, ge=1, description="batches in flight while embedding a log")
    max_tokens: int = Field(default=256, ge=16)
    deadline_s: float = Field(
        default=3.0,
        gt=0,
        description="for one request on the serving path; below the devices' own deadline, so that "
        "a stale answer still reaches them",
    )
    start_timeout_s: float = Field(default=300.0, gt=0)
    extra_args: tuple[str, ...] = Field(default=(), description="further vLLM server arguments")
    device: Literal["cpu", "gpu"] = Field(default="cpu", description="gpu is unverified")


class TrainingSettings(_Section):
    """Backbone, projector and calibration."""

    dim: int = Field(default=64, ge=8)
    layers: int = Field(default=2, ge=1)
    heads: int = Field(default=2, ge=1)
    dropout: float = Field(default=0.2, ge=0, lt=1)
    return_mechanism: bool = Field(default=True, description="copy logits over the own history")
    epochs: int = Field(default=8, ge=1)
    restart_epochs: int = Field(default=4, ge=0, description="warm-restart epochs after the first")
    curriculum_window: int | None = Field(
        default=50,
        ge=1,
        description="longest window of the epochs before the warm restart; the restart trains at "
        "the profile's own; None = all do",
    )
    learning_rate: float = Field(default=3e-3, gt=0, description="of the backbone; half at restart")
    batch_windows: int = Field(default=32, ge=1, description="history windows per backbone batch")
    batch_size: int = Field(default=64, ge=1, description="pairs per calibration batch")
    test_steps: int = Field(default=10, ge=1, description="last steps of each user held out")
    validation_steps: int = Field(
        default=3, ge=1, description="steps before them on which epochs and rules are chosen"
    )
    calibration_steps: int = Field(
        default=5,
        ge=0,
        description="last training events of each user kept from the backbone, so that projector "
        "and calibrator are fitted where structure is honest",
    )
    abstracts_per_user: int = Field(default=12, ge=2, description="training anchors per user")
    semantic_epochs: int = Field(default=20, ge=1)
    horizon: int = Field(
        default=1,
        ge=1,
        description="a training abstract's target is one of the next so many events: cached "
        "candidates then stay useful for longer",
    )
    gamma_max: float = Field(default=4.0, ge=0, description="radius in units of mean |e_sem|")
    temperature: float = Field(default=1.0, gt=0)
    lambda_rel: float = Field(default=1.0, ge=0)
    lambda_reg: float = Field(default=1e-4, ge=0)
    top_l: int = Field(default=50, ge=2)
    proposal: Literal["paper", "context"] = Field(
        default="context",
        description="what a correction is made from: paper: e_sem(tau) and e_str(t); context: also "
        "e_str(tau), the items met since, and the cues",
    )
    residual: bool = Field(default=True, description="the correction adds a residual")
    gate: bool = Field(default=True, description="the correction can also discount e_sem")
    estimator: Literal["learned", "fixed", "none"] = Field(
        default="learned", description="fixed: r = .5 always; none: corrections are not bounded"
    )
    severity: Literal["kl", "quantile"] = Field(
        default="quantile",
        description="target of r: kl: exp(-D) as in the paper; quantile: its place among all pairs",
    )
    label_weight: float = Field(
        default=0.5, ge=0, le=1, description="of the true target beside the fresh teacher"
    )
    ignored_cues: tuple[
        Literal["delta", "drift", "omega", "length", "density", "elapsed", "turn", "moved"], ...
    ] = Field(default=(), description="cues that estimator and calibrator may not see")
    age_rules: bool = Field(
        default=True,
        description="choose on validation, by age of the snapshot, how far it is trusted",
    )
    calibration_epochs: int = Field(default=30, ge=1)
    threads: int = Field(default=2, ge=1)


class CloudSettings(_Section):
    """The cloud service."""

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535, description="0 picks a free port")
    redis_url: SecretStr | None = Field(
        default=None, description="unset: a redis-server is started as a child"
    )
    candidates: int = Field(default=100, ge=1, description="N of SCaLRec eq. 7")
    snapshot_ttl_s: float = Field(default=7 * 86400.0, gt=0)
    auth: Literal["required", "off"] = Field(
        default="required",
        description="whether callers must show a token of the user they ask about; off is for a "
        "network that lets nobody else in",
    )
    auth_keys: SecretStr | None = Field(
        default=None,
        description="keys of device tokens, KID:BASE64URL, comma between; the first signs, all "
        "are accepted (`scalrec token keygen`)",
    )
    auth_keys_file: Path | None = Field(default=None, description="file with them, one a line")
    token_ttl_s: float = Field(default=86400.0, ge=1, description="life of tokens made here")
    admin_host: str = Field(
        default="127.0.0.1", description="where /metrics and the API's description are listened for"
    )
    admin_port: int | None = Field(
        default=None, ge=0, le=65535, description="unset: the next one after port; 0 a free one"
    )
    device_requests_per_minute: float = Field(
        default=120.0, ge=0, description="of one device, lasting; then 429. 0 sets no limit"
    )
    device_burst: int = Field(default=60, ge=1, description="of one device at once")
    reorder_window_s: float = Field(
        default=60.0,
        gt=0,
        description="a stored snapshot this much older than a new one gives way to it, whatever "
        "step it claims; above the longest time a refresh takes",
    )
    log_level: Literal["debug", "info", "warning"] = Field(
        default="info", description="debug also logs every request"
    )
    max_in_flight: int = Field(default=64, ge=1, description="snapshot computations at once")
    max_waiting: int = Field(default=128, ge=0, description="further ones that may wait; then 429")
    retry_after_s: float = Field(default=1.0, gt=0)
    store_deadline_s: float = Field(default=1.0, gt=0)


class TelemetrySettings(_Section):
    """Traces across device, cloud, embedding server and store."""

    traces: Literal["off", "otlp"] = Field(
        default="off", description="otlp needs `pip install scalrec[otel]`"
    )
    otlp_endpoint: str = Field(
        default="http://127.0.0.1:4318/v1/traces", description="of the collector, OTLP over HTTP"
    )


class LinkSettings(_Section):
    """How a device reaches the cloud, and when it gives up."""

    url: str | None = Field(
        default=None, description="cloud that `scalrec fleet` asks; `simulate` starts its own"
    )
    deadline_s: float = Field(default=5.0, gt=0, description="one refresh, all retries included")
    attempts: int = Field(default=3, ge=1)
    backoff_base_s: float = Field(default=0.2, gt=0)
    backoff_cap_s: float = Field(default=2.0, gt=0)
    retry_budget: float = Field(default=0.2, ge=0, description="retries per first attempt, at most")
    breaker_failures: int = Field(default=5, ge=1, description="failures in a row that open it")
    breaker_open_s: float = Field(default=5.0, gt=0)


class DeviceSettings(_Section):
    """The device runtime."""

    policy: Literal[
        "every-k",
        "always",
        "never",
        "time-to-live",
        "random",
        "drift",
        "reliability",
        "inconsistency",
    ] = Field(
        default="every-k",
        description="when a device asks the cloud: by count (every-k: see k), by age "
        "(time-to-live: see ttl_s), or for a share of requests (see budget), namely random ones or "
        "those where the user drifted most, the snapshot's estimated reliability is lowest, or the "
        "device's ranking is most inconsistent with the cloud's",
    )
    k: int = Field(default=5, ge=1, description="every-k: refresh after every k requests")
    ttl_s: float = Field(
        default=45.0,
        gt=0,
        description="time-to-live: refresh a snapshot this old; seconds of the device's clock, so "
        "replayed ones in a replay",
    )
    budget: float = Field(
        default=0.2,
        gt=0,
        le=1,
        description="random, drift, reliability, inconsistency: share of a device's requests that "
        "may ask the cloud",
    )
    top_k: int = Field(default=10, ge=1)
    calibrate: bool = True
    cache_dir: Path | None = Field(default=None, description="snapshots kept across restarts")
    link: LinkSettings = LinkSettings()


class AvailabilitySettings(_Section):
    """When the cloud can be reached during a replay."""

    kind: Literal["always", "never", "periodic"] = "periodic"
    period_s: float = Field(default=30.0, gt=0)
    outage_s: float = Field(default=10.0, ge=0, description="at the end of every period")
    failure: Literal["refuse", "hang"] = Field(
        default="refuse",
        description="how a gone cloud looks: refuse: connections fail at once; hang: no answer "
        "until the device's deadline",
    )


class ReplaySettings(_Section):
    """The fleet: interactions as open-loop request traffic."""

    clock: Literal["wall", "virtual"] = "wall"
    users: int = Field(default=300, ge=1, description="devices, sampled from users with test steps")
    steps: int = Field(default=10, ge=1, description="last events of each user that are replayed")
    duration_s: float = Field(default=90.0, gt=0, description="replayed time, if speed_up is unset")
    speed_up: float | None = Field(
        default=None, gt=0, description="log seconds per replayed second"
    )
    align: Literal["none", "users"] = Field(
        default="users",
        description="none: the log's own clock; users: every user's timeline is stretched over the "
        "whole replay, so that devices are active together even if the log's users never met",
    )
    cloud_latency_s: float = Field(
        default=0.05, ge=0, description="modelled mean cloud latency under the virtual clock"
    )
    warm_start: bool = Field(
        default=True,
        description="devices have used the cloud before the replay: each starts with a snapshot "
        "that is 1 to k requests old",
    )
    devices_per_link: int = Field(
        default=50, ge=1, description="devices that share one circuit breaker and retry budget"
    )
    max_refreshes: int = Field(
        default=64, ge=1, description="refreshes in flight in the fleet; further ones are skipped"
    )
    availability: AvailabilitySettings = AvailabilitySettings()


class PaperSettings(_Section):
    """Controlled staleness, as in SCaLRec section 5: S1 and S2 at fixed gaps."""

    gaps: tuple[int, ...] = Field(
        default=(0, 5, 10, 20), description="ages in events; 0 is always among them"
    )
    steps: int = Field(default=5, ge=1, description="last steps of each user that are scored")
    half_life: float = Field(default=20.0, gt=0, description="of the decayed counter, in events")
    bootstrap: int = Field(default=2000, ge=100)

    @field_validator("gaps")
    @classmethod
    def _with_the_fresh_one(cls, gaps: tuple[int, ...]) -> tuple[int, ...]:
        if any(gap < 0 for gap in gaps):
            raise ValueError("a gap is a number of events, 0 or more")
        return tuple(sorted({0, *gaps}))  # what staleness costs is measured against gap 0


class DashboardSettings(_Section):
    """The live view of a running fleet."""

    host: str = "127.0.0.1"
    port: int | None = Field(
        default=None,
        ge=0,
        le=65535,
        description="serve the live view from the process of the fleet; 0 picks a free port",
    )
    push_url: str | None = Field(
        default=None, description="report to a `scalrec dashboard` there instead"
    )
    token: SecretStr | None = Field(
        default=None, description="what a `scalrec dashboard` asks of processes that report to it"
    )
    run: str | None = Field(
        default=None,
        max_length=100,
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$",
        description="name of the run, the same for all its processes; unset: its folder's",
    )
    shard: str | None = Field(
        default=None,
        max_length=100,
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$",
        description="name of this process; unset: host and process id",
    )
    allow_hosts: tuple[str, ...] = Field(
        default=(), description="names the page is reached by, beside those of the loopback"
    )
    window_s: float = Field(
        default=10.0, gt=0, description="length of the sliding window, replayed seconds"
    )


class Settings(BaseSettings):
    """All settings. Precedence: arguments, then SCALREC_* environment, then scalrec.toml."""

    model_config = SettingsConfigDict(
        env_prefix="SCALREC_", env_nested_delimiter="__", extra="forbid", validate_default=True
    )

    work_dir: Path = Field(default=Path("runs"), description="stages, bundles and run records")
    cache: Path = Field(default_factory=default_cache_dir)
    seed: int = 0
    log: LogSettings = LogSettings()
    profile: Annotated[DeviceProfile, NoDecode] = Field(
        default=DeviceProfile(),
        description="tiny, small or full; or a table with all limits of a device of your own",
    )
    abstract: AbstractForm = AbstractForm()
    embedder: EmbedderSettings = EmbedderSettings()
    training: TrainingSettings = TrainingSettings()
    cloud: CloudSettings = CloudSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    device: DeviceSettings = DeviceSettings()
    replay: ReplaySettings = ReplaySettings()
    paper: PaperSettings = PaperSettings()
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
