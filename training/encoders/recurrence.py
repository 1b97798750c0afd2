"""Gated recurrent units that export as ONNX's own GRU, at any batch size and history length.

Torch's exporter unrolls or freezes the length of ``nn.GRU``; as one opaque operator it is neither.

Shapes: B batch, L events, d inputs, h hidden units.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from onnxscript import opset18 as op
from torch import Tensor, nn


class Recurrence(nn.GRU):
    """One layer over [B, L, d], started at zero.

    With reset gate r and update gate z, n = tanh(W x + b + r * (R h + c)) and the state becomes
    (1 - z) * n + z * h (Cho et al., 2014, as in cuDNN).
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """[B, L, d] -> the state after every event [B, L, h]."""
        if torch.compiler.is_exporting():
            weights = (self.weight_ih_l0, self.weight_hh_l0, self.bias_ih_l0, self.bias_hh_l0)
            states: Tensor = torch.ops.scalrec.recurrence(x, *weights)
            return states
        return super().forward(x)[0]


@torch.library.custom_op("scalrec::recurrence", mutates_args=())
def _recurrence(x: Tensor, w: Tensor, r: Tensor, b: Tensor, c: Tensor) -> Tensor:
    start = x.new_zeros(1, len(x), r.shape[1])
    states, _ = torch.gru(x, start, [w, r, b, c], True, 1, 0.0, False, False, True)
    return states


@_recurrence.register_fake
def _shape(x: Tensor, w: Tensor, r: Tensor, b: Tensor, c: Tensor) -> Tensor:
    return x.new_empty(x.shape[0], x.shape[1], r.shape[1])


def _to_onnx(x: Any, w: Any, r: Any, b: Any, c: Any) -> Any:
    hidden = int(r.shape[1])
    gates = (_reordered(w), _reordered(r))
    first = op.Constant(value_ints=[0])
    bias = op.Concat(_reordered(b), _reordered(c), axis=0)
    states, _ = op.GRU(
        op.Transpose(x, perm=[1, 0, 2]),
        *(op.Unsqueeze(gate, first) for gate in gates),
        op.Unsqueeze(bias, first),
        hidden_size=hidden,
        linear_before_reset=1,
    )
    by_event = op.Squeeze(states, op.Constant(value_ints=[1]))  # of the one direction there is
    return op.Transpose(by_event, perm=[1, 0, 2])


def _reordered(gates: Any) -> Any:
    """Torch keeps reset, update and new gate in this order; ONNX update, reset and new."""
    reset, update, new = op.Split(gates, num_outputs=3, axis=0)
    return op.Concat(update, reset, new, axis=0)


def onnx_translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """What the exporter must be told of operators that are ours."""
    return {torch.ops.scalrec.recurrence.default: _to_onnx}
