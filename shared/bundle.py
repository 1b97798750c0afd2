"""Model bundle: the one thing training hands to serving. A folder, a manifest, hashed files."""

from __future__ import annotations

import hashlib
import io
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError, field_validator

from shared.abstract_form import AbstractForm
from shared.errors import BundleError, DataError
from shared.generator_config import GeneratorSpec
from shared.interactions import Catalogue
from shared.own_score import OwnCounts, TextStudentSpec
from shared.profile import DeviceProfile, Table
from shared.strict import Strict
from shared.text_student import STUDENT_FILE

MANIFEST = "manifest.json"
FORMAT = 3
ONNX_FILES = ("encoder.onnx", "estimator.onnx", "calibrator.onnx", "projector.onnx")
ARRAY_FILES = ("item_vectors.npy", "item_bias.npy", "item_popularity.npy")
SEMANTIC_FILE = "semantic_vectors.npy"  # items' vectors of the semantic channel, if their own
CATALOGUE_FILE = "catalogue.msgpack"
TABLE_FILE = "item_table.npz"  # int8 vectors of all items, see shared.item_files
STARTER_FILE = "starter_items.npz"  # those of the most popular items
REFRESH_FILE = "refresh.json"  # may be missing, see shared.refresh_file
GENERATOR_FILE = "generator.safetensors"  # weights of the generative recommender, if any
FIXED_TEXTS_FILE = "fixed_texts.npz"  # may be missing, see shared.fixed_texts
TOKENS_FILE = "item_tokens.npz"  # its names of items, see shared.item_tokens
_DEVICE_GRAPHS = ("encoder.onnx", "estimator.onnx", "calibrator.onnx")
_DEVICE_TABLES: dict[Table, tuple[str, ...]] = {
    # A device without a table has an item's words and vector from the item's page.
    "none": (STARTER_FILE,),
    "float32": ("item_vectors.npy", "item_bias.npy", "item_popularity.npy", CATALOGUE_FILE),
    "int8": (TABLE_FILE, "item_popularity.npy", CATALOGUE_FILE),
}


class FileEntry(Strict):
    """Size and hash of one file of the bundle, and whether a device downloads it."""

    device: bool = False
    bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class EmbedderIdentity(Strict):
    """The text model whose outputs the projector was fitted on; another one is refused."""

    backend: str
    model: str
    pooling: str
    dim: int = Field(ge=1)
    content: str | None = Field(
        default=None,
        description="hash over weights, configuration and tokenizer, where the model's folder was "
        "at hand; names repeat",
    )


class AgeRule(Strict):
    """How far a snapshot is trusted from an age on, up to that of the next rule.

    The weights are factors on the manifest's fusion_weight; ``correct`` says whether the bounded
    correction is added before. ``moved_*`` hold where a new session began since the snapshot.
    """

    from_delta: int = Field(ge=0, description="t - tau in events")
    weight: float = Field(default=1.0, ge=0)
    correct: bool = True
    moved_weight: float = Field(default=1.0, ge=0)
    moved_correct: bool = True

    def at(self, moved: bool) -> tuple[float, bool]:
        """(weight, correct) of a request."""
        return (self.moved_weight, self.moved_correct) if moved else (self.weight, self.correct)


def rule_at(rules: Sequence[AgeRule], delta: int) -> AgeRule:
    """The rule in force at an age; the first one also before it begins."""
    return next((rule for rule in reversed(rules) if delta >= rule.from_delta), rules[0])


class CalibrationSpec(Strict):
    """What the device needs besides the networks to correct a snapshot (SCaLRec eqs. 10-14)."""

    gamma_max: float = Field(ge=0, description="radius bound on |de| at alpha = 1, in e_sem units")
    top_l: int = Field(ge=2, description="L of eq. 10")
    cues: tuple[str, ...] = (
        *("delta", "drift", "omega", "length", "density"),
        *("elapsed", "turn", "moved"),
    )
    rules: tuple[AgeRule, ...] = Field(default=(AgeRule(from_delta=0),), min_length=1)

    @field_validator("rules")
    @classmethod
    def _in_order(cls, rules: tuple[AgeRule, ...]) -> tuple[AgeRule, ...]:
        ages = [rule.from_delta for rule in rules]
        if ages != sorted(set(ages)):
            raise ValueError(f"age rules must begin at ascending ages, not at {ages}")
        return rules

    def rule_at(self, delta: int) -> AgeRule:
        """The rule in force at an age; the first one also before it begins."""
        return rule_at(self.rules, delta)


class CollaborationSpec(Strict):
    """Collaborative inference and adaptive re-training of one device (arXiv 2501.05647).

    A bundle with a generator holds one that validation requests chose; the defaults are for
    bundles without.
    """

    initial_share: float = Field(
        default=0.1, ge=0, le=1, description="share of the cloud's scores, alpha of eq. 10"
    )
    adaptation_rate: float = Field(
        default=0.0,
        ge=0,
        allow_inf_nan=False,
        description="step size of the device's own re-training (eq. 7), in units of "
        "1 / mean |e_str|^2; 0: the device does not re-train",
    )
    adaptation_steps: int = Field(default=5, ge=1, le=100, description="of gradient descent")
    adaptation_transitions: int = Field(
        default=5, ge=1, le=1000, description="latest own events that it is fitted to"
    )


class Manifest(Strict):
    """Everything a reader must agree with before it uses the files beside it."""

    format: Literal[3] = 3
    bundle_id: str = ""
    scalrec: str
    created: str
    log: str
    log_terms: str = ""
    n_items: int = Field(ge=1)
    dim: int = Field(ge=1)
    profile: DeviceProfile
    abstract: AbstractForm = AbstractForm()
    embedder: EmbedderIdentity
    backbone: str
    has_time: bool
    repeat_policy: Literal["allow", "exclude"]
    fusion_weight: float = Field(description="weight of <e_sem, v_i> beside the structural score")
    candidates: int = Field(ge=1, description="N of eq. 7")
    calibration: CalibrationSpec
    semantic_vectors: Literal["shared", "own"] = Field(
        default="shared",
        description="v_i of the semantic scores (eqs. 7 and 14): that of the structure, as in the "
        "paper, or one of its own, in SEMANTIC_FILE",
    )
    generator: GeneratorSpec | None = Field(
        default=None, description="of the generative recommender; None: there is none"
    )
    collaboration: CollaborationSpec | None = Field(
        default=None, description="of a device with the generator; None: nothing was chosen"
    )
    own_counts: OwnCounts | None = Field(
        default=None, description="of the device's own history, in its score; None: not counted"
    )
    text_student: TextStudentSpec | None = Field(
        default=None, description="of what the device reads itself; None: there is none"
    )
    training: dict[str, float | int | str] = Field(default_factory=dict)
    files: dict[str, FileEntry] = Field(default_factory=dict)

    @property
    def device_files(self) -> dict[str, FileEntry]:
        """What a device of this profile downloads beside the manifest."""
        return {name: entry for name, entry in self.files.items() if entry.device}

    @property
    def vectors_per_item(self) -> int:
        """k, vectors in an item's row, see ``shared.packed``."""
        return 2 if self.semantic_vectors == "own" else 1

    @property
    def vectors_in_snapshot(self) -> int:
        """Vectors of each candidate that a snapshot brings to the device; 0: it has a table."""
        return self.vectors_per_item if self.profile.vectors_in_snapshot else 0

    @property
    def needed_by_device(self) -> tuple[str, ...]:
        """Names of the files a device cannot do without."""
        own = self.semantic_vectors == "own" and self.profile.table == "float32"
        return (
            *device_files(self.profile, self.generator),
            *((SEMANTIC_FILE,) if own else ()),
            *((STUDENT_FILE,) if self.text_student is not None else ()),
        )

    def identity(self) -> str:
        """Hash over everything but the id itself; 16 hex digits."""
        # Left out where there is none, so that bundles made before these fields keep their ids.
        absent: dict[str, Any] = {
            name: True
            for name in ("generator", "collaboration", "own_counts", "text_student")
            if getattr(self, name) is None
        }
        if self.semantic_vectors == "shared":
            absent["semantic_vectors"] = True
        if self.embedder.content is None:
            absent["embedder"] = {"content"}
        payload = self.model_copy(update={"bundle_id": ""}).model_dump_json(exclude=absent)
        return hashlib.sha256(payload.encode()).hexdigest()[:16]


class Bundle:
    """A verified bundle on disk. Use ``load_bundle``; nothing here re-reads unverified files."""

    def __init__(self, path: Path, manifest: Manifest):
        self.path = path
        self.manifest = manifest

    @property
    def id(self) -> str:
        return self.manifest.bundle_id

    def file(self, name: str) -> Path:
        if name not in self.manifest.files:
            raise BundleError(f"bundle {self.path} has no file {name!r}")
        return self.path / name

    def array(self, name: str) -> NDArray[np.float32]:
        """A float32 array of the bundle, read into memory (pickles refused)."""
        try:
            array: NDArray[np.float32] = np.load(self.file(name), allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise BundleError(f"{self.path / name} is not a plain array: {error}") from error
        return array.astype(np.float32, copy=False)

    def semantic_vectors(self) -> NDArray[np.float32]:
        """[I, d] vectors that e_sem is scored with: the structure's, or the channel's own.

        Raises BundleError when the file holds others than the bundle's items.
        """
        own = self.manifest.semantic_vectors == "own"
        name, shape = (
            SEMANTIC_FILE if own else ARRAY_FILES[0],
            (self.manifest.n_items, self.manifest.dim),
        )
        array = self.array(name)
        if array.shape != shape:
            raise BundleError(f"{self.path / name} has shape {array.shape}, not {shape}")
        return array

    def catalogue(self) -> Catalogue:
        path = self.file(CATALOGUE_FILE)
        try:
            return msgspec.msgpack.decode(path.read_bytes(), type=Catalogue)
        except (OSError, msgspec.MsgspecError, RecursionError, DataError) as error:
            raise BundleError(f"{path} is not a catalogue: {error}") from error


def device_files(profile: DeviceProfile, generator: GeneratorSpec | None = None) -> tuple[str, ...]:
    """Names of the files a device of this profile cannot do without."""
    tells_tokens = generator is not None and generator.devices_send_tokens
    tokens = (TOKENS_FILE,) if tells_tokens else ()
    return (*_DEVICE_GRAPHS, *_DEVICE_TABLES[profile.table], *tokens)


def write_bundle(destination: Path, manifest: Manifest, files: Mapping[str, bytes]) -> Bundle:
    """Write all files and the manifest into a new folder and move it into place in one step.

    Args:
        destination: the bundle's folder; an older bundle there is replaced.
        manifest: without ``files`` and ``bundle_id``, which are filled in here.
        files: name -> content.

    Raises:
        BundleError: the folder cannot be written, with the reason.
    """
    downloaded = (*manifest.needed_by_device, REFRESH_FILE)
    entries = {
        name: FileEntry(
            bytes=len(data), sha256=hashlib.sha256(data).hexdigest(), device=name in downloaded
        )
        for name, data in sorted(files.items())
    }
    manifest = manifest.model_copy(update={"files": entries})
    manifest = manifest.model_copy(update={"bundle_id": manifest.identity()})
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".bundle-", dir=destination.parent))
    except OSError as error:
        raise BundleError(f"cannot write a bundle into {destination.parent}: {error}") from error
    try:
        for name, data in files.items():
            (staging / name).write_bytes(data)
        (staging / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n")
        staging.chmod(0o755)
        if destination.exists():
            # Set aside first: at every moment a whole bundle lies at one of the two names.
            retired = Path(tempfile.mkdtemp(prefix=".retired-", dir=destination.parent))
            destination.replace(retired)
            try:
                staging.replace(destination)
            except OSError:
                retired.replace(destination)
                raise
            shutil.rmtree(retired)
        else:
            staging.replace(destination)
    except OSError as error:
        raise BundleError(f"cannot write bundle {destination}: {error}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return Bundle(destination, manifest)


def load_bundle(path: Path, *, device: bool = False) -> Bundle:
    """Read the manifest and check every file against it; raises BundleError naming the file.

    Args:
        path: the bundle's folder.
        device: only what a device downloads is there and checked, see ``Manifest.device_files``.
    """
    manifest_path = path / MANIFEST
    try:
        text = manifest_path.read_text()
        _refuse_other_formats(manifest_path, text)
        manifest = Manifest.model_validate_json(text)
    except FileNotFoundError as error:
        raise BundleError(
            f"no bundle at {path}: {MANIFEST} is missing. Make one with `scalrec export`."
        ) from error
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise BundleError(f"{manifest_path} is not a bundle manifest: {error}") from error
    if manifest.identity() != manifest.bundle_id:
        raise BundleError(f"{manifest_path} was altered: its content does not match its bundle_id")
    needed = manifest.needed_by_device
    semantic = (SEMANTIC_FILE,) if manifest.semantic_vectors == "own" else ()
    generator = () if manifest.generator is None else (GENERATOR_FILE, TOKENS_FILE)
    for name in (*ONNX_FILES, *ARRAY_FILES, CATALOGUE_FILE, *semantic, *generator, *needed):
        if name not in manifest.files:
            raise BundleError(f"{manifest_path} does not list {name}")
    if set(manifest.device_files) - {REFRESH_FILE} != set(needed):
        raise BundleError(f"{manifest_path} names other files for a device than {needed}")
    for name, entry in (manifest.device_files if device else manifest.files).items():
        if Path(name).name != name:
            raise BundleError(f"{manifest_path} names a file outside the bundle: {name!r}")
        try:
            data = (path / name).read_bytes()
        except OSError as error:
            raise BundleError(f"{path / name} cannot be read: {error}") from error
        if len(data) != entry.bytes or hashlib.sha256(data).hexdigest() != entry.sha256:
            raise BundleError(
                f"{path / name} does not match the manifest (altered or half-copied); "
                "run `scalrec export` again or copy the bundle anew"
            )
    return Bundle(path, manifest)


def _refuse_other_formats(path: Path, text: str) -> None:
    """A manifest that says of itself to be older or newer gets better words than its fields do."""
    try:
        found = msgspec.json.decode(text).get("format", FORMAT)
    except (msgspec.MsgspecError, AttributeError, RecursionError):
        return  # not a manifest at all
    if isinstance(found, int) and found != FORMAT:
        raise BundleError(
            f"{path} is of bundle format {found}, this scalrec reads format {FORMAT}; "
            "run `scalrec export` again, or use the scalrec that made it"
        )


def encode_catalogue(catalogue: Catalogue) -> bytes:
    """Bytes of CATALOGUE_FILE."""
    return msgspec.msgpack.encode(catalogue)


def encode_array(array: NDArray[np.float32]) -> bytes:
    """Bytes of an .npy file, without pickles."""
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array, dtype=np.float32), allow_pickle=False)
    return buffer.getvalue()
