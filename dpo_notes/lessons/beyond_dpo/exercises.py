"""The exercises of notebook 12; the last one, the capstone, is judged by the policy's reward on held-out prompts."""

import math
from functools import lru_cache, partial

import torch
from torch import Tensor

from dpo_notes.maths.loss_family import robust_loss
from dpo_notes.maths.losses import dpo_loss
from dpo_notes.teaching.checking import Exercise, Mistake
from dpo_notes.worlds.finite.preferences import cycle
from dpo_notes.worlds.reviews.help_desk import BUDGET, HURRIED, STUCK, TARGET, help_desk, judgements, train, worth

TIMID = 0.3  # nats from the reference; below that a policy has hardly moved
TALKATIVE = 9.0  # words an answer; the reference has 5.9
RUDE = 0.8  # nats for one "obviously": the repeated judgement teaches 1.3, the others next to nothing

CHOSEN, REJECTED = torch.tensor([[1.5, -0.4, 0.2], [0.3, 0.8, -3.0]], dtype=torch.float64)
THIRDS = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
WRONG_FORM = "the weights of a policy are expected, one for each feature, as `train` returns them"
TOO_FAR = "it earns enough, but stands too far from the reference: a larger beta holds it nearer"
TOO_FAR_FOR_NOTHING = "it goes far from the reference and is not worth the way: something in the file leads it astray"
STAYED = "it has hardly left the reference, so there is little to earn: a smaller beta lets it go"
PARROT = "it has learnt to be rude from one judgement that stands in the file many times"
LONG_WINDED = "it has learnt that longer is better: one of the raters cares for nothing else"
NOT_QUITE = "nearly: within the budget, but another loss, another beta or cleaner rows earn more"


def robust(chosen: Tensor, rejected: Tensor, beta: float, flips: float) -> Tensor:
    """Robust DPO, as the reader has to write it."""
    return robust_loss(chosen, rejected, beta=beta, label_smoothing=flips)


def without_division(chosen: Tensor, rejected: Tensor, beta: float, flips: float) -> Tensor:
    return (1 - 2 * flips) * robust(chosen, rejected, beta, flips)


def smoothed(chosen: Tensor, rejected: Tensor, beta: float, flips: float) -> Tensor:
    return dpo_loss(chosen, rejected, beta=beta, label_smoothing=flips)


def turned(chosen: Tensor, rejected: Tensor, beta: float, flips: float) -> Tensor:
    return robust(rejected, chosen, beta, flips)


@lru_cache(maxsize=16)
def policy(*, beta: float, once: bool, careful: bool) -> Tensor:
    """Weights after DPO. once: without repeated judgements. careful: without the hurried rater."""
    rows = judgements(help_desk())
    rows = list(dict.fromkeys(rows)) if once else rows
    return train(help_desk(), [row for row in rows if row.rater != HURRIED or not careful], beta=beta)


def problem_of(answer: object) -> str | None:
    """What keeps a policy from the target, or None if it is reached: the rule of the capstone."""
    desk = help_desk()
    try:
        weights = torch.as_tensor(answer, dtype=torch.float64).detach()
    except (TypeError, ValueError, RuntimeError):
        return WRONG_FORM
    if weights.shape != (len(desk.names),) or not weights.isfinite().all():
        return WRONG_FORM
    found = worth(desk, weights)
    if found.kl > BUDGET:
        return TOO_FAR if found.reward >= TARGET else TOO_FAR_FOR_NOTHING
    if found.reward >= TARGET:
        return None
    if found.kl < TIMID:
        return STAYED
    if weights[desk.names.index("obviously")] > RUDE:
        return PARROT
    return LONG_WINDED if found.words > TALKATIVE else NOT_QUITE


EXERCISES = (
    Exercise(
        number="12.1",
        expected=1.6,
        tolerance=0.004,
        mistakes=(
            Mistake(math.log(9) / 0.25, "this is where DPO would go, logit(p) / beta"),
            Mistake(2.0, "this is 1 / (2 beta), the target for a label that is always the same; here one in ten disagrees"),
            Mistake(0.4, "this is beta times the margin; divide by beta once more"),
            Mistake(3.2, "(2p - 1) / beta is twice too much: the target of IPO is 1 / (2 beta)"),
            Mistake(1.8, "p / (2 beta) forgets that the other labels pull down: p counts with plus, 1 - p with minus"),
        ),
    ),
    Exercise(
        number="12.2",
        expected=math.log(0.74 / 0.26) / 0.5,
        tolerance=0.004,
        mistakes=(
            Mistake(math.log(9) / 0.5, "this is the margin without wrong labels; first work out how often A is seen to win"),
            Mistake(math.log(0.74 / 0.26), "this is beta times the margin"),
            Mistake(math.log(0.72 / 0.28) / 0.5, "0.9 times 0.8 is how often A wins and is written down so; B's wins that are "
                    "turned round come on top"),
            Mistake(math.log(0.7 / 0.3) / 0.5, "flips work both ways: of the tenth that B wins, a fifth is written down for A"),
            Mistake(0.5 * math.log(0.74 / 0.26), "divide by beta; a small beta leads far"),
        ),
    ),
    Exercise(
        number="12.3",
        expected=robust,
        cases=((CHOSEN, REJECTED, 0.5, 0.2), (REJECTED, CHOSEN, 2.0, 0.05)),
        mistakes=(
            Mistake(smoothed, "this is cDPO: the second term is added, which shrinks margins further instead of undoing "
                    "the noise"),
            Mistake(without_division, "divided by 1 - 2 flips it would be unbiased; so it is too small by this factor"),
            Mistake(turned, "chosen and rejected have changed places"),
        ),
    ),
    Exercise(
        number="12.4",
        expected=["robust", "DPO"],
        mistakes=(
            Mistake(["DPO", "DPO"], "at 30% and 30%, look at the dark blue diamonds: they lie on the line"),
            Mistake(["robust", "robust"], "where 30% are assumed and no label is wrong, robust DPO has no best policy at all"),
            Mistake(["cDPO", "DPO"], "cDPO shrinks the margins further; it makes the policy cautious, not right"),
            Mistake(["robust", "cDPO"], "without wrong labels nothing needs smoothing: whose policy is 0.000 nats off?"),
            Mistake(["robust", "IPO"], "IPO takes win rates for rewards, and is off even where all labels are right"),
        ),
    ),
    Exercise(
        number="12.5",
        expected=[0.53, 0.41, 0.56],
        tolerance=0.004,
        mistakes=(
            Mistake([0.5, 0.5, 0.5], "this is what a fair draw would give; the opponents come with 0.5, 0.3 and 0.2"),
            Mistake([0.28, 0.26, 0.46], "a response may be drawn against itself: then it wins half of the time"),
            Mistake(lambda: (cycle().T @ THIRDS).tolist(), "these are the rates at which each one loses"),
            Mistake([0.3, 0.2, 0.5], "this looks only at how often one meets the response that it mostly beats"),
        ),
    ),
    Exercise(
        number="12.6",
        expected=2 * math.log(2),
        tolerance=0.004,
        mistakes=(
            Mistake(math.log(2), "this is beta times the log-ratio; divide by beta"),
            Mistake(math.inf, "this is the rejected one's way, downwards; the chosen one is held by a term of its own"),
            Mistake(0.0, "the chosen response does gain: set the slope to 0, 1 - sigma(r) = sigma(r) / 2"),
            Mistake(-2 * math.log(2), "the sign: sigma of the reward is 2/3, above one half"),
            Mistake(2 / 3, "this is sigma of the chosen reward; the log-ratio is its logit over beta"),
        ),
    ),
    Exercise(
        number="12.7",
        expected=[HURRIED, STUCK + 1],
        mistakes=(
            Mistake([HURRIED, STUCK], "count the row itself too: how often does it stand in the file?"),
            Mistake(["Ada", STUCK + 1], "Ada's is the row that stands there so often; but whose choices follow the length alone?"),
            Mistake(["Ben", STUCK + 1], "Ben takes the longer one about half of the time"),
            Mistake(["Cleo", STUCK + 1], "Cleo takes the longer one a little more often than not, as polite answers are long"),
        ),
    ),
    Exercise(
        number="12.8",
        expected=partial(policy, beta=0.28, once=True, careful=True),
        rule=problem_of,
        mistakes=(
            Mistake(partial(policy, beta=0.1, once=False, careful=False), TOO_FAR_FOR_NOTHING),
            Mistake(partial(policy, beta=0.1, once=True, careful=True), TOO_FAR),
            Mistake(partial(policy, beta=1.0, once=True, careful=True), STAYED),
            Mistake(partial(policy, beta=0.4, once=False, careful=True), PARROT),
            Mistake(partial(policy, beta=0.4, once=True, careful=False), LONG_WINDED),
            Mistake([0.0, 1.0], WRONG_FORM),
        ),
    ),
)  # fmt: skip
