"""What is learned, from which log, and how it is judged."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from cloud_service.settings import EmbedderSettings, ServiceSettings
from shared.abstract_form import AbstractForm, PrivacyLevel
from shared.cost import CostSettings
from shared.generator_config import Generative
from shared.paper_settings import PaperSettings
from shared.paths import default_cache_dir
from shared.profile import DEFAULT, DeviceProfile
from shared.section import MACHINERY, MAX_SEED, Section
from training.calibration_method import CalibrationMethod
from training.encoders.size import EncoderSize


class LogSettings(Section):
    """The dataset: which interactions to use."""

    name: str = Field(
        default="movielens-100k",
        description="a known log (`scalrec data list`), or a short name for your own",
    )
    path: Path | None = Field(
        default=None,
        description="your own file (csv, tsv, JSON lines, parquet or .inter; plain, gzip or zstd), "
        "or a folder or pattern of its parts",
        json_schema_extra=MACHINERY,
    )
    columns: str | None = Field(
        default=None,
        description="user=U,item=I[+I2],time=T[,session=S][,text=X]: your columns, by name or, "
        "without a header, by number; or one ROLE=COLUMN a line",
        json_schema_extra=MACHINERY,
    )
    items: Path | None = Field(
        default=None, description="file with item id and item text", json_schema_extra=MACHINERY
    )
    min_events: int | None = Field(
        default=None,
        ge=3,
        description="users with fewer events are left out; unset: 5, or what the known log says",
    )
    bad_rows: Literal["refuse", "skip"] = Field(
        default="refuse",
        description="rows that cannot be used: refuse: an error names the first; skip: up to 1 % "
        "of a file are left out, counted and listed",
    )
    duplicates: Literal["auto", "keep", "drop"] = Field(
        default="auto",
        description="rows of the same user, item and time; auto: kept where times are whole "
        "minutes, hours or days, which events may share; dropped otherwise",
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
        "areas, categories and decades, no item; categories: members of a closed vocabulary of "
        "common categories alone, also of a query. Names of items inside a query are said by their "
        "categories at coarse",
    )
    context: bool = Field(
        default=True,
        description="tell weekday and part of the day, and the habits of that time; false: nothing "
        "about when the user asks leaves the device",
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
        return AbstractForm(level=self.level, context=self.context)


class LoraSettings(Section):
    """How adapters are trained and how much of the log they are trained on."""

    rank: int = Field(default=8, ge=1, le=256, description="of each adapter")
    layers: int | None = Field(
        default=None, ge=1, description="last layers of the model that get adapters; unset: all"
    )
    abstracts: int = Field(
        default=4096, ge=2, description="training abstracts, drawn once; all if there are fewer"
    )
    epochs: int = Field(default=4, ge=1, description="passes over those abstracts")
    batch_size: int = Field(
        default=64, ge=2, description="abstracts in a batch; their next items are its candidates"
    )
    learning_rate: float = Field(default=5e-4, gt=0, description="at its peak")
    temperature: float = Field(default=0.05, gt=0, description="of the softmax over cosines")
    validation_requests: int = Field(
        default=512, ge=1, description="validation steps, drawn once, that judge each epoch"
    )
    precision: Literal["float32", "bfloat16"] = Field(
        default="float32",
        description="of matrix products; bfloat16 is much quicker where the processor has "
        "instructions for it. Weights stay float32",
    )


class TextModelSettings(EmbedderSettings):
    """The embedder, and whether it is tuned to the log first."""

    lora: LoraSettings | None = Field(
        default=None,
        description="tune the model to the log's training requests before it is used, for commands "
        "that train; unset: the model as it is",
    )


class TrainingSettings(EncoderSize, CalibrationMethod):
    """Backbone, projector and calibration."""

    backbone: Literal["sasrec", "surge", "gru4rec"] = Field(
        default="sasrec",
        description="the device's encoder; sasrec: self-attention; surge: a graph of interests; "
        "gru4rec: a recurrence",
    )
    item_start: Literal["text", "random"] = Field(
        default="text",
        description="what item vectors are trained from; text: embeddings of the items' texts; "
        "random: no text, ids alone",
    )
    epochs: int = Field(
        default=8, ge=1, description="of the backbone; the best on validation is kept"
    )
    restart_epochs: int = Field(default=4, ge=0, description="warm-restart epochs after the first")
    learning_rate: float = Field(default=3e-3, gt=0, description="of the backbone; half at restart")
    batch_windows: int = Field(default=32, ge=1, description="history windows per backbone batch")
    distil: bool = Field(
        default=False,
        description="the backbone also learns from two others of other seeds, which are trained "
        "first and are not shipped: what an ensemble of them knows, in one model",
    )
    split: Literal["user", "global"] = Field(
        default="user",
        description="user: each user's last steps are held out, at a time of their own; global: "
        "nothing that anybody did from one instant on is trained on",
    )
    split_at: Annotated[float, Field(gt=0, lt=1)] | date = Field(
        default=0.8,
        description="that instant, for training.split=global: a date (2013-01-15, its midnight, "
        "UTC), or the share of all events that come before it",
    )
    test_steps: int = Field(
        default=10,
        ge=1,
        description="steps of each user held out: the last ones by user, the first ones after the "
        "instant of a global split",
    )
    validation_steps: int = Field(
        default=1, ge=1, description="steps before them on which epochs and rules are chosen"
    )
    calibration_steps: int = Field(
        default=5,
        ge=0,
        description="last training events of each user kept from every model, so that the "
        "calibrator and the weights of a score are fitted where the models are honest; fewer where "
        "histories are short",
    )
    calibration_block: Literal["steps", "users"] = Field(
        default="steps",
        description="what the calibrator learns from; steps: the calibration_steps kept from every "
        "model; users: all training steps, each scored by models that have not met its user: two "
        "more trainings, on half of the users each",
    )
    abstracts_per_user: int = Field(default=12, ge=2, description="training anchors per user")
    semantic_epochs: int = Field(default=20, ge=1, description="of the projector, at most")
    semantic_vectors: Literal["own", "shared"] = Field(
        default="own",
        description="item vectors of the semantic channel; own: trained with it; shared: those of "
        "structure, as in the paper",
    )
    rare_items: Literal["learned", "text"] = Field(
        default="learned",
        description="semantic vectors of items that training rarely met, or not at all; learned: "
        "as they came out; text: drawn towards what their texts say, the more the rarer they are, "
        "by as much as pays on validation",
    )
    own_counts: bool = Field(
        default=True,
        description="a device may add decayed counts of all its own events to structure",
    )
    text_student: bool = Field(
        default=True,
        description="a device may read its own abstract by a bag of words, without the cloud",
    )
    horizon: int = Field(
        default=1,
        ge=1,
        description="a training abstract's target is one of the next so many events: cached "
        "candidates then stay useful for longer",
    )
    calibration_epochs: int = Field(
        default=30, ge=1, description="of estimator and calibrator, at most"
    )
    threads: int = Field(
        default=2, ge=1, description="of torch while training", json_schema_extra=MACHINERY
    )

    @field_validator("split_at", mode="before")
    @classmethod
    def _date_or_share(cls, value: object) -> object:
        # A number that is no share would be read as a date: so many seconds after 1970.
        if isinstance(value, int | float) and not 0 < value < 1:
            raise ValueError("give a date (2013-01-15) or a share between 0 and 1")
        return value


class GenerativeSettings(Section):
    """P5 and POD (LSC4Rec's cloud models): an encoder-decoder that writes an item's tokens."""

    model: Generative = Field(
        default="p5",
        description="p5: a discrete prompt of words; pod: continuous vectors distilled from it",
    )
    size: Literal["cpu", "medium", "paper"] = Field(
        default="cpu",
        description="cpu: trains in minutes on one core; medium: fourteen times its parameters, "
        "quick enough with bfloat16 where the processor multiplies it; paper: T5-small's sizes",
    )
    tokens: Literal["text", "random"] = Field(
        default="text",
        description="how items are numbered; text: by k-means over the embeddings of their texts; "
        "random: by a seeded hash. Neither reads interactions",
    )
    codes: int = Field(default=256, ge=2, le=4096, description="codes at each level")
    history: int = Field(default=20, ge=1, le=200, description="latest items that are read")
    epochs: int = Field(default=14, ge=1, description="passes over the training events, at most")
    precision: Literal["float32", "bfloat16"] = Field(
        default="float32", description="of matrix products while training; weights stay float32"
    )


class Lsc4recSettings(Section):
    """Collaboration of a generative cloud model and a device's SRM (arXiv 2501.05647)."""

    srm: Literal["backbone", "din"] = Field(
        default="backbone",
        description="the device's model; backbone: the encoder of training.backbone; din: a deep "
        "interest network",
    )
    lists: tuple[int, ...] = Field(
        default=(20, 50), description="lengths of candidate lists; a shorter one begins the longest"
    )
    lateness: int = Field(
        default=2, ge=1, description="events that the cloud's history lacks, near real time"
    )
    training_users: int = Field(
        default=20_000, ge=1, description="users whose calibration request has a list, to train on"
    )
    validation_users: int = Field(
        default=4_096, ge=1, description="users on whose validation request everything is chosen"
    )
    second_srm: bool = Field(
        default=False,
        description="in studies: also put an SRM of the next seed in the place of the cloud's "
        "scores, which bounds what a better cloud could add; trains one more",
    )
    adaptive_rates: tuple[float, ...] = Field(
        default=(0.03, 0.1, 0.3, 1.0),
        description="step sizes of the device's own re-training that validation chooses from, in "
        "units of 1 / mean |e_str|^2",
    )

    @property
    def longest(self) -> int:
        """Length of the lists the cloud makes."""
        return max(self.lists)

    @field_validator("lists", "adaptive_rates")
    @classmethod
    def _some(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if not values or min(values) <= 0 or len(set(values)) != len(values):
            raise ValueError("give distinct values above 0, one at least")
        return tuple(sorted(values))


class BaselineSettings(Section):
    """Methods of other papers, which studies put beside the product."""

    methods: tuple[str, ...] | None = Field(
        default=None,
        description="names of those that a study fits; unset: all that it has",
    )
    epochs: int | None = Field(
        default=None,
        ge=1,
        description="passes of each over its training data, at most, for a first look; unset: as "
        "many as its paper, or early stopping, says",
    )


class FrontierSettings(Section):
    """Requests, budgets and outages over which refresh policies are compared offline."""

    steps: int = Field(
        default=60,
        ge=3,
        description="last requests of each user; training.test_steps must be as many at least",
    )
    users: int = Field(default=300, ge=1, description="at most so many, drawn at random")
    history: int = Field(default=40, ge=0, description="events a user must have before those")
    budgets: tuple[float, ...] = Field(
        default=(0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 1.0),
        description="wanted calls per request; every-k asks every 1 / budget requests",
    )

    @field_validator("budgets")
    @classmethod
    def _shares(cls, budgets: tuple[float, ...]) -> tuple[float, ...]:
        if not budgets or any(not 0 < budget <= 1 for budget in budgets):
            raise ValueError("a budget is a share of the requests, above 0 and at most 1")
        return tuple(sorted(set(budgets)))


class Recipe(ServiceSettings):
    """All that a model and what is measured of it follow from, and where they are kept."""

    work_dir: Path = Field(default=Path("runs"), description="stages, bundles and run records")
    cache: Path = Field(
        default_factory=default_cache_dir,
        description="fetched logs, text models and environments; unset: SCALREC_CACHE, else "
        "scalrec in XDG_CACHE_HOME, else ~/.cache/scalrec",
    )
    seed: int = Field(default=0, ge=0, le=MAX_SEED, description="of everything that is drawn")
    log: LogSettings = LogSettings()
    profile: DeviceProfile = DEFAULT
    abstract: AbstractSettings = AbstractSettings()
    embedder: TextModelSettings = TextModelSettings()
    training: TrainingSettings = TrainingSettings()
    generative: GenerativeSettings = GenerativeSettings()
    lsc4rec: Lsc4recSettings = Lsc4recSettings()
    paper: PaperSettings = PaperSettings()
    cost: CostSettings = CostSettings()
    frontier: FrontierSettings = FrontierSettings()
    baselines: BaselineSettings = BaselineSettings()
