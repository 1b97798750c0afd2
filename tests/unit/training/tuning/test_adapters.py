"""What is saved computes what was trained, and is an ordinary model folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from cloud_service.embedding.transformers import TransformersEmbedder
from shared.errors import DataError
from tests.support.text_models import LAYERS, tiny_model
from training.settings import LoraSettings
from training.tuning.adapters import AdaptedEncoder, save_merged

WORDS = ["a", "cat", "dog", "sleeps", "barks", "loudly"]
TEXTS = ["a cat sleeps", "a dog barks loudly", "cat"]


def changed_encoder(
    folder: Path, pooling: str = "MEAN", layers: int | None = None
) -> AdaptedEncoder:
    """Adapters that do something."""
    options = LoraSettings(rank=4, layers=layers)
    encoder = AdaptedEncoder(folder, options, pooling=pooling, max_tokens=16)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for value in encoder.adapters().values():
            value += 0.1 * torch.randn(value.shape, generator=generator)
    return encoder


@pytest.mark.parametrize("pooling", ["MEAN", "LAST"])
async def test_the_saved_model_computes_what_the_adapters_did(tmp_path: Path, pooling: str) -> None:
    source, target = tiny_model(tmp_path / "source", WORDS), tmp_path / "tuned"
    target.mkdir()
    encoder = changed_encoder(source, pooling)
    with torch.no_grad():
        wanted = encoder(TEXTS).numpy()
    save_merged(encoder.merged(), source, target)

    assert {p.name for p in target.iterdir()} == {p.name for p in source.iterdir()}
    before, after = (load_file(f / "model.safetensors") for f in (source, target))
    assert before.keys() == after.keys()
    assert all(before[name].dtype == after[name].dtype for name in before)
    served = TransformersEmbedder(target, model="tuned", pooling=pooling, max_tokens=16)
    plain = TransformersEmbedder(source, model="plain", pooling=pooling, max_tokens=16)
    try:
        # bfloat16 where the processor has it: directions agree, not digits.
        cosine = (await served.embed(TEXTS) * wanted).sum(axis=1)
        far = (await plain.embed(TEXTS) * wanted).sum(axis=1)
    finally:
        await served.aclose()
        await plain.aclose()
    np.testing.assert_allclose(cosine, 1, atol=2e-3)
    assert (far < 0.98).all()


def test_merged_weights_equal_the_adapters_exactly_enough(tmp_path: Path) -> None:
    from transformers import AutoModel

    source, target = tiny_model(tmp_path / "source", WORDS), tmp_path / "tuned"
    target.mkdir()
    encoder = changed_encoder(source)
    tokens = encoder.tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        wanted = encoder.model(**tokens).last_hidden_state
        save_merged(encoder.merged(), source, target)
        found = AutoModel.from_pretrained(target)(**tokens).last_hidden_state
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_new_adapters_change_nothing(tmp_path: Path) -> None:
    from transformers import AutoModel

    source = tiny_model(tmp_path / "source", WORDS)
    encoder = AdaptedEncoder(source, LoraSettings(), pooling="MEAN", max_tokens=16)
    tokens = encoder.tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        plain = AutoModel.from_pretrained(source)(**tokens).last_hidden_state
        torch.testing.assert_close(encoder.model(**tokens).last_hidden_state, plain)


def test_adapters_lie_in_the_last_layers_alone(tmp_path: Path) -> None:
    source = tiny_model(tmp_path / "source", WORDS)
    some = changed_encoder(source, layers=1).adapters()
    all_of_them = changed_encoder(source).adapters()
    assert len(all_of_them) == LAYERS * len(some) > 0
    assert all(f"layer.{LAYERS - 1}." in name for name in some)
    assert not any("pooler" in name for name in all_of_them)


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    source, target = tiny_model(tmp_path / "source", WORDS), tmp_path / "tuned"
    target.mkdir()
    weights = changed_encoder(source).merged() | {"encoder.layer.7.output.weight": torch.ones(2, 2)}
    with pytest.raises(DataError, match=r"1 weights .* encoder\.layer\.7"):
        save_merged(weights, source, target)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no model that can be tuned"):
        AdaptedEncoder(tmp_path, LoraSettings(), pooling="MEAN", max_tokens=16)
