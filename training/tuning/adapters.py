"""A text model with LoRA adapters (Hu et al., 2022), and its weights with the adapters merged in.

The merged weights replace those of the same name in a copy of the model's folder, so that whatever
serves the model serves the tuned one: same tokenizer, configuration, names and number format.
"""

from __future__ import annotations

import re
import shutil
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from cloud_service.embedding.transformers import pool
from shared.errors import DataError
from training.settings import LoraSettings

ALPHA = 16.0  # adapters are scaled by ALPHA / rank
THREADS = 1
_LAYER = re.compile(r"\.(\d+)\.")  # the place of a layer in a module's name


class AdaptedEncoder(nn.Module):
    """Texts to vectors of length 1, as the embedder makes them, with gradients to the adapters.

    New adapters change nothing: their second factor starts at zero.

    Args:
        folder: a model in Hugging Face form.
        pooling: MEAN or LAST, as the embedder will pool.
        max_tokens: longer texts are cut.

    Raises:
        DataError: the folder holds no model that can be loaded.
    """

    def __init__(
        self, folder: Path, settings: LoraSettings, *, pooling: str, max_tokens: int
    ) -> None:
        super().__init__()
        from peft import LoraConfig, get_peft_model
        from transformers import AutoModel, AutoTokenizer

        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
            model: Any = AutoModel.from_pretrained(folder, dtype=torch.float32)
        except Exception as error:  # what a damaged file raises shares no base class
            raise DataError(f"no model that can be tuned: {error}", folder) from error
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        self.tokenizer.padding_side = "right"
        limit = getattr(model.config, "max_position_embeddings", None) or max_tokens
        self.max_tokens = min(max_tokens, int(limit), int(self.tokenizer.model_max_length))
        self.pooling, self.precision = pooling, settings.precision
        config = LoraConfig(
            r=settings.rank,
            lora_alpha=ALPHA,
            target_modules=adapted_names(model, settings.layers),
        )
        with warnings.catch_warnings():
            # peft asks transformers for a property that has got another name.
            warnings.simplefilter("ignore", FutureWarning)
            self.model: Any = get_peft_model(model, config)
        # Never back to train(): the model's own dropout takes most of the time on a CPU, and few
        # epochs do not need it.
        self.eval()

    def forward(self, texts: Sequence[str]) -> Tensor:
        """[n, m] float32, rows of length 1."""
        tokens = self.tokenizer(
            list(texts),
            padding=True,
            truncation=True,
            max_length=self.max_tokens,
            return_tensors="pt",
        )
        with torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bfloat16"):
            states = self.model(**tokens).last_hidden_state
        pooled = pool(states.float(), tokens["attention_mask"], self.pooling)
        return nn.functional.normalize(pooled, dim=-1)

    def adapters(self) -> dict[str, nn.Parameter]:
        """What is trained, by name."""
        return {n: p for n, p in self.model.named_parameters() if p.requires_grad}

    def merged(self) -> dict[str, Tensor]:
        """The model's own weights with the adapters in them; the encoder is spent afterwards."""
        weights: dict[str, Tensor] = self.model.merge_and_unload().state_dict()
        return weights


def adapted_names(model: nn.Module, layers: int | None) -> list[str]:
    """Linear maps inside the last ``layers`` layers, None for all of them.

    Those outside any layer, such as BERT's pooler, do not shape the states that are pooled.
    """
    found = {
        name: int(match[1])
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and (match := _LAYER.search(name))
    }
    first = 0 if layers is None else max(found.values(), default=-1) + 1 - layers
    return [name for name, layer in found.items() if layer >= first]


def save_merged(weights: Mapping[str, Tensor], source: Path, target: Path) -> None:
    """A copy of the model in ``source`` with ``weights``, in the existing folder ``target``.

    Raises:
        DataError: the source has no safetensors, or not these weights.
        OSError: the folder cannot be written.
    """
    found: set[str] = set()
    for file in sorted(path for path in source.iterdir() if path.is_file()):
        if file.suffix != ".safetensors":
            shutil.copyfile(file, target / file.name)
            continue
        try:
            tensors = load_file(file)
        except SafetensorError as error:
            raise DataError(f"not a model's weights: {error}", file) from error
        for name, old in tensors.items():
            # A file may hold a model with a head, whose own part bears a prefix.
            own = name if name in weights else name.partition(".")[2]
            if own in weights:
                found.add(own)
                tensors[name] = weights[own].detach().to(old.dtype).contiguous()
        save_file(tensors, target / file.name, metadata={"format": "pt"})
    if missing := sorted(_matrices(weights) - found):
        raise DataError(
            f"{len(missing)} weights are not in its files, such as {missing[0]}", source
        )


def _matrices(weights: Mapping[str, Tensor]) -> set[str]:
    """Names of what adapters can change; buffers and heads need not be in a file."""
    return {n for n, w in weights.items() if w.dim() == 2 and "pooler" not in n}
