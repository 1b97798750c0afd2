"""DeviceModels: the networks and item arrays of a bundle, loaded once for all devices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from device_runtime.abstract.words import ItemWords
from device_runtime.network import Network
from device_runtime.refresh.policy import GainModel
from device_runtime.refresh.quadratic_gain import QuadraticGain
from device_runtime.state.cues import CUES
from device_runtime.state.features import TimeFeatures
from device_runtime.state.item_vectors import (
    Float32Table,
    Int8Table,
    ItemTable,
    ItemVectors,
    KnownItems,
    MetVectors,
)
from device_runtime.student.student import TextStudent
from shared.bundle import SEMANTIC_FILE, Bundle, Manifest
from shared.errors import BundleError
from shared.item_files import by_popularity, read_starter, read_table
from shared.item_tokens import read_tokens
from shared.profile import DeviceProfile
from shared.refresh_file import read_refresh
from shared.text_student import STUDENT_FILE, StudentWeights, decode_student

Floats = NDArray[np.float32]

_GRAPHS = {
    "encoder.onnx": (
        ("item_vectors", "age_hours", "event_hour", "request_hour"),
        ("e_str", "copy_logit"),
    ),
    # Both read a subset, see Estimator.inputs and Calibrator.inputs in training.
    "estimator.onnx": (("cues", "e_sem", "e_text"), ("r",)),
    "calibrator.onnx": (("e_sem", "e_str", "e_str_tau", "recent", "cues", "e_text"), ("v",)),
}


class DeviceModels:
    """What every device of a process shares: read-only, safe to use from several threads.

    Attributes:
        manifest: the bundle's manifest.
        table: vectors of all items, or None where the profile has no table.
        starter: without a table the popular items whose vectors came with the models, else None.
        popular: [P] int32 items, most popular in training first: all of them, or the starter's.
        popular_count: [P] float32 their training counts.
        proposes_from: inputs that the calibrator reads.
        student: weights of the text student; None where the bundle has none.
        gain: what a refresh is expected to gain, or None: not every bundle says.
        call_rates: refresh policy -> what its score meant on training data, where known.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.manifest: Manifest = bundle.manifest
        self.bundle_id = bundle.id
        self.profile: DeviceProfile = bundle.manifest.profile
        self.table: ItemTable | None = _table(bundle)
        self.starter: KnownItems | None = None
        if self.table is None:
            self.popular, packed, self.popular_count = read_starter(bundle)
            self.starter = KnownItems(self.popular, packed)
        else:
            popularity = read_array(bundle, "item_popularity.npy", (self.manifest.n_items,))
            self.popular = by_popularity(popularity)
            self.popular_count = popularity[self.popular]
        generator = bundle.manifest.generator
        tells = generator is not None and generator.devices_send_tokens
        self._tokens = read_tokens(bundle) if tells else None
        self.student = _student(bundle)
        self._reader: tuple[ItemWords, TextStudent] | None = None
        self._encoder = Network(bundle, "encoder.onnx", *_GRAPHS["encoder.onnx"])
        self._estimator = Network(bundle, "estimator.onnx", *_GRAPHS["estimator.onnx"])
        self._calibrator = Network(bundle, "calibrator.onnx", *_GRAPHS["calibrator.onnx"])
        self.proposes_from = self._calibrator.reads
        self._check_sizes(bundle)
        known = read_refresh(bundle)
        self.call_rates = known.call_rates
        self.gain: GainModel | None = None
        if known.gain is not None:
            self.gain = QuadraticGain(known.gain, bundle.path)

    @classmethod
    def load(cls, bundle: Bundle, *, expected: DeviceProfile | None = None) -> Self:
        """Load a verified bundle.

        Args:
            bundle: from ``load_bundle``.
            expected: the profile this device was built for.

        Raises:
            BundleError: the bundle was made for another profile, or a file in it does not fit
                the manifest or cannot be run; the file is named.
        """
        made_for = bundle.manifest.profile
        if expected is not None and made_for != expected:
            ours, theirs = expected.model_dump(), made_for.model_dump()
            differing = {k: (theirs[k], ours[k]) for k in ours if ours[k] != theirs[k]}
            words = ", ".join(f"{k} {a!r} instead of {b!r}" for k, (a, b) in differing.items())
            raise BundleError(
                f"bundle {bundle.path} was made for another device profile ({words}); "
                "train and export one for this profile, or change the profile settings"
            )
        return cls(bundle)

    def _check_sizes(self, bundle: Bundle) -> None:
        """Cues must be those of this device, and vectors as long as the bundle's."""
        spec = self.manifest.calibration.cues
        if spec != CUES:
            raise BundleError(f"bundle {bundle.path} wants the cues {spec}, this device has {CUES}")
        for name, network in (
            ("estimator.onnx", self._estimator),
            ("calibrator.onnx", self._calibrator),
        ):
            for given, width in zip(network.reads, network.widths, strict=True):
                size = len(CUES) if given == "cues" else self.dim
                if width != size:
                    raise BundleError(
                        f"{bundle.file(name)} reads {given} of size {width}, not {size}"
                    )
            if self.student is None and "e_text" in network.reads:
                raise BundleError(
                    f"{bundle.file(name)} reads e_text, but the bundle has no text student to "
                    "make it; export the bundle again"
                )

    @property
    def n_items(self) -> int:
        return self.manifest.n_items

    @property
    def dim(self) -> int:
        return self.manifest.dim

    @property
    def nbytes(self) -> int:
        """Bytes of item arrays and text student in memory, without the networks."""
        table = 0 if self.table is None else self.table.nbytes
        starter = 0 if self.starter is None else self.starter.nbytes
        student = 0 if self.student is None else self.student.nbytes
        return table + starter + student + self.popular.nbytes + self.popular_count.nbytes

    def item_vectors(self) -> ItemVectors:
        """What one device knows of items: the table all devices share, or a store of its own."""
        if self.table is not None:
            return self.table
        return MetVectors(
            self.profile.met_items,
            self.dim,
            self.starter,
            vectors=self.manifest.vectors_per_item,
        )

    def text_student(self, words: ItemWords) -> TextStudent:
        """The bundle's text student, which reads ``words``; devices that share them share it.

        Raises ValueError where the bundle has none.
        """
        if self.student is None:
            raise ValueError(f"bundle {self.bundle_id} has no text student")
        found = self._reader
        if found is None or found[0] is not words:
            found = self._reader = (words, TextStudent(self.student, words))
        return found[1]

    def item_tokens(self, items: NDArray[np.int32]) -> list[list[int]] | None:
        """Tokens of the latest of ``items`` [n], oldest first, as many as the cloud's generator
        reads; None where the bundle does not let devices tell them."""
        generator = self.manifest.generator
        if self._tokens is None or generator is None:
            return None
        codes: list[list[int]] = self._tokens.codes[items[-generator.config.history :]].tolist()
        return codes

    def encode(self, vectors: Floats, times: TimeFeatures) -> tuple[Floats, Floats]:
        """f_str (SCaLRec eq. 8) over the events of a window, oldest first.

        Args:
            vectors: [L, d] of their items, those of the structure, 1 <= L <= window.
            times: their features at the request.

        Returns:
            e_str [d] and copy_logit [L].
        """
        known: dict[str, Floats] = {
            "item_vectors": vectors,
            "age_hours": times.age_hours,
            "event_hour": times.event_hour,
            "request_hour": np.array(times.request_hour, dtype=np.float32),
        }
        # An exporter drops inputs that a graph never reads, e.g. hours of a log without times.
        e_str, copy_logit = self._encoder.run(*(known[name] for name in self._encoder.reads))
        return e_str, copy_logit

    def reliability(
        self, cues: Floats, *, e_sem: Floats | None = None, e_text: Floats | None = None
    ) -> float:
        """r = q_psi(c) of eq. 11, within (0, 1).

        Args:
            cues: [8] raw.
            e_sem: [d] e_sem(tau), and e_text: [d] of the text student; only an estimator that
                reads them needs them.
        """
        known = {"cues": cues, "e_sem": e_sem, "e_text": e_text}
        parts = [known[name] for name in self._estimator.reads]
        return float(self._estimator.run(*parts)[0])  # type: ignore[arg-type]  # as given

    def propose(
        self,
        *,
        e_sem: Floats,
        e_str: Floats,
        e_str_tau: Floats | None,
        recent: Floats | None,
        cues: Floats,
        e_text: Floats | None = None,
    ) -> Floats:
        """v = g_phi of eq. 12 from those inputs that the graph declares; unbounded, [d].

        Args:
            e_sem: [d] e_sem(tau). e_str: [d] e_str(t).
            e_str_tau: [d] e_str(tau); e_str(t) stands in where it is not known.
            recent: [d] mean semantic vector of the items met since tau; may be None where
                ``proposes_from`` does not name it.
            cues: [8] raw.
            e_text: [d] of the text student; may be None where ``proposes_from`` does not name it.
        """
        known = {
            "e_sem": e_sem,
            "e_str": e_str,
            "e_str_tau": e_str if e_str_tau is None else e_str_tau,
            "recent": recent,
            "e_text": e_text,
            "cues": cues,
        }
        parts = [known[name] for name in self.proposes_from]
        return self._calibrator.run(*parts)[0]  # type: ignore[arg-type]  # those it reads are given


def _table(bundle: Bundle) -> ItemTable | None:
    n_items, dim = bundle.manifest.n_items, bundle.manifest.dim
    own = bundle.manifest.semantic_vectors == "own"
    match bundle.manifest.profile.table:
        case "float32":
            return Float32Table(
                read_array(bundle, "item_vectors.npy", (n_items, dim)),
                read_array(bundle, "item_bias.npy", (n_items,)),
                read_array(bundle, SEMANTIC_FILE, (n_items, dim)) if own else None,
            )
        case "int8":
            return Int8Table(read_table(bundle))
        case "none":
            return None


def _student(bundle: Bundle) -> StudentWeights | None:
    spec = bundle.manifest.text_student
    if spec is None:
        return None
    return decode_student(bundle.file(STUDENT_FILE), rows=spec.rows, dim=bundle.manifest.dim)


def read_array(bundle: Bundle, name: str, shape: Sequence[int]) -> Floats:
    """A float32 array of the bundle; raises BundleError unless it has this shape and is finite."""
    array = bundle.array(name)
    if array.shape != tuple(shape):
        raise BundleError(f"{bundle.file(name)} has shape {array.shape}, not {tuple(shape)}")
    if not np.isfinite(array).all():
        raise BundleError(f"{bundle.file(name)} holds values that are not finite")
    return np.ascontiguousarray(array)
