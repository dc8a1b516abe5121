"""One point of the frontier: how well a policy answers the held-out prompts, and its KL from the reference."""

from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from dpo_notes.experiments.frontier.setting import Setting
from dpo_notes.maths.win_rate import wilson_interval, win_scores
from dpo_notes.training.evaluate import Responses, mean_and_error, respond, response_kl
from dpo_notes.training.rollout import stream
from dpo_notes.worlds.reviews import world as reviews

ANSWERS_SHOWN = 2  # to each of the shown prompts
DIGITS = 4  # decimals of each figure: finer than any error here, and the file stays readable

Point = dict[str, object]


def measure_policy(
    policy: PreTrainedModel, setting: Setting, opponent: Float[Tensor, " prompts"], *, seed: int, max_new_tokens: int
) -> tuple[Point, Responses]:
    """(the policy's `figures` with kl and kl_error in nats per response, its answers to the held-out prompts).

    `opponent`: rewards of the base model's answers to the same prompts. `seed`: of the policy's answers.
    """
    generator = stream(seed, "held-out prompts", 0)
    answers = respond(policy, setting.tokenizer, setting.prompts, max_new_tokens=max_new_tokens, generator=generator)
    kl, kl_error = mean_and_error(response_kl(policy, setting.reference, answers.prompt_ids, answers.response_ids))
    judged = reviews.judge(answers.prompts, answers.texts)
    point = figures(**judged, lengths=answers.lengths, wins=win_scores(judged["reward"], opponent))
    return rounded({"kl": kl, "kl_error": kl_error}) | point, answers


def show_answers(policy: PreTrainedModel, setting: Setting, *, seed: int, max_new_tokens: int) -> list[str]:
    """`ANSWERS_SHOWN` answers of a policy to each of the shown prompts, one prompt after the other."""
    prompts = [prompt for prompt in setting.shown_prompts for _ in range(ANSWERS_SHOWN)]
    generator = stream(seed, "shown prompts", 0)
    return list(respond(policy, setting.tokenizer, prompts, max_new_tokens=max_new_tokens, generator=generator).texts)


def figures(
    reward: Float[Tensor, " prompts"],
    grammatical: Float[Tensor, " prompts"],
    lengths: Float[Tensor, " prompts"],
    wins: Float[Tensor, " prompts"],
) -> Point:
    """Means over the held-out prompts, of one answer to each or of the expectation over many.

    reward (nats) and its standard error; grammatical: the share that the grammar can generate; length: tokens, end of
    text included; win_rate against the base model's answers, a tie counting one half, with its 95% Wilson interval.
    """
    mean, error = mean_and_error(reward)
    rate = wilson_interval(min(wins.mean().item(), 1.0), len(wins))  # weights may sum to a hair more than 1
    numbers = {
        "reward": mean,
        "reward_error": error,
        "grammatical": grammatical.mean().item(),
        "length": lengths.mean().item(),
        "win_rate": rate.rate,
        "win_low": rate.low,
        "win_high": rate.high,
    }
    return rounded(numbers)


def rounded(numbers: dict[str, float]) -> Point:
    """The numbers rounded to DIGITS decimals."""
    return {name: round(number, DIGITS) for name, number in numbers.items()}
