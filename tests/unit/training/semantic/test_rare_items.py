"""Vectors of rare items lean on their texts, by as much as pays, and of common ones do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cloud_service.embedding.hashing import HashingEmbedder
from shared.errors import ConfigError
from shared.progress import NullProgress
from tests.unit.training.test_global_split import CUT, ITEMS, KNOWN, changed, two_ages
from tests.unit.training.test_pipeline import settings_for
from training.run import TrainingRun
from training.semantic.embedding_cache import EmbeddingCache
from training.semantic.rare_items import PULLS, choose_pull, fit_text_map
from training.semantic.text_map import TextMap
from training.stages.projector import PROJECTOR
from training.stages.store import StageStore


def made(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Texts, the vectors they stand for, those as learned from few events, and the events."""
    text = rng.standard_normal((300, 12)).astype(np.float32)
    true = (text @ rng.standard_normal((12, 4)) + 1.0).astype(np.float32)
    counts = rng.integers(0, 60, 300).astype(np.float32)
    noise = rng.standard_normal(true.shape) * 4.0 / np.sqrt(1.0 + counts)[:, None]
    return text, true, (true + noise).astype(np.float32), counts


def test_a_rare_item_is_where_its_text_says_and_a_common_one_where_it_was() -> None:
    text, true, learned, counts = made(np.random.default_rng(0))
    found = fit_text_map(text, learned, counts)
    drawn = TextMap(found.weight, found.bias, 3.0).pulled(
        *(torch.from_numpy(part) for part in (learned, text, counts))
    )
    assert found.pull == 0.0
    before, after = (np.linalg.norm(v - true, axis=1) for v in (learned, drawn.numpy()))
    assert after[counts < 5].mean() < 0.5 * before[counts < 5].mean()
    moved = np.linalg.norm(drawn.numpy() - learned, axis=1)
    said = np.linalg.norm(found.of(torch.from_numpy(text)).numpy() - learned, axis=1)
    np.testing.assert_allclose(moved, said * 3.0 / (3.0 + counts), rtol=1e-4, atol=1e-5)
    unmet = counts == 0
    assert unmet.any()
    np.testing.assert_allclose(
        drawn.numpy()[unmet], found.of(torch.from_numpy(text[unmet])).numpy(), atol=1e-5
    )


def test_what_is_chosen_is_what_pays_and_none_is_among_the_choices() -> None:
    text, true, learned, counts = made(np.random.default_rng(1))
    found = fit_text_map(text, learned, counts)
    parts = [torch.from_numpy(part) for part in (learned, text, counts)]
    users = np.arange(300)

    def nearness(vectors: torch.Tensor, goal: np.ndarray) -> np.ndarray:
        return -np.linalg.norm(vectors.numpy() - goal, axis=1).astype(np.float64)

    paying = choose_pull(found, *parts, lambda v: nearness(v, true), users)
    assert paying.pull in PULLS
    # Where vectors are right as they are, or texts say nothing of them, none is drawn.
    kept = choose_pull(found, *parts, lambda v: nearness(v, learned), users)
    assert kept.pull == 0.0
    assert kept.pulled(*parts) is parts[0]
    with pytest.raises(ValueError, match="no item has a training event"):
        fit_text_map(text, learned, np.zeros(300, np.float32))


async def test_items_that_nobody_has_met_get_what_their_texts_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And of later items nothing but their texts decides it: what they are met by does not."""
    monkeypatch.setattr(
        "training.stages.projector.choose_pull",
        lambda found, *_: TextMap(found.weight, found.bias, 3.0),
    )
    log, vectors = two_ages(), []
    for number, one in enumerate((log, changed(log))):
        folder = tmp_path / str(number)
        settings = settings_for(folder, rare_items="text", split="global", split_at=CUT)
        with EmbeddingCache(folder / "embeddings.sqlite") as cache:
            store = StageStore(folder)
            run = TrainingRun(settings, one, HashingEmbedder(32), cache, store, NullProgress())
            fitted = await run._projector(await run.backbone())
            text = torch.from_numpy(await run.result(run.items))
        assert fitted.vectors is not None
        assert fitted.text_map is not None
        assert fitted.vectors.shape[0] == ITEMS
        known = run.steps.items
        assert known is not None
        later = np.setdiff1d(np.arange(ITEMS), known)
        assert set(range(KNOWN, ITEMS)) <= set(later.tolist())
        torch.testing.assert_close(fitted.vectors[later], fitted.text_map.of(text[later]))
        vectors.append(fitted.vectors[known])
        (tmp_path / "form").mkdir(exist_ok=True)
        PROJECTOR.save(fitted, tmp_path / "form")
        again = PROJECTOR.load(tmp_path / "form")
        assert again.text_map is not None
        assert again.text_map.pull == 3.0
        assert torch.equal(again.text_map.weight, fitted.text_map.weight)
        assert torch.equal(again.text_map.bias, fitted.text_map.bias)
    assert torch.equal(*vectors)


async def test_shared_vectors_are_not_drawn(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, rare_items="text", semantic_vectors="shared")
    with EmbeddingCache(tmp_path / "embeddings.sqlite") as cache:
        store = StageStore(tmp_path)
        run = TrainingRun(settings, two_ages(), HashingEmbedder(32), cache, store, NullProgress())
        with pytest.raises(ConfigError, match="rare_items"):
            await run.result(run.semantics)
