"""LetterPlanner: a language model reads the situation and answers with the letter of a plan.

The answer is the letter that the model finds likeliest after the prompt, less what it finds
likely there without any situation: small models prefer a letter whatever they are asked (Zhao et
al., "Calibrate before use", arXiv 2102.09690).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from shared.errors import ConfigError
from training.baselines.cda4rec.plans import MEANING, PLANS
from training.baselines.cda4rec.situation import Situation

LETTERS = "ABCDE"
NOTHING = "Nothing is known of the user."


class Likelihoods(Protocol):
    """What a language model says comes next."""

    def of_letters(self, prompts: Sequence[str]) -> NDArray[np.float64]:
        """[P, 5] log probability of each of LETTERS right after each prompt."""
        ...

    def tokens(self, prompt: str) -> int:
        """Tokens of text that are read."""
        ...


class LetterPlanner:
    """Chooses plans; remembers the answers, as situations in words repeat.

    Args:
        model: that is asked.
    """

    parameters = 0  # nothing was learned for it

    def __init__(self, model: Likelihoods) -> None:
        self._model = model
        self._said: dict[str, NDArray[np.float64]] = {}

    def choose(self, situations: Sequence[Situation]) -> NDArray[np.int64]:
        """[R] places in PLANS."""
        prompts = [prompt_of(one.words()) for one in situations]
        asked = [prompt_of(NOTHING), *prompts]
        new = [prompt for prompt in dict.fromkeys(asked) if prompt not in self._said]
        if new:
            self._said.update(zip(new, self._model.of_letters(new), strict=True))
        prior = self._said[asked[0]]
        if not prompts:
            return np.empty(0, np.int64)
        chosen: NDArray[np.int64] = np.array([self._said[p] - prior for p in prompts]).argmax(1)
        return chosen

    def tokens(self, situations: Sequence[Situation]) -> float:
        """Mean tokens that the model reads for one of ``situations``; 0 without any."""
        read = [self._model.tokens(prompt_of(one.words())) for one in situations]
        return float(np.mean(read)) if read else 0.0


def prompt_of(situation: str) -> str:
    """What the model is asked; the letter is the next token."""
    choices = "\n".join(
        f"{letter}. {MEANING[plan]}" for letter, plan in zip(LETTERS, PLANS, strict=True)
    )
    return (
        "A recommender runs partly on a phone and partly in the cloud. "
        "The cloud knows what items mean, the phone knows what its user did last.\n"
        f"{situation}\nPlans:\n{choices}\nThe best plan is letter"
    )


class CausalModel:
    """A causal language model of transformers, in this process.

    Args:
        folder: with the model in Hugging Face form.
        threads: of torch.

    Raises:
        ConfigError: the folder holds no such model, or its tokenizer splits letters.
    """

    def __init__(self, folder: Path, threads: int) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(folder)
            self._model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        except (OSError, ValueError) as error:
            raise ConfigError(f"{folder} holds no causal language model: {error}") from error
        self._model.eval()
        self._threads = threads
        ids = [
            self._tokenizer(f" {letter}", add_special_tokens=False)["input_ids"]
            for letter in LETTERS
        ]
        if any(len(one) != 1 for one in ids):
            raise ConfigError(f"the tokenizer in {folder} has no token of its own for each letter")
        self._letters = torch.tensor([one[0] for one in ids])

    def tokens(self, prompt: str) -> int:
        return len(self._tokenizer(prompt)["input_ids"])

    @torch.no_grad()
    def of_letters(self, prompts: Sequence[str]) -> NDArray[np.float64]:
        """As ``Likelihoods``; each prompt is read by itself, so that no padding changes it."""
        before = torch.get_num_threads()
        torch.set_num_threads(self._threads)
        try:
            found = []
            for prompt in prompts:
                ids = torch.tensor([self._tokenizer(prompt)["input_ids"]])
                logits = self._model(input_ids=ids, logits_to_keep=1).logits[0, -1]
                found.append(logits.double().log_softmax(0)[self._letters].numpy())
        finally:
            torch.set_num_threads(before)
        return np.array(found).reshape(len(prompts), len(LETTERS))
