"""What the parts cost: one device answer, one list of the cloud, one re-training on the device."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import onnxruntime

from device_runtime.ranking.adaptation import adapted
from training.collaboration.adaptive import ADAPTIVE_STEPS, ADAPTIVE_TRANSITIONS
from training.collaboration.asked import Asked
from training.collaboration.srm import EncoderSrm, ScorerSrm, Srm
from training.export.onnx_graphs import ENCODER, SCORER, export_candidate_scorer, export_encoder
from training.generative.trained import TrainedGenerator
from training.settings import Lsc4recSettings

REPEATS = 200
LLM_REPEATS = 20


def srm_inference_s(srm: Srm, asked: Asked, candidates: int) -> float:
    """Seconds of scoring one request's candidates by the exported graph, one thread; median."""
    length = int(np.clip(np.median(asked.step), 1, srm.window))
    rng = np.random.default_rng(0)
    d = srm.table.vectors.shape[1]
    history = rng.standard_normal((1, length, d), dtype=np.float32)
    items = rng.standard_normal((candidates, d), dtype=np.float32)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    if isinstance(srm, ScorerSrm):
        scorer = onnxruntime.InferenceSession(export_candidate_scorer(srm.model), options)
        feeds = dict(zip(SCORER.inputs, (history, items[None]), strict=True))
        return _median(lambda: scorer.run(None, feeds), REPEATS)
    if not isinstance(srm, EncoderSrm):
        raise TypeError(f"no graph of {type(srm).__name__}")
    encoder = onnxruntime.InferenceSession(export_encoder(srm.model), options)
    row = np.zeros((1, length), np.float32)
    every = dict(zip(ENCODER.inputs, (history, row, row, np.zeros(1, np.float32)), strict=True))
    reads = {i.name for i in encoder.get_inputs()}
    feeds = {name: value for name, value in every.items() if name in reads}
    return _median(lambda: items @ encoder.run(None, feeds)[0][0], REPEATS)


def llm_inference_s(generator: TrainedGenerator, asked: Asked, n: int) -> float:
    """Seconds of writing one request's list, one request at a time; median."""
    histories = asked.known_at(0)[:LLM_REPEATS]
    spent = []
    for history in histories:
        started = time.perf_counter()
        generator.candidate_lists([history], n)
        spent.append(time.perf_counter() - started)
    return float(np.median(spent))


def adaptation_s(dim: int, settings: Lsc4recSettings) -> float:
    """Seconds of one adaptive re-training of a device; median."""
    rng = np.random.default_rng(0)
    count = ADAPTIVE_TRANSITIONS
    states = rng.standard_normal((count, dim), dtype=np.float32)
    vectors = rng.standard_normal((settings.longest + count, dim), dtype=np.float32)
    bias = np.zeros(len(vectors), np.float32)
    target = settings.longest + np.arange(count)
    steps = ADAPTIVE_STEPS
    return _median(lambda: adapted(states, vectors, bias, target, rate=0.1, steps=steps), REPEATS)


def _median(call: Callable[[], object], repeats: int) -> float:
    spent = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        spent.append(time.perf_counter() - started)
    return float(np.median(spent))
