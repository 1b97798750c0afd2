"""LLRec's student as ONNX, and what a request costs by it."""

from __future__ import annotations

import time

import numpy as np
import onnxruntime
import torch

from training.baselines.device_time import REPEATS
from training.baselines.llrec.student import LLRecStudent, UnrolledStudent
from training.export.onnx_graphs import EXAMPLE_BATCH, MAX_BATCH, Graph, export_graph

STUDENT = Graph("llrec.onnx", ("item_vectors", "known"), ("state",))


def export_student(student: LLRecStudent, window: int) -> bytes:
    """llrec.onnx: item_vectors [B, W, d] and known [B, W] -> state [B, d], W steps unrolled."""
    batch = torch.export.Dim("B", min=1, max=MAX_BATCH)
    dim = student.out.in_features
    example = (torch.zeros(EXAMPLE_BATCH, window, dim), torch.ones(EXAMPLE_BATCH, window))
    unrolled = UnrolledStudent(student, window)
    return export_graph(unrolled, STUDENT, example, ({0: batch}, {0: batch}))


def request_us(student: LLRecStudent, window: int, candidates: int) -> float:
    """Microseconds of one request of a full window on one thread; median.

    The device makes the vectors of its window and of the candidates from the cores, runs the
    graph and scores the candidates.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(export_student(student, window), options)
    rng = np.random.default_rng(0)
    history = rng.integers(0, student.items.n_items, window)
    items = rng.integers(0, student.items.n_items, candidates)
    known = np.ones((1, window), np.float32)
    spent = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        with torch.no_grad():
            rows = student.items(torch.from_numpy(np.concatenate([history, items]))).numpy()
        feeds = dict(zip(STUDENT.inputs, (rows[None, :window], known), strict=True))
        rows[window:] @ session.run(None, feeds)[0][0]
        spent.append(time.perf_counter() - started)
    return 1e6 * float(np.median(spent))
