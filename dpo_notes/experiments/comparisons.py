"""Comparisons in the review world: two responses of a model to each prompt, ranked by a Bradley–Terry rater."""

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dpo_notes.language.generate import sample
from dpo_notes.maths.bradley_terry import preference_probability, sample_preferences
from dpo_notes.maths.errors import InputError
from dpo_notes.pairs.load import PreferencePair
from dpo_notes.worlds.reviews import world as reviews

FRUITLESS_ROUNDS = 500


def draw_comparisons(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    count: int,
    *,
    generator: torch.Generator,
    max_new_tokens: int = 96,
) -> list[tuple[PreferencePair, float]]:
    """`count` comparisons, each with p(chosen): the probability, by the true reward, that a rater makes this choice.

    Prompts come from the review world, both responses from the model at temperature 1. The rater prefers a to b with
    probability sigma(reward a - reward b), so p(chosen) is below 1/2 if the rater happened to choose the worse one.
    We discard draws with two equal responses, an empty response or a repeated comparison, and draw again.
    Raises InputError if the model's responses vary too little: FRUITLESS_ROUNDS rounds without a new comparison.
    """
    # In order. If two responses to a prompt are drawn again, they keep their first label. If we also kept a differing
    # second label, labels would be biased towards one half.
    found: dict[tuple[str, frozenset[str]], tuple[PreferencePair, float]] = {}
    fruitless = 0
    while len(found) < count:
        before = len(found)
        prompts = reviews.sample_prompts(count - len(found), generator=generator)
        texts = sample(model, tokenizer, prompts * 2, generator=generator, max_new_tokens=max_new_tokens)
        rewards = reviews.reward(prompts * 2, texts)
        candidates = torch.arange(2 * len(prompts)).view(2, -1).T  # response i against response i + count
        ranked = sample_preferences(rewards, candidates, generator=generator)
        probability = preference_probability(*rewards[ranked].unbind(1))
        for prompt, (chosen, rejected), p in zip(prompts, ranked.tolist(), probability.tolist(), strict=True):
            if texts[chosen] != texts[rejected] and texts[chosen].strip() and texts[rejected].strip():
                pair = PreferencePair(prompt, texts[chosen], texts[rejected])
                found.setdefault((prompt, frozenset((pair.chosen, pair.rejected))), (pair, p))
        fruitless = 0 if len(found) > before else fruitless + 1
        if fruitless == FRUITLESS_ROUNDS:
            raise InputError(f"the model gave {len(found)} different comparisons; expected {count}: its answers repeat")
    return list(found.values())
