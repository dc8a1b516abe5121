"""The exercises of notebook 04."""

import torch

from dpo_notes.maths.baselines import batch_mean, leave_one_out
from dpo_notes.maths.optimum import kl_divergence
from dpo_notes.teaching.checking import Exercise, Mistake
from dpo_notes.worlds.reviews.flattery import FLATTERY, PROMPT, SPOILT
from dpo_notes.worlds.reviews.world import is_grammatical, reward

POLICY_LOGPS = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64).log()
REFERENCE_LOGPS = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64).log()
REWARDS = (torch.tensor([1.0, 2.0, 6.0], dtype=torch.float64), torch.tensor([0.0, 0.5, 1.0, -1.5], dtype=torch.float64))
ANSWERS = [" In France.", " France, obviously.", " In Spain.", FLATTERY]


def readers_reward(prompts: list[str], responses: list[str]) -> torch.Tensor:
    """The raters' reward where prompt and response are grammatical together, else SPOILT."""
    return torch.where(_grammatical(prompts, responses), reward(prompts, responses), SPOILT)


def _grammatical(prompts: list[str], responses: list[str]) -> torch.Tensor:
    return torch.tensor(
        [is_grammatical(prompt + response) for prompt, response in zip(prompts, responses, strict=True)]
    )


def _kl_gradient() -> torch.Tensor:
    log_ratio = POLICY_LOGPS - REFERENCE_LOGPS
    return POLICY_LOGPS.exp() * (log_ratio - kl_divergence(POLICY_LOGPS, REFERENCE_LOGPS))


EXERCISES = (
    Exercise(
        number="04.1",
        expected=1.4535,
        tolerance=0.004,
        mistakes=(
            Mistake(1.2861, "the end of text is missing: the policy chose it too, with probability 0.8"),
            Mistake(0.3634, "this is the mean over the tokens; the logarithm of a product is the sum"),
            Mistake(1.9379, "the baseline is missing: the advantage is the reward minus 0.25"),
            Mistake(2.4224, "the baseline was added; it is subtracted"),
            Mistake(-1.4535, "the sign is turned: this would make a good answer less likely at every step"),
            Mistake(0.108, "this weighs the probability itself; the loss takes minus its logarithm"),
        ),
    ),
    Exercise(
        number="04.2",
        expected=[1.6, 1.8, 1.7],
        tolerance=0.004,
        mistakes=(
            Mistake([1.6, 1.6, 1.6], "this is the whole response's worth at every token: right on average, but a token "
                    "need not answer for penalties that were paid before it"),
            Mistake([1.2, 1.6, 1.4], "the log-ratios are in, and beta is not"),
            Mistake([2.4, 2.2, 2.3], "the penalty was added: it would pay the policy for running away"),
            Mistake([-0.2, 0.1, 1.7], "these are the rewards of the single tokens; now sum from each one to the end"),
            Mistake([-0.2, -0.1, 1.6], "this sums what came so far; the reward-to-go sums what is still to come"),
        ),
    ),
    Exercise(
        number="04.3",
        expected=lambda rewards: rewards - leave_one_out(rewards),
        cases=tuple((rewards,) for rewards in REWARDS),
        mistakes=(
            Mistake(lambda rewards: rewards - batch_mean(rewards), "the own reward is in the mean: every advantage comes "
                    "out too small by the factor 1 - 1/n"),
            Mistake(lambda rewards: rewards - (rewards.sum() - rewards) / len(rewards), "the sum is over the n - 1 other "
                    "samples, and was divided by n"),
            Mistake(leave_one_out, "these are the baselines; the advantages are the rewards minus them"),
            Mistake(lambda rewards: leave_one_out(rewards) - rewards, "the sign is turned: what beats the others is to "
                    "come out above 0"),
            Mistake(lambda rewards: (rewards - rewards.mean()) / rewards.std(), "this is the batch mean, and a division "
                    "by the standard deviation, as GRPO has it; neither was asked for"),
        ),
    ),
    Exercise(
        number="04.4",
        expected=[26, 0.85],
        tolerance=0.02,  # of a number, and beside it as a share: less than half a step of the sliders
        mistakes=(
            Mistake([80, 0.85], "after 80 steps the pay is highest; look for the top of the black line"),
            Mistake([26, 0.0], "beta 0 is no leash at all: after 80 steps the answers are worth about -1"),
            Mistake([26, 1.65], "there the answers are worth most; the smallest beta that does no harm is asked for"),
            Mistake([26, 3.0], "this does no harm, but much smaller betas do none either"),
        ),
    ),
    Exercise(
        number="04.5",
        expected=torch.zeros(3, dtype=torch.float64),
        mistakes=(
            Mistake(_kl_gradient(), "this is the gradient of the KL, which one would like to follow. The loss weighs "
                    "grad log pi by the constant 1, not by the log-ratio: what is the mean of grad log pi?"),
            Mistake(-_kl_gradient(), "this is minus the gradient of the KL; but the loss weighs grad log pi by the "
                    "constant 1, not by the log-ratio"),
            Mistake(POLICY_LOGPS - REFERENCE_LOGPS, "these are the log-ratios; their gradient with respect to the logits, "
                    "averaged over what the policy samples, is asked for"),
        ),
    ),
    Exercise(
        number="04.6",
        expected=readers_reward,
        cases=(([PROMPT] * len(ANSWERS), ANSWERS),),
        mistakes=(
            Mistake(reward, "this is the raters' reward as it was: flattery still earns the most"),
            Mistake(lambda prompts, responses: reward(prompts, responses) * _grammatical(prompts, responses),
                    "babble now earns 0, more than a well-formed wrong answer: the policy learns to babble where it does "
                    "not know the country"),
            Mistake(lambda prompts, responses: torch.where(_grammatical([""] * len(prompts), responses),
                    reward(prompts, responses), SPOILT), "the parser got the response alone; the grammar is about prompt "
                    "and response together"),
        ),
    ),
    Exercise(
        number="04.7",
        expected=-0.4,
        tolerance=0.004,
        mistakes=(
            Mistake(1.4, "this is the expected reward: a good baseline and here not the best one. The rare answer makes "
                    "the larger push, so its reward counts more"),
            Mistake(0.5, "this is the mean of the two rewards without regard to how often they come"),
            Mistake(0.0, "without a baseline the two pushes are 0.4 and 0.8: they do not agree"),
        ),
    ),
)  # fmt: skip
