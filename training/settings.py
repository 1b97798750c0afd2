"""What is learned, from which log, and how it is judged."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from cloud_service.settings import EmbedderSettings, ServiceSettings
from shared.abstract_form import AbstractForm, PrivacyLevel
from shared.cost import CostSettings
from shared.paper_settings import PaperSettings
from shared.paths import default_cache_dir
from shared.profile import DeviceProfile
from shared.section import Section
from training.frontier.settings import FrontierSettings
from training.generative.settings import GenerativeSettings
from training.lsc4rec.settings import Lsc4recSettings
from training.tuning.settings import LoraSettings


class LogSettings(Section):
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


class AbstractSettings(Section):
    """What a user may choose of it; the rest of the form is what all bundles are made with."""

    level: PrivacyLevel = Field(
        default="items",
        description="what leaves the device: items: names of items, areas and categories; coarse: "
        "areas, categories and decades, no item; categories: categories alone. Below items, names "
        "inside a query are said by their categories too",
    )
    item_tokens: bool = Field(
        default=False,
        description="devices send the tokens of their latest items beside the abstract, for "
        "cloud.candidates_from=generative. Tokens name items exactly: whoever holds the bundle "
        "can read them back",
    )

    @property
    def form(self) -> AbstractForm:
        """What the projector is fitted on; a bundle's manifest holds it."""
        return AbstractForm(level=self.level)


class TextModelSettings(EmbedderSettings):
    """The embedder, and whether it is tuned to the log first."""

    lora: LoraSettings | None = Field(
        default=None,
        description="tune the model to the log's training requests before it is used, for commands "
        "that train; unset: the model as it is",
    )


class TrainingSettings(Section):
    """Backbone, projector and calibration."""

    backbone: Literal["sasrec", "surge", "gru4rec"] = Field(
        default="sasrec",
        description="the device's encoder; sasrec: self-attention; surge: a graph of interests; "
        "gru4rec: a recurrence",
    )
    dim: int = Field(default=64, ge=8)
    item_start: Literal["text", "random"] = Field(
        default="text",
        description="what item vectors are trained from; text: embeddings of the items' texts; "
        "random: no text, ids alone",
    )
    layers: int = Field(default=2, ge=1)
    dropout: float = Field(default=0.2, ge=0, lt=1)
    return_mechanism: bool = Field(default=True, description="copy logits over the own history")
    epochs: int = Field(default=8, ge=1)
    restart_epochs: int = Field(default=4, ge=0, description="warm-restart epochs after the first")
    learning_rate: float = Field(default=3e-3, gt=0, description="of the backbone; half at restart")
    batch_windows: int = Field(default=32, ge=1, description="history windows per backbone batch")
    test_steps: int = Field(default=10, ge=1, description="last steps of each user held out")
    validation_steps: int = Field(
        default=1, ge=1, description="steps before them on which epochs and rules are chosen"
    )
    calibration_steps: int = Field(
        default=0,
        ge=0,
        description="last training events of each user kept from the backbone, so that the "
        "calibrator is fitted where structure is honest; 5 or more where histories are long",
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
    rule_margin: float = Field(
        default=0.0,
        ge=0,
        description="standard errors an age rule must be ahead by before a plainer one gives way; "
        "0: the best on validation is taken",
    )
    calibration_epochs: int = Field(default=30, ge=1)
    threads: int = Field(default=2, ge=1)


class Recipe(ServiceSettings):
    """All that a model and what is measured of it follow from, and where they are kept."""

    work_dir: Path = Field(default=Path("runs"), description="stages, bundles and run records")
    cache: Path = Field(default_factory=default_cache_dir)
    seed: int = 0
    log: LogSettings = LogSettings()
    profile: DeviceProfile = DeviceProfile()
    abstract: AbstractSettings = AbstractSettings()
    embedder: TextModelSettings = TextModelSettings()
    training: TrainingSettings = TrainingSettings()
    generative: GenerativeSettings = GenerativeSettings()
    lsc4rec: Lsc4recSettings = Lsc4recSettings()
    paper: PaperSettings = PaperSettings()
    cost: CostSettings = CostSettings()
    frontier: FrontierSettings = FrontierSettings()
