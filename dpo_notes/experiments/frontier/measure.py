"""One point of the frontier: how a policy answers the held-out prompts, and how far it has gone for that."""

from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from dpo_notes.experiments.frontier.setting import Setting
from dpo_notes.maths.win_rate import wilson_interval, win_scores
from dpo_notes.training.evaluate import Responses, mean_and_error, respond, response_kl
from dpo_notes.training.rollout import stream
from dpo_notes.worlds.reviews import world as reviews

ANSWERS_SHOWN = 2  # to each of the shown prompts
DIGITS = 4  # kept of each figure: beyond any error here, and a file that can be read

Point = dict[str, object]


def measure_policy(
    policy: PreTrainedModel, setting: Setting, opponent: Float[Tensor, " prompts"], *, seed: int, max_new_tokens: int
) -> tuple[Point, Responses]:
    """(the figures of a policy, what it said to the held-out prompts): `figures`, and kl with kl_error (nats a response).

    `opponent`: rewards of the base model's answers to the same prompts. `seed`: of the policy's answers.
    """
    generator = stream(seed, "held-out prompts", 0)
    said = respond(policy, setting.tokenizer, setting.prompts, max_new_tokens=max_new_tokens, generator=generator)
    kl, kl_error = mean_and_error(response_kl(policy, setting.reference, said.prompt_ids, said.response_ids))
    judged = reviews.judge(said.prompts, said.texts)
    point = figures(**judged, lengths=said.lengths, wins=win_scores(judged["reward"], opponent))
    return rounded({"kl": kl, "kl_error": kl_error}) | point, said


def show_answers(policy: PreTrainedModel, setting: Setting, *, seed: int, max_new_tokens: int) -> list[str]:
    """`ANSWERS_SHOWN` answers of a policy to each of the shown prompts, one prompt after the other."""
    prompts = [prompt for prompt in setting.shown_prompts for _ in range(ANSWERS_SHOWN)]
    generator = stream(seed, "shown prompts", 0)
    said = respond(policy, setting.tokenizer, prompts, max_new_tokens=max_new_tokens, generator=generator)
    return list(said.texts)


def figures(
    reward: Float[Tensor, " prompts"],
    grammatical: Float[Tensor, " prompts"],
    lengths: Float[Tensor, " prompts"],
    wins: Float[Tensor, " prompts"],
) -> Point:
    """Means over the held-out prompts, of one answer to each or of the expectation over many.

    reward (nats) and its standard error; grammatical: the share that the grammar could have written; length: tokens, end
    of text included; win_rate against the base model's answers, ties counted half, with its 95% Wilson interval.
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
    """The numbers with as many digits as are kept."""
    return {name: round(number, DIGITS) for name, number in numbers.items()}
