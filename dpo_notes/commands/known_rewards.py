"""What we know only in the review world: the raters' reward of responses, and the best possible accuracy."""

from collections.abc import Sequence

from torch import Tensor

from dpo_notes.maths.bradley_terry import bayes_accuracy
from dpo_notes.pairs.load import PreferencePair
from dpo_notes.training.evaluate import Judge
from dpo_notes.worlds.reviews import world as reviews


def judge_of(prompts: Sequence[str]) -> Judge | None:
    """The review world's judge of responses if all prompts are from that world; else None."""
    return reviews.judge if all(map(reviews.is_prompt, prompts)) else None


def true_rewards(pairs: Sequence[PreferencePair]) -> tuple[Tensor, Tensor] | None:
    """(chosen, rejected): the raters' rewards of the responses, in nats; None outside the review world."""
    if not pairs or not all(pair.is_text and reviews.is_prompt(pair.prompt) for pair in pairs):
        return None
    prompts = [pair.prompt for pair in pairs]
    chosen, rejected = [pair.chosen for pair in pairs], [pair.rejected for pair in pairs]
    return reviews.reward(prompts, chosen), reviews.reward(prompts, rejected)


def best_accuracy(pairs: Sequence[PreferencePair]) -> float | None:
    """The best expected accuracy on these pairs, from the raters' reward; None outside the review world."""
    rewards = true_rewards(pairs)
    return None if rewards is None else bayes_accuracy(*rewards)
