"""The planner that asks a language model, with SmolLM2 itself."""

from __future__ import annotations

import pytest
import torch

from launch.model_files import resolve_model
from shared.paths import default_cache_dir
from training.baselines.cda4rec.language import LETTERS, CausalModel, LetterPlanner, prompt_of
from training.baselines.cda4rec.situation import Situation

ASKING = Situation(events=100, returns=4, categories=4, query=True, hour=20.0)
NEW = Situation(events=2, returns=0, categories=0, query=False, hour=None)


@pytest.mark.slow
@pytest.mark.model
def test_a_letters_likelihood_is_what_it_adds_to_the_texts_own() -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = resolve_model("smollm2", cache=default_cache_dir())
    asked = CausalModel(folder, threads=1)
    prompt = prompt_of(ASKING.words())
    found = asked.of_letters([prompt])[0]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    for place, letter in enumerate(LETTERS):
        ids = torch.tensor([tokenizer(f"{prompt} {letter}")["input_ids"]])
        labels = torch.full_like(ids, -100)
        labels[0, -1] = ids[0, -1]  # only the last token counts
        with torch.no_grad():
            loss = model(input_ids=ids, labels=labels).loss
        assert found[place] == pytest.approx(-float(loss), abs=1e-3)
    chosen = LetterPlanner(asked).choose([ASKING, NEW, ASKING])
    assert chosen[0] == chosen[2]
    assert 100 < asked.tokens(prompt) < 250
