"""Prompts stand where words would, the text model stays as it is, and contrast is corrected."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from launch.model_files import resolve_model
from shared.errors import DataError
from shared.metrics import ndcg, ranks_of
from shared.paths import default_cache_dir
from tests.support.text_models import LAYERS, tiny_model
from training.baselines.language.alignment import (
    AlignmentOptions,
    PromptedRequests,
    align,
    contrastive,
    log_inclusion,
)
from training.baselines.language.soft_prompts import (
    INSTRUCTIONS,
    MOST_PROMPTS,
    FrozenText,
    PromptWords,
    SoftPrompted,
    hashed,
    pretrained,
)

WORDS = [f"w{number}" for number in range(20)]
TEXTS = ["w0 w1 w2", "w3"]
DIM, PROMPTS = 8, 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model"), WORDS)


def loaded(
    folder: Path, layers: int | None = None, pooling: str = "MEAN"
) -> tuple[FrozenText, PromptWords]:
    return pretrained(folder, pooling=pooling, max_tokens=256, layers=layers, precision="float32")


def prompted(text: FrozenText) -> SoftPrompted:
    torch.manual_seed(0)
    return SoftPrompted(text, DIM).eval()


class _AsWords(nn.Module):
    """In the place of the alignment: vectors hold the number of a word."""

    def __init__(self, text: FrozenText) -> None:
        super().__init__()
        self.text = text

    def forward(self, vectors: Tensor) -> Tensor:
        return self.text.words(vectors[:, :, 0].long())


@pytest.mark.parametrize("pooling", ["MEAN", "LAST"])
@torch.no_grad()
def test_prompts_stand_before_the_text_as_words_would(folder: Path, pooling: str) -> None:
    from transformers import AutoModel

    text, words = loaded(folder, pooling=pooling)
    model = prompted(text)
    model.align = _AsWords(text)  # type: ignore[assignment]
    instructions, numbers = [5, 6, 7, 8], [9, 10, 11]
    model.instructions.copy_(text.words(torch.tensor(instructions)))
    ids, mask = words.of(TEXTS)
    vectors = torch.zeros(2, PROMPTS, DIM)
    vectors[:, :, 0] = torch.tensor(numbers, dtype=torch.float32)
    found = model.pooled(vectors, ids, mask)
    whole = AutoModel.from_pretrained(folder).eval()
    for row in range(2):
        # The same as plain words, one text at a time, without any padding.
        own = ids[row][mask[row].bool()].tolist()
        states = whole(input_ids=torch.tensor([[*instructions, *numbers, *own]]))
        states = states.last_hidden_state[0]
        wanted = states.mean(0) if pooling == "MEAN" else states[-1]
        torch.testing.assert_close(found[row], wanted, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_the_first_layers_alone_are_kept(folder: Path) -> None:
    from transformers import AutoModel

    text, words = loaded(folder, layers=1)
    ids, mask = words.of(TEXTS[:1])
    whole = AutoModel.from_pretrained(folder).eval()
    states = whole(input_ids=ids, output_hidden_states=True).hidden_states
    assert len(states) == LAYERS + 1
    torch.testing.assert_close(text(text.words(ids), mask), states[1].mean(1))


def test_only_maps_and_instructions_learn(folder: Path) -> None:
    text, words = loaded(folder)
    model = prompted(text).train()
    assert not text.training  # a frozen model drops nothing out
    names = {name.split(".")[0] for name in model.trained()}
    assert names == {"align", "instructions", "projector"}
    before = {name: value.clone() for name, value in text.state_dict().items()}
    optimizer = torch.optim.SGD(model.trained().values(), lr=0.1)
    ids, mask = words.of(TEXTS)
    model(torch.randn(2, PROMPTS, DIM), ids, mask).square().sum().backward()
    for name, parameter in model.trained().items():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
    optimizer.step()
    for name, value in text.state_dict().items():
        assert torch.equal(value, before[name])


def test_long_texts_leave_room_for_prompts_and_a_missing_model_is_named(
    folder: Path, tmp_path: Path
) -> None:
    text, words = loaded(folder)
    ids, mask = words.of([" ".join(WORDS * 10)])
    assert ids.shape[1] == 64 - MOST_PROMPTS
    model = prompted(text)
    with torch.no_grad():
        assert model(torch.zeros(1, MOST_PROMPTS - INSTRUCTIONS, DIM), ids, mask).shape == (1, DIM)
    with pytest.raises(DataError, match="no text model"):
        loaded(tmp_path)


@torch.no_grad()
def test_without_a_model_words_are_hashed_and_differ() -> None:
    text, words = hashed(pooling="MEAN", max_tokens=4, layers=1)
    ids, mask = words.of(["one two three four five", "six", ""])
    assert mask.sum(1).tolist() == [4, 1, 1]
    model = prompted(text)
    vectors = torch.zeros(1, PROMPTS, DIM).expand(3, -1, -1)
    found = model(vectors, ids, mask)
    alone = model(vectors[:1], *words.of(["six"]))
    torch.testing.assert_close(found[1:2], alone, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(found[0], found[1], atol=1e-3)


def test_contrast_is_the_cross_entropy_that_its_docstring_says() -> None:
    rng = np.random.default_rng(0)
    e, vectors = rng.standard_normal((3, 4)), rng.standard_normal((6, 4))
    target, negatives = np.array([2, 5, 2]), np.array([[0, 1], [2, 3], [4, 4]])
    bias, log_q = rng.standard_normal(6), np.log(rng.uniform(0.1, 1, 6))
    wanted = []
    for row in range(3):
        logits = vectors @ e[row] / 0.5 + bias
        among = [logits[item] - log_q[item] for item in (2, 5)]
        among += [logits[item] - math.log(0.3) for item in negatives[row]]
        own = among[0 if target[row] == 2 else 1]
        wanted.append(math.log(sum(math.exp(score) for score in among)) - own)
    found = contrastive(
        *(torch.from_numpy(each) for each in (e, vectors, bias, target, negatives, log_q)),
        negative_log_q=math.log(0.3),
        temperature=0.5,
    )
    assert float(found) == pytest.approx(np.mean(wanted))


def test_the_chance_to_be_a_candidate_is_that_of_drawing() -> None:
    counts = np.array([50, 30, 15, 5])
    drawn = np.random.default_rng(0).choice(4, (20_000, 6), p=counts / 100)
    shares = [(drawn == item).any(axis=1).mean() for item in range(4)]
    np.testing.assert_allclose(log_inclusion(counts, 6).exp().numpy(), shares, atol=0.01)
    assert torch.isfinite(log_inclusion(np.array([7, 0]), 6)).all()


def test_corrected_contrast_learns_how_popular_items_are() -> None:
    """The optimum over all items is log p; candidates by batches must not flatten it."""
    share = np.array([0.6, 0.3, 0.08, 0.02])
    rng = np.random.default_rng(0)
    none = torch.empty(16, 0, dtype=torch.long)

    def learned(log_q: Tensor) -> np.ndarray:
        logits = torch.zeros(4, requires_grad=True)
        optimizer = torch.optim.Adam([logits], lr=0.05)
        for step in range(600):
            optimizer.param_groups[0]["lr"] = 0.05 * (1 - step / 600)
            target = torch.from_numpy(rng.choice(4, 16, p=share))
            loss = contrastive(
                logits.expand(16, -1),
                torch.eye(4),
                torch.zeros(4),
                target,
                none,
                log_q,
                negative_log_q=0.0,
                temperature=1.0,
            )
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        return logits.softmax(0).detach().numpy()

    corrected = learned(log_inclusion((1000 * share).astype(int), 16))
    plain = learned(torch.zeros(4))
    np.testing.assert_allclose(np.log(corrected), np.log(share), atol=0.5)
    assert abs(np.log(corrected / share)).max() < abs(np.log(plain / share)).max() / 2


def test_alignment_learns_what_texts_and_prompts_say_and_repeats_itself() -> None:
    torch.manual_seed(3)
    vectors = torch.randn(12, DIM)
    rng = np.random.default_rng(0)

    def requests(count: int) -> PromptedRequests:
        target = rng.integers(0, 12, count)
        # The text tells the item's row of four, the prompt its column.
        prompts = torch.randn(count, PROMPTS, DIM) * 0.1
        prompts[:, 0] += torch.eye(DIM)[torch.from_numpy(target % 3)] * 2
        others = np.stack([rng.permutation(np.delete(np.arange(12), item))[:6] for item in target])
        return PromptedRequests(
            prompts=prompts,
            texts=[f"likes row{item // 3} today" for item in target],
            target=torch.from_numpy(target),
            confused=torch.from_numpy(others),
        )

    training, held = requests(384), requests(60)
    options = AlignmentOptions(batch=32, epochs=8, negatives=2, temperature=0.5, learning_rate=5e-3)

    def aligned(seed: int) -> tuple[SoftPrompted, list[float]]:
        text, words = hashed(pooling="MEAN", max_tokens=8, layers=None)
        model = prompted(text)

        @torch.no_grad()
        def judge() -> float:
            ids, mask = words.of(held.texts)
            scores = model(held.prompts, ids, mask) @ vectors.T
            return float(ndcg(ranks_of(scores.numpy(), held.target.numpy()), 10).mean())

        torch.manual_seed(seed)
        history = align(model, words, vectors, torch.zeros(12), training, options, judge, seed=seed)
        return model, [judge(), *(epoch.validation_ndcg10 for epoch in history)]

    one, worth = aligned(0)
    assert worth[0] == pytest.approx(max(worth))  # the best pass is kept
    assert worth[0] > 0.75  # one of both alone leaves three or four items, 0.71 at most
    again, _ = aligned(0)
    for name, value in one.trained().items():
        assert torch.equal(value, again.trained()[name])


@pytest.mark.slow
def test_the_real_model_reads_prompts() -> None:
    folder = resolve_model("minilm", cache=default_cache_dir())
    text, words = pretrained(folder, pooling="MEAN", max_tokens=256, layers=2, precision="bfloat16")
    assert text.width == 384
    model = prompted(text)
    ids, mask = words.of(["Mostly dramas of the nineties.", "Recently: Heat (1995)."])
    vectors = torch.randn(2, 6, DIM)
    e = model(vectors, ids, mask)
    assert torch.isfinite(e).all()
    e.square().sum().backward()
    grad = model.instructions.grad
    assert grad is not None
    assert grad.abs().sum() > 0
    with torch.no_grad():
        assert not torch.allclose(model(vectors.flip(2), ids, mask), e, atol=1e-3)
        assert not torch.allclose(model(vectors.flip(1), ids, mask), e, atol=1e-3)
