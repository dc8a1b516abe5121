"""DPO on per-token means in a finite world: another loss, with another optimum."""

from jaxtyping import Float
from torch import Tensor

from dpo_notes.maths.checks import check_positive
from dpo_notes.maths.errors import InputError
from dpo_notes.maths.losses import dpo_loss
from dpo_notes.worlds.finite.world import FiniteWorld, population

HALVINGS = 200  # of the interval that contains c, down to the last digit


def loss_on_means(
    world: FiniteWorld, log_probs: Float[Tensor, " responses"], tokens: Float[Tensor, " responses"], *, beta: float
) -> Float[Tensor, ""]:
    """`population_loss` of DPO with each response's log-ratio divided by its number of tokens, in nats.

    log_probs: the policy (nats). tokens: the length of each response, above 0. beta: nats of reward per nat per token.
    Errors: InputError for a length or a beta not above 0. Known value: log 2 where the policy is the reference.
    """
    _check_tokens(tokens)
    data = population(world)
    per_token = (log_probs - world.ref_log_probs) / tokens
    return data.weights @ dpo_loss(per_token[data.chosen], per_token[data.rejected], beta=beta)


def optimum_on_means(
    world: FiniteWorld, tokens: Float[Tensor, " responses"], *, beta: float
) -> Float[Tensor, " responses"]:
    """Log-probabilities (nats) of the policy with the lowest `loss_on_means`.

    log pi(y) = log pi_ref(y) + tokens(y) * (r(y) + c) / beta, with the c for which the probabilities sum to 1
    Every margin beta * (logratio_w / tokens_w - logratio_l / tokens_l) is then r_w - r_l, the raters' own margin, so
    the loss cannot be lower. c is found by bisection, because the sum of the probabilities rises with it.

    Arguments and errors as in `loss_on_means`. Known value: `optimal_policy` if every response has one token.
    """
    check_positive("beta", beta)
    _check_tokens(tokens)
    low, high = -world.reward.max(), -world.reward.min()  # no exponent is above 0 at low, none below 0 at high
    for _ in range(HALVINGS):
        c = (low + high) / 2
        log_probs = world.ref_log_probs + tokens * (world.reward + c) / beta
        low, high = (c, high) if log_probs.logsumexp(dim=0) < 0 else (low, c)
    return log_probs


def _check_tokens(tokens: Tensor) -> None:
    if not (tokens > 0).all():
        raise InputError(f"tokens is {tokens.tolist()}; expected lengths above 0")
