"""A generator's weights as one safetensors file, each shared tensor once.

Imports torch: load it only where a generator is really used.
"""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save

from cloud_service.generation.network import GenerativeNetwork
from shared.errors import BundleError
from shared.generator_config import GeneratorConfig

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
