"""A text model in ONNX Runtime: what the product could embed with, and by its figures does not."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import Tensor, nn
from transformers import AutoModel, AutoTokenizer

from benchmarks.scaling.machine import instructions
from cloud_service.embedding.base import model_content, normalised
from cloud_service.embedding.transformers import pool
from cloud_service.settings import EmbedderSettings
from shared.bundle import EmbedderIdentity

INPUTS = ("input_ids", "attention_mask")
EXAMPLE_BATCH, EXAMPLE_TOKENS = 3, 5
BATCHES_AT_ONCE = 4


class _States(nn.Module):
    """The last hidden states alone: [b, t] token ids and their mask -> [b, t, m]."""

    def __init__(self, model: Any):
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        states: Tensor = self.model(
            input_ids=input_ids, attention_mask=attention_mask
        ).last_hidden_state
        return states


class OnnxTextModel:
    """An Embedder over the exported graph; all of ONNX Runtime's own optimisations are on.

    Args:
        model_dir: in Hugging Face form.
        folder: where the graphs are written.
        wanted: pooling, and how texts are cut and batched.
        threads: of ONNX Runtime; None leaves its choice.
        quantised: weights of 8 bits by column, and activations of 8 bits, scaled as they come.
    """

    def __init__(
        self,
        model_dir: Path,
        folder: Path,
        wanted: EmbedderSettings,
        *,
        threads: int | None,
        quantised: bool,
    ):
        self._tokenizer = AutoTokenizer.from_pretrained(model_dir)
        self._wanted = wanted
        self._session = _session(_exported(model_dir, folder, quantised), threads)
        self.texts_at_once = BATCHES_AT_ONCE * wanted.batch_size

    @property
    def identity(self) -> EmbedderIdentity:
        dim = int(self._session.get_outputs()[0].shape[-1])
        return EmbedderIdentity(
            backend="onnx", model=self._wanted.model, pooling=self._wanted.pooling, dim=dim
        )

    async def ready(self) -> None:
        """It is loaded."""

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        lengths = [len(ids) for ids in self._tokenizer(list(texts))["input_ids"]]
        order = np.argsort(lengths, kind="stable")
        size = self._wanted.batch_size
        batches = [order[at : at + size] for at in range(0, len(order), size)]
        pooled = [self._pooled([texts[row] for row in batch]) for batch in batches]
        unit, _ = normalised(np.concatenate(pooled), count=len(texts))
        vectors = np.empty_like(unit)
        vectors[order] = unit
        return vectors

    async def aclose(self) -> None:
        """Nothing is held but memory."""

    def _pooled(self, texts: list[str]) -> NDArray[np.float32]:
        tokens = self._tokenizer(
            texts,
            padding=True,
            padding_side="right",
            truncation=True,
            max_length=self._wanted.max_tokens,
            return_tensors="np",
        )
        (states,) = self._session.run(None, {name: tokens[name] for name in INPUTS})
        mask = torch.from_numpy(tokens["attention_mask"])
        pooled: NDArray[np.float32] = pool(
            torch.from_numpy(states), mask, self._wanted.pooling
        ).numpy()
        return pooled


def _exported(model_dir: Path, folder: Path, quantised: bool) -> Path:
    name = f"{model_dir.name}-{model_content(model_dir)}"
    whole, small = folder / f"{name}.onnx", folder / f"{name}-int8.onnx"
    folder.mkdir(parents=True, exist_ok=True)
    if not whole.exists():
        model = AutoModel.from_pretrained(
            model_dir, dtype=torch.float32, attn_implementation="eager"
        )
        ids = torch.ones(EXAMPLE_BATCH, EXAMPLE_TOKENS, dtype=torch.long)
        sizes = {0: "B", 1: "T"}
        with warnings.catch_warnings():
            # Tracing warns of every size that it reads. The exporter of the device's graphs gave
            # other vectors for this model, and took five times as long.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                _States(model).eval(),
                (ids, ids),
                str(whole),
                input_names=list(INPUTS),
                output_names=["states"],
                dynamic_axes=dict.fromkeys((*INPUTS, "states"), sizes),
                opset_version=17,
                dynamo=False,
            )
    if quantised:
        # Without VNNI sums of two products are held in 16 bits, which eight bits each overflow.
        quantize_dynamic(
            whole,
            small,
            per_channel=True,
            reduce_range="avx512_vnni" not in instructions(),
            weight_type=QuantType.QInt8,
        )
    return small if quantised else whole


def _session(path: Path, threads: int | None) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or 0
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
