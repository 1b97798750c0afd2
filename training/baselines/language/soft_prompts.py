"""SoftPrompted: a frozen text model that reads vectors before the words of a text.

The reparameterisation of RA-Rec (Yu et al., arXiv 2402.04527): an ID model's vectors are mapped
into the space of word embeddings by a small network and stand before a text, behind learned vectors
that are the same for all (contextual instructions). The text model itself does not change.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal
from zlib import crc32

import torch
from torch import Tensor, nn

from cloud_service.embedding.transformers import pool
from shared.errors import DataError
from training.semantic.projector import Projector

INSTRUCTIONS = 4
MOST_PROMPTS = 16  # instructions and vectors that stand before a text, at most
ALIGN_HIDDEN = 256
HASHED_WORDS, HASHED_WIDTH, HASHED_LAYERS = 1024, 32, 2
Precision = Literal["float32", "bfloat16"]


class FrozenText(nn.Module):
    """Word embeddings and states of a text model whose weights are never trained.

    Args:
        model: of transformers, with ``inputs_embeds``.
        layers: of it that are used, the first ones; None for all.
        pooling: MEAN or LAST, as the embedder pools.
    """

    def __init__(
        self, model: Any, *, pooling: str, layers: int | None, precision: Precision
    ) -> None:
        super().__init__()
        if layers is not None:
            _keep_first(model, layers)
        self.model, self.pooling, self.precision = model, pooling, precision
        self.width = int(model.config.hidden_size)
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> FrozenText:
        """Stays in eval mode: a frozen model has nothing to gain from dropout."""
        return super().train(False)

    def words(self, ids: Tensor) -> Tensor:
        """[B, T, m] word embeddings of token ids [B, T]."""
        found: Tensor = self.model.get_input_embeddings()(ids)
        return found

    def forward(self, embeddings: Tensor, mask: Tensor) -> Tensor:
        """[B, m] float32 pooled states.

        Args:
            embeddings: [B, S, m] in the place of words. mask: [B, S] 1 for what is there, 0 in the
                padding on the right.
        """
        with torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bfloat16"):
            states = self.model(inputs_embeds=embeddings, attention_mask=mask).last_hidden_state
        return pool(states.float(), mask, self.pooling)


class PromptWords:
    """Token ids of texts, padded on the right.

    Args:
        tokenizer: of transformers; None: words by their hashes, for a model without one.
        most: longer texts are cut to so many tokens.
    """

    def __init__(self, tokenizer: Any | None, most: int) -> None:
        self._tokenizer, self._most = tokenizer, most
        if tokenizer is not None:
            tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
            tokenizer.padding_side = "right"

    def of(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Ids and mask [B, T], int64."""
        if self._tokenizer is not None:
            found = self._tokenizer(
                list(texts),
                padding=True,
                truncation=True,
                max_length=self._most,
                return_tensors="pt",
            )
            return found["input_ids"], found["attention_mask"]
        rows = [[_hashed(word) for word in text.split()][: self._most] or [0] for text in texts]
        longest = max(map(len, rows))
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
        return ids, mask


class SoftPrompted(nn.Module):
    """e [B, d] of a request from vectors [B, P, d] of an ID model and from a text.

    Trained are the alignment of vectors, the instructions and the projector alone.
    """

    def __init__(self, text: FrozenText, dim: int) -> None:
        super().__init__()
        self.text = text
        self.align = nn.Sequential(
            nn.LayerNorm(dim),
            nn.Linear(dim, ALIGN_HIDDEN),
            nn.GELU(),
            nn.Linear(ALIGN_HIDDEN, text.width),
        )
        spread = float(text.model.get_input_embeddings().weight.std())
        self.instructions = nn.Parameter(torch.randn(INSTRUCTIONS, text.width) * spread)
        self.projector = Projector(text.width, dim)

    def embeddings(self, vectors: Tensor, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """What stands in the place of words [B, 4 + P + T, m], and its mask: instructions, the ID
        model's vectors, the text."""
        rows = len(vectors)
        before = [self.instructions.expand(rows, -1, -1), self.align(vectors)]
        found = torch.cat([*before, self.text.words(ids)], dim=1)
        prompt = mask.new_ones(rows, found.shape[1] - mask.shape[1])
        return found, torch.cat([prompt, mask], dim=1)

    def pooled(self, vectors: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        """[B, m] state of the text model."""
        found: Tensor = self.text(*self.embeddings(vectors, ids, mask))
        return found

    def forward(self, vectors: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        found: Tensor = self.projector(self.pooled(vectors, ids, mask))
        return found

    def trained(self) -> dict[str, nn.Parameter]:
        """What is trained, by name."""
        return {n: p for n, p in self.named_parameters() if p.requires_grad}


def pretrained(
    folder: Path, *, pooling: str, max_tokens: int, layers: int | None, precision: Precision
) -> tuple[FrozenText, PromptWords]:
    """The model in ``folder`` (Hugging Face form); texts are cut so that MOST_PROMPTS fit before.

    Raises:
        DataError: the folder holds no model that can be loaded.
    """
    from transformers import AutoModel, AutoTokenizer

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        # Fused attention takes more than half of a training step in bfloat16 on a processor:
        # torch has no quick way back through it.
        model: Any = AutoModel.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager"
        )
    except Exception as error:  # what a damaged file raises shares no base class
        raise DataError(f"no text model that can be prompted: {error}", folder) from error
    limit = getattr(model.config, "max_position_embeddings", None) or 2 * max_tokens
    text = FrozenText(model, pooling=pooling, layers=layers, precision=precision)
    return text, PromptWords(tokenizer, min(max_tokens, int(limit) - MOST_PROMPTS))


def hashed(*, pooling: str, max_tokens: int, layers: int | None) -> tuple[FrozenText, PromptWords]:
    """A small transformer of random weights over hashed words: what the hashing back end is to
    embedders, for tests and dry runs without a model."""
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=HASHED_WORDS,
        hidden_size=HASHED_WIDTH,
        num_hidden_layers=HASHED_LAYERS,
        num_attention_heads=2,
        intermediate_size=2 * HASHED_WIDTH,
        initializer_range=0.3,  # wide enough for words to differ
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = BertModel(config)
    text = FrozenText(model, pooling=pooling, layers=layers, precision="float32")
    return text, PromptWords(None, max_tokens)


def _hashed(word: str) -> int:
    return 1 + crc32(word.encode()) % (HASHED_WORDS - 1)


def _keep_first(model: Any, layers: int) -> None:
    """Cut a model to its first layers, in place."""
    holder = getattr(model, "encoder", model)
    name = "layer" if hasattr(holder, "layer") else "layers"
    setattr(holder, name, getattr(holder, name)[:layers])
    model.config.num_hidden_layers = len(getattr(holder, name))
