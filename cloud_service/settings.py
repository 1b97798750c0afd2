"""The cloud service, the text model it asks and its telemetry."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, SecretStr, model_validator

from shared.plugins import PluginKind, PluginName
from shared.section import MACHINERY, Section
from shared.tracing import Traces

HASHING_MODEL = "hashing"  # of the back end of that name, where none is named
Backend = Literal["vllm", "transformers", "hashing"]
_OF_FILES = ("vllm", "transformers")  # back ends that run a model of files, to equal vectors
BACKENDS = PluginKind(
    group="scalrec.embedders",
    noun="embedder",
    setting="embedder.backend",
    built_in=get_args(Backend),
)


class CloudSettings(Section):
    """The cloud service."""

    host: str = Field(default="127.0.0.1", description="address the API is served at")
    port: int = Field(default=8080, ge=0, le=65535, description="0 picks a free port")
    redis_url: SecretStr | None = Field(
        default=None, description="unset: a redis-server is started as a child"
    )
    candidates: int = Field(default=100, ge=1, description="N of SCaLRec eq. 7")
    candidates_from: Literal["semantic", "generative"] = Field(
        default="semantic",
        description="semantic: the items nearest to e_sem; generative: those that the bundle's "
        "generator writes after the item tokens a device sends (abstract.item_tokens), semantic "
        "for a device that sends none",
    )
    exact_below: int = Field(
        default=100_000,
        ge=1,
        description="items from which on candidates are retrieved by an approximate index; below, "
        "every item is scored",
    )
    least_recall: float = Field(
        default=0.98,
        gt=0,
        le=1,
        description="of an approximate index at cloud.candidates, measured at the start against "
        "every item scored; one that cannot have it is refused",
    )
    snapshot_ttl_s: float = Field(
        default=7 * 86400.0, gt=0, description="how long the store keeps a snapshot"
    )
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
    drain_s: float = Field(
        default=0.0,
        ge=0,
        le=600,
        description="seconds from the signal to stop until the service stops listening: /readyz "
        "says no from the signal on, so that a balancer has this long to send nobody any more; "
        "longer than its interval between two looks",
    )
    log_level: Literal["debug", "info", "warning"] = Field(
        default="info", description="debug also logs every request"
    )
    max_in_flight: int = Field(default=64, ge=1, description="snapshot computations at once")
    max_waiting: int = Field(default=128, ge=0, description="further ones that may wait; then 429")


class EmbedderSettings(Section):
    """The text model behind item vectors and semantic user embeddings."""

    backend: Backend | PluginName = Field(
        default="vllm",
        description="vllm: a server of its own; transformers: inside the process; hashing: words "
        "without a model, for tests; or the name of an embedder that an installed package brings",
        json_schema_extra=MACHINERY,
    )
    model: str = Field(default="minilm", description="minilm, smollm2, a local folder or a hub id")
    pooling: Literal["MEAN", "LAST"] = Field(
        default="MEAN",
        description="how the vectors of a text's tokens become one: their mean, or the last one's",
    )
    query_apart: bool = Field(
        default=False,
        description="what a user asks gets a vector of its own beside that of the rest of the "
        "abstract, for logs with queries; the cloud must be started as training was",
    )
    bulk: Literal["inside", "served"] = Field(
        default="inside",
        description="where training embeds its texts if the back end is vllm; inside: in its own "
        "process, through transformers, where that gives the same vectors (BERT and Llama models "
        "on a processor, without embedder.url and embedder.extra_args); served: by the server",
        json_schema_extra=MACHINERY,
    )
    url: str | None = Field(
        default=None,
        description="a running OpenAI-compatible server to use",
        json_schema_extra=MACHINERY,
    )
    api_key: SecretStr | None = Field(
        default=None,
        description="what the server at embedder.url asks for",
        json_schema_extra=MACHINERY,
    )
    python: Path | None = Field(
        default=None, description="python of the vLLM environment", json_schema_extra=MACHINERY
    )
    batch_size: int = Field(
        default=64, ge=1, description="texts in one request", json_schema_extra=MACHINERY
    )
    max_tokens: int = Field(default=256, ge=16, description="longer texts are cut off there")
    deadline_s: float = Field(
        default=3.0,
        gt=0,
        description="for one request on the serving path; below the devices' own deadline, so that "
        "a stale answer still reaches them",
        json_schema_extra=MACHINERY,
    )
    extra_args: tuple[str, ...] = Field(
        default=(), description="further vLLM server arguments", json_schema_extra=MACHINERY
    )
    device: Literal["cpu", "gpu"] = Field(
        default="cpu", description="gpu is unverified", json_schema_extra=MACHINERY
    )

    @property
    def runs_model(self) -> bool:
        """Whether the back end runs a model of files; others know of none, or see to it."""
        return self.backend in _OF_FILES

    @property
    def needs_model(self) -> bool:
        """Whether those files are looked for on this machine, not behind somebody's server."""
        return self.url is None and self.runs_model

    def serves(self, trained_with: str) -> str:
        """The back end that serves a bundle, by what its texts were embedded with for training.

        Of back ends that run a model of files any may serve: these settings say which one does.
        """
        return self.backend if self.runs_model and trained_with in _OF_FILES else trained_with

    @model_validator(mode="before")
    @classmethod
    def _hashing_brings_its_model(cls, given: Any) -> Any:
        """The hashing back end knows no other models, so nobody has to name one for it."""
        if isinstance(given, dict) and given.get("backend") == "hashing" and "model" not in given:
            return given | {"model": HASHING_MODEL}
        return given


class ServiceSettings(Section):
    """What the service is put together from."""

    embedder: EmbedderSettings = EmbedderSettings()
    cloud: CloudSettings = CloudSettings()


class TelemetrySettings(Section):
    """Traces across device, cloud, embedding server and store."""

    traces: Traces = Field(
        default="off",
        description="otlp: over HTTP to OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, else to port 4318 of "
        "this machine; needs `pip install scalrec[otel]`",
    )
