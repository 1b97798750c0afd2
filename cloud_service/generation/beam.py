"""Prefix-constrained beam search: the likeliest items, and nothing that is no item.

All beams of a row share its encoded history, so that its keys and values are computed once; the
beams are queries side by side. Sequences are as short as an item's tokens, hence the decoder's
layers are walked here instead of by a general generation loop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cloud_service.generation.network import PAD, GenerativeNetwork, offsets
from cloud_service.generation.trie import NONE, TokenTrie
from shared.item_tokens import ItemTokens


@dataclass(frozen=True, eq=False)
class _Place:
    """What may be written at one place: what must not [N, M], token ids [N, M], where they lead."""

    forbidden: Tensor
    token: Tensor
    child: Tensor


class BeamSearch:
    """Decodes with one network and one table of item tokens.

    Args:
        levels: the places among the network's levels that the table fills; all of them as a rule.
        template: what is put before a history; None: the network's default.

    Raises:
        ValueError: the network was made for another table.
    """

    def __init__(
        self,
        network: GenerativeNetwork,
        tokens: ItemTokens,
        *,
        levels: slice = slice(None),
        template: int | None = None,
    ) -> None:
        if network.config.levels[levels] != tokens.sizes:
            raise ValueError(
                f"the network knows {network.config.levels[levels]} codes, the table {tokens.sizes}"
            )
        self.network, self.n_items = network, len(tokens)
        self.template = network.default_template if template is None else template
        starts = offsets(network.config)[levels]
        codes = torch.from_numpy(tokens.codes).long() + torch.tensor(starts)
        pad = torch.full((1, codes.shape[1]), PAD)
        self.token_of_item = torch.cat([codes, pad])  # the last row is for "no item", index -1
        trie = TokenTrie.of(tokens)
        self.places = [
            _Place(
                torch.from_numpy(code == NONE),
                torch.from_numpy(code).clamp(min=0) + start,
                torch.from_numpy(child),
            )
            for code, child, start in zip(trie.code, trie.child, starts, strict=True)
        ]

    @torch.inference_mode()
    def search(
        self, history: Tensor, n: int, banned: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The ``n`` likeliest items of each row, best first.

        Args:
            history: [R, L] items, oldest first, padded with -1 after the newest.
            banned: [R, X] items that must not be answered, padded with -1.

        Returns:
            items [R, n] int64 and log-probabilities [R, n] float32 of their token sequences.
        """
        extra = 0 if banned is None else banned.shape[1]
        width = min(self.n_items, n + extra)
        decoder = _Decoder(self.network, self.token_of_item[history], self.template)
        rows = len(history)
        node = torch.zeros(rows, 1, dtype=torch.long)
        score = torch.zeros(rows, 1)
        written = torch.full((rows, 1), PAD)
        for number, place in enumerate(self.places):
            log_p = decoder.step(written).log_softmax(-1)  # [R, K, V]
            options = score[:, :, None] + log_p.gather(2, place.token[node])
            options.masked_fill_(place.forbidden[node], -torch.inf)
            if banned is not None and number == len(self.places) - 1:
                self._forbid(options, place.child[node], banned)
            flat = options.flatten(1)
            score, index = flat.topk(min(width, flat.shape[1]))
            beam = index // options.shape[2]
            written = place.token[node].flatten(1).gather(1, index)
            node = place.child[node].flatten(1).gather(1, index)
            # While there are fewer beginnings than beams the rest are dead ends.
            alive = int((score > -torch.inf).sum(1).max())
            score, node, written = score[:, :alive], node[:, :alive], written[:, :alive]
            decoder.keep(beam[:, :alive])
        return node[:, :n], score[:, :n]

    def _forbid(self, options: Tensor, items: Tensor, banned: Tensor) -> None:
        rows = len(options)
        marked = torch.zeros(rows, self.n_items + 1, dtype=torch.bool)
        marked.scatter_(1, torch.where(banned < 0, self.n_items, banned), True)
        hit = marked.gather(1, items.flatten(1)).view_as(options)
        options.masked_fill_(hit, -torch.inf)


class _Decoder:
    """The decoder's layers with what they remember of each beam and of the encoded history."""

    def __init__(self, network: GenerativeNetwork, history: Tensor, template: int) -> None:
        t5 = network.t5
        states = network.encode(history, template)
        self._network, self._t5, self._heads = network, t5, network.config.heads
        self._blocks: list[Any] = list(t5.decoder.block)
        tokens = history.flatten(1)
        mask = torch.zeros(states.shape[:2])
        mask[:, states.shape[1] - tokens.shape[1] :].masked_fill_(tokens == PAD, -torch.inf)
        self._mask = mask[:, None, None]
        self._cross = [
            tuple(self._split(make(states)) for make in (attention.k, attention.v))
            for attention in (block.layer[1].EncDecAttention for block in self._blocks)
        ]
        self._past: list[tuple[Tensor, Tensor]] = []
        longest = len(network.config.levels)
        first: Any = self._blocks[0].layer[0].SelfAttention
        self._bias: Tensor = first.compute_bias(longest, longest)[0]  # [H, T, T]
        self._done = 0

    def step(self, written: Tensor) -> Tensor:
        """Logits [R, K, V] after one more token [R, K] of each beam."""
        x = self._t5.shared(written)
        past = []
        for number, block in enumerate(self._blocks):
            own, cross, feed_forward = block.layer
            attention, normed = own.SelfAttention, own.layer_norm(x)
            query, key, value = (
                self._split(make(normed)) for make in (attention.q, attention.k, attention.v)
            )
            keys, values = key[..., None, :], value[..., None, :]  # [R, H, K, 1, c]
            if self._past:
                before = self._past[number]
                keys, values = (
                    torch.cat([old, new], 3)
                    for old, new in zip(before, (keys, values), strict=True)
                )
            past.append((keys, values))
            weight = (query[..., None, :] * keys).sum(-1)  # [R, H, K, t]
            weight = weight + self._bias[:, self._done, : self._done + 1][:, None]
            mixed = (weight.softmax(-1)[..., None] * values).sum(3)
            x = x + attention.o(self._join(mixed))
            attention = cross.EncDecAttention
            query = self._split(attention.q(cross.layer_norm(x)))
            states_key, states_value = self._cross[number]
            weight = (query @ states_key.transpose(2, 3) + self._mask).softmax(-1)
            x = feed_forward(x + attention.o(self._join(weight @ states_value)))
        self._past = past
        self._done += 1
        return self._network.logits(self._t5.decoder.final_layer_norm(x))

    def keep(self, beam: Tensor) -> None:
        """Go on with these beams [R, K'], each named by the one it continues."""
        self._past = [(_pick(keys, beam), _pick(values, beam)) for keys, values in self._past]

    def _split(self, x: Tensor) -> Tensor:
        """[R, K, H * c] -> [R, H, K, c]"""
        return x.view(*x.shape[:-1], self._heads, -1).transpose(1, 2)

    @staticmethod
    def _join(x: Tensor) -> Tensor:
        return x.transpose(1, 2).flatten(2)


def _pick(memory: Tensor, beam: Tensor) -> Tensor:
    """Rows ``beam`` [R, K'] of [R, H, K, t, c]."""
    _, heads, _, length, size = memory.shape
    index = beam[:, None, :, None, None].expand(-1, heads, -1, length, size)
    return memory.gather(2, index)
