"""Network: one ONNX graph of a bundle, run without making its inputs and outputs anew."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from shared.bundle import Bundle
from shared.errors import BundleError

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class _Bound:
    """Arrays that ONNX Runtime reads and writes itself, for inputs of one size."""

    binding: ort.IOBinding
    inputs: tuple[Floats, ...]
    outputs: tuple[Floats, ...]


class Network:
    """A graph on one thread and without spinning: hundreds of devices share a core.

    It may be run from several threads at once; each has arrays of its own, for as many history
    lengths as it met.

    Args:
        bundle: verified. name: of the file.
        inputs: names it may read, some of which an exporter may have dropped.
        outputs: names it must write, in this order.

    Attributes:
        reads: names of its inputs, in the order that ``run`` takes them in.
        widths: length of the last dimension of each.

    Raises:
        BundleError: the file cannot be run, or its inputs and outputs are others.
    """

    def __init__(
        self, bundle: Bundle, name: str, inputs: Sequence[str], outputs: Sequence[str]
    ) -> None:
        path = bundle.file(name)
        self._session = _session(path)
        self.reads = tuple(given.name for given in self._session.get_inputs())
        self.widths: tuple[Any, ...] = tuple(g.shape[-1] for g in self._session.get_inputs())
        self._writes = tuple(made.name for made in self._session.get_outputs())
        if not set(self.reads) <= set(inputs) or self._writes != tuple(outputs):
            raise BundleError(
                f"{path} reads {self.reads} and writes {self._writes}; expected {tuple(inputs)} "
                f"and {tuple(outputs)}"
            )
        self._mine = threading.local()

    def run(self, *values: Floats) -> tuple[Floats, ...]:
        """The outputs [...] for one request's inputs [...] in the order of ``reads``.

        Neither has the batch's dimension. What is returned is the caller's own.
        """
        held: dict[int, _Bound] | None = getattr(self._mine, "bound", None)
        if held is None:
            held = self._mine.bound = {}
        # A history's length is all that inputs differ in, and the first one has it.
        length = len(values[0])
        bound = held.get(length)
        if bound is None:
            bound = held[length] = self._bind(values)
        for array, value in zip(bound.inputs, values, strict=True):
            array[0] = value
        self._session.run_with_iobinding(bound.binding)
        return tuple(array[0].copy() for array in bound.outputs)

    def run_batch(self, *values: Floats) -> tuple[Floats, ...]:
        """The outputs [B, ...] for the inputs [B, ...] of several requests at once."""
        made: Sequence[Floats] = self._session.run(
            list(self._writes), dict(zip(self.reads, values, strict=True))
        )
        return tuple(made)

    def _bind(self, values: Sequence[Floats]) -> _Bound:
        inputs = tuple(np.array([value], np.float32) for value in values)
        outputs = tuple(np.ascontiguousarray(made) for made in self.run_batch(*inputs))
        binding = self._session.io_binding()
        for name, array in zip(self.reads, inputs, strict=True):
            binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(array))
        for name, array in zip(self._writes, outputs, strict=True):
            binding.bind_ortvalue_output(name, ort.OrtValue.ortvalue_from_numpy(array))
        return _Bound(binding, inputs, outputs)


def _session(path: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exceptions share no base class
        raise BundleError(f"{path} cannot be run: {error}") from error
