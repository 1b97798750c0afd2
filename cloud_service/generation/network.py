"""GenerativeNetwork: P5 and POD as a T5 encoder-decoder over item tokens.

P5 (Geng et al., RecSys 2022) puts words before the history; POD (Li et al., CIKM 2023) puts
learnt vectors before them, shared by all samples of the task, and drops the words once the vectors
hold what they say. Both add a whole-word embedding to the tokens of one item. No user token: a
user's number says nothing about users the model has not met, and would be an identifier.

The encoder reads item by item: an item's tokens see the prompt, the items before and each other.
What is known up to an item then does not depend on what follows, so one pass over a user's
sequence trains the prediction of every item in it, several times cheaper than a pass for each.

In a bundle the weights are one safetensors file, each shared tensor once.

Imports torch and transformers: load it only where a generator is really used.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn
from transformers import T5Config, T5ForConditionalGeneration

from shared.errors import BundleError
from shared.generator_config import GeneratorConfig

PAD = 0  # also what decoding begins with
TEMPLATES: tuple[tuple[str, ...], ...] = (
    ("predict", "next", "of", "history"),
    ("history", "user", "what", "next"),
    ("recommend", "user", "item", "after"),
)
WORDS = tuple(sorted({word for template in TEMPLATES for word in template}))
FIRST_CODE = 1 + len(WORDS)
NO_WORDS = -1  # the template of POD's distilled prompt


class GenerativeNetwork(nn.Module):
    """Randomly initialised; its vocabulary is a pad, a few prompt words and the item codes."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        t5 = T5Config(
            vocab_size=FIRST_CODE + sum(config.levels),
            d_model=config.d_model,
            d_ff=config.d_ff,
            d_kv=config.d_kv,
            num_heads=config.heads,
            num_layers=config.layers,
            num_decoder_layers=config.layers,
            dropout_rate=config.dropout,
            pad_token_id=PAD,
            decoder_start_token_id=PAD,
            eos_token_id=None,
            attn_implementation="eager",
        )
        self.t5: Any = T5ForConditionalGeneration(t5)
        self.whole_word = nn.Embedding(config.history + 1, config.d_model)
        self.prompt: nn.Parameter | None = None
        if config.model == "pod":
            vectors = torch.empty(config.prompt_vectors, config.d_model).uniform_(-0.1, 0.1)
            self.prompt = nn.Parameter(vectors)
        nn.init.normal_(self.whole_word.weight, std=0.1)

    @property
    def default_template(self) -> int:
        """What is put before a history when nothing is being trained."""
        return NO_WORDS if self.config.model == "pod" else 0

    def encoder_input(self, history: Tensor, template: int) -> tuple[Tensor, Tensor]:
        """Embeddings [B, S, d] of prompt and history, and who may read whom [S, S].

        Args:
            history: [B, L, T] token ids, oldest item first, PAD after the newest.
            template: place in TEMPLATES, or NO_WORDS.
        """
        rows, items, places = history.shape
        word = torch.arange(1, items + 1).repeat_interleave(places)
        parts = [part.expand(rows, -1, -1) for part in self.before_history(template)]
        parts.append(self.t5.shared(history.flatten(1)) + self.whole_word(word))
        embeddings = torch.cat(parts, dim=1)
        number = torch.zeros(embeddings.shape[1], dtype=torch.long)  # 0 for the prompt
        number[len(number) - len(word) :] = word
        return embeddings, _additive(number <= number[:, None])

    def before_history(self, template: int) -> list[Tensor]:
        """Embeddings [P, d] that stand before every history, in their order."""
        parts: list[Tensor] = [] if self.prompt is None else [self.prompt]
        if template != NO_WORDS:
            ids = torch.tensor([1 + WORDS.index(word) for word in TEMPLATES[template]])
            parts.append(self.t5.shared(ids) + self.whole_word(torch.zeros_like(ids)))
        return parts

    def encode(self, history: Tensor, template: int) -> Tensor:
        """States [B, S, d] of the prompt and of each item token, knowing the items up to it."""
        embeddings, mask = self.encoder_input(history, template)
        states: Tensor = self.t5.encoder(
            inputs_embeds=embeddings, attention_mask=mask
        ).last_hidden_state
        return states

    def forward(self, history: Tensor, following: Tensor, template: int) -> Tensor:
        """Logits [B, L, T, V] of the tokens of the item after each item of a history.

        Args:
            history: [B, L, T] token ids, PAD after the newest item.
            following: [B, L, T] token ids of the item after each; each of its tokens is predicted
                from those before it and from the history up to that item.
        """
        _, items, places = following.shape
        states = self.encode(history, template)
        begun = torch.full_like(following[..., :1], PAD)
        inputs = torch.cat([begun, following[..., :-1]], dim=2).flatten(1)
        # The items to write stand in one row; each sees its own tokens and its own history.
        place = torch.arange(items * places)
        own, before = place // places, place <= place[:, None]
        number = torch.zeros(states.shape[1], dtype=torch.long)
        number[len(number) - items * places :] = own + 1
        hidden = self.t5.decoder(
            input_ids=inputs,
            attention_mask=_additive((own == own[:, None]) & before),
            encoder_hidden_states=states,
            encoder_attention_mask=_additive(number <= own[:, None] + 1),
            use_cache=False,
        ).last_hidden_state
        logits = self.logits(hidden)
        return logits.view(len(logits), items, places, -1)

    def logits(self, hidden: Tensor) -> Tensor:
        if self.t5.config.scale_decoder_outputs:
            hidden = hidden * self.t5.model_dim**-0.5
        found: Tensor = self.t5.lm_head(hidden)
        return found

    def parameter_count(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())


def _additive(allowed: Tensor) -> Tensor:
    """[1, 1, Q, K] what is added to attention scores: 0 where ``allowed`` [Q, K], else -inf."""
    return torch.zeros(allowed.shape).masked_fill_(~allowed, -torch.inf)[None, None]


def offsets(config: GeneratorConfig) -> list[int]:
    """[T] first token id of each place's codes."""
    starts, start = [], FIRST_CODE
    for size in config.levels:
        starts.append(start)
        start += size
    return starts


# T5 ties both stacks' embeddings, and the head, to one matrix.
_SHARED = {
    "t5.encoder.embed_tokens.weight",
    "t5.decoder.embed_tokens.weight",
    "t5.lm_head.weight",
}


def encode_weights(network: GenerativeNetwork) -> bytes:
    state = network.state_dict()
    return bytes(save({k: v.contiguous() for k, v in state.items() if k not in _SHARED}))


def read_network(path: Path, config: GeneratorConfig) -> GenerativeNetwork:
    """The network in eval mode; raises BundleError when the file does not hold its weights."""
    network = GenerativeNetwork(config)
    try:
        absent, unknown = network.load_state_dict(load(path.read_bytes()), strict=False)
        if unknown or set(absent) - _SHARED:
            raise RuntimeError(f"other tensors than expected: {sorted({*unknown, *absent})[:4]}")
    except (OSError, SafetensorError, RuntimeError) as error:
        raise BundleError(f"{path} does not hold the generator's weights: {error}") from error
    return network.eval()
