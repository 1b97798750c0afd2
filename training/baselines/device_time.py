"""What a request costs a device by an encoder, on one thread of this machine."""

from __future__ import annotations

import time

import numpy as np
import onnxruntime

from training.encoders.base import Encoder
from training.export.onnx_graphs import ENCODER, export_encoder

REPEATS = 200
CANDIDATES = 100


def encoder_us(model: Encoder) -> float:
    """Microseconds of one request: a full window through the exported graph, 100 items scored.

    The median of REPEATS requests; returns and fusion, which are sums, are not in it.

    Raises:
        BundleError: the encoder cannot be exported.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(export_encoder(model), options)
    window, dim = model.config.window, model.config.dim
    rng = np.random.default_rng(0)
    items = rng.standard_normal((CANDIDATES, dim)).astype(np.float32)
    values = (
        rng.standard_normal((1, window, dim)).astype(np.float32),
        np.arange(window, 0, -1, dtype=np.float32)[None],
        np.zeros((1, window), dtype=np.float32),
        np.zeros(1, dtype=np.float32),
    )
    # An encoder that knows no times has no such inputs left in its graph.
    there = {node.name for node in session.get_inputs()}
    feeds = {n: v for n, v in zip(ENCODER.inputs, values, strict=True) if n in there}
    spent = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        items @ session.run([ENCODER.outputs[0]], feeds)[0][0]
        spent.append(time.perf_counter() - started)
    return 1e6 * float(np.median(spent))
