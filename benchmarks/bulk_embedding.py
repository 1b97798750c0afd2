"""Many abstracts at once: the back ends and number formats that could embed them, side by side."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.onnx_text_model import OnnxTextModel
from benchmarks.timing import BenchmarkLine
from cloud_service.embedding.base import Embedder, texts_at_once
from cloud_service.embedding.transformers import TransformersEmbedder
from cloud_service.retrieval.exact import ExactIndex
from cloud_service.settings import EmbedderSettings
from cloud_service.user_model import UserModel
from shared.bundle import Bundle
from shared.number_format import NumberFormat

Float32 = NDArray[np.float32]
TEXTS = 512
NEAREST = 100
ROUNDS = 2
LEAST_COSINE = 0.999  # of a back end that training may embed with


@dataclass(frozen=True)
class BulkRun:
    """What one back end made of the texts.

    Attributes:
        name: back end and number format.
        rate: texts per second, of the quickest round.
        vectors: [n, m] unit vectors.
    """

    name: str
    rate: float
    vectors: Float32


async def compare_bulk(
    served: Embedder | None,
    bundle: Bundle,
    texts: Sequence[str],
    *,
    model_dir: Path,
    wanted: EmbedderSettings,
    threads: int | None,
    folder: Path,
) -> list[BenchmarkLine]:
    """Texts per second, cosines and retrieved items of each against transformers in float32.

    Args:
        served: a client of the embedding server; None: there is none.
        texts: real abstracts; the first TEXTS of them are taken.
        model_dir: of the model that is served.
        wanted: its pooling, and how texts are cut and batched.
        threads: of back ends inside this process.
        folder: for the model as ONNX.
    """
    texts = sorted(texts[:TEXTS], key=len)
    formats: tuple[NumberFormat, ...] = ("float32", "bfloat16")
    runs = []
    for number_format in formats:
        inside = TransformersEmbedder(
            model_dir,
            model=bundle.manifest.embedder.model,
            pooling=wanted.pooling,
            max_tokens=wanted.max_tokens,
            batch_size=wanted.batch_size,
            threads=threads,
            number_format=number_format,
        )
        runs.append(await _timed(f"transformers {number_format}", inside, texts))
        await inside.aclose()
    for quantised in (False, True):
        name = f"ONNX Runtime {'int8' if quantised else 'float32'}"
        onnx = OnnxTextModel(model_dir, folder, wanted, threads=threads, quantised=quantised)
        runs.append(await _timed(name, onnx, texts))
    if served is not None:
        runs.append(await _timed("the embedding server", served, texts))
    model = UserModel(bundle, inside)
    index = ExactIndex(bundle.semantic_vectors())
    found = [index.search(model.project(run.vectors), NEAREST)[0] for run in runs]
    return [
        line
        for run, items in zip(runs[1:], found[1:], strict=True)
        for line in bulk_lines(run, runs[0], items, found[0])
    ]


def bulk_lines(
    run: BulkRun, reference: BulkRun, items: NDArray[np.int32], right: NDArray[np.int32]
) -> list[BenchmarkLine]:
    """Rows of one back end; ``items`` and ``right`` [n, k] are retrieved with its vectors and the
    reference's."""
    cosines = (run.vectors.astype(np.float64) * reference.vectors).sum(axis=1)
    common = np.mean([np.isin(*pair).sum() for pair in zip(right, items, strict=True)])
    name = f"bulk embedding, {run.name} / {reference.name}"
    return [
        BenchmarkLine(
            name=name,
            ours=run.rate,
            theirs=reference.rate,
            unit="texts/s",
            ratio=run.rate / reference.rate,
            meaning="higher",
        ),
        BenchmarkLine(
            name=f"{name}, least cosine (mean {cosines.mean():.5f})",
            ours=float(cosines.min()),
            theirs=1.0,
            unit="cosine",
            ratio=float(cosines.min()),
            meaning=f"at least {LEAST_COSINE} to train with",
        ),
        BenchmarkLine(
            name=f"{name}, top-{right.shape[1]} candidates in common",
            ours=float(common),
            theirs=float(right.shape[1]),
            unit="items",
            ratio=float(common) / right.shape[1],
            meaning="1 is equal",
        ),
    ]


async def _timed(name: str, embedder: Embedder, texts: Sequence[str]) -> BulkRun:
    """As training calls it: texts of similar length, as many in a call as the back end asks for."""
    await embedder.ready()
    size = texts_at_once(embedder, 64)
    rates = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        parts = [await embedder.embed(texts[at : at + size]) for at in range(0, len(texts), size)]
        rates.append(len(texts) / (time.perf_counter() - started))
    return BulkRun(name, max(rates), np.concatenate(parts))
