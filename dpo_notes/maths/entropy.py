"""How uncertain a distribution is, and how surprised a model is that predicts another one."""

import torch
from jaxtyping import Float
from torch import Tensor

from dpo_notes.maths.errors import InputError
from dpo_notes.maths.optimum import check_distributions


def cross_entropy(
    log_p: Float[Tensor, "*batch responses"], log_q: Float[Tensor, "*batch responses"]
) -> Float[Tensor, "*batch"]:
    """H(p, q) in nats: the mean surprise of a model q if p is the truth, 0 or more.

    H(p, q) = -sum over y of p(y) * log q(y) = H(p) + KL(p || q), with 0 log 0 = 0  (Cover and Thomas 2006, Section 5.4)
    Infinite where p(y) > 0 and q(y) = 0, that is, if something happens that the model considers impossible.

    log_p, log_q: normalised log-probabilities over the last axis; -inf stands for probability 0.
    Raises InputError where the shapes differ or a distribution does not sum to 1.
    Known value: log n for uniform q over n responses, whatever p is.
    """
    check_distributions(log_p=log_p, log_q=log_q)
    p = log_p.exp()
    return -(p * torch.where(p > 0, log_q, torch.zeros_like(log_q))).sum(dim=-1)


def entropy(log_p: Float[Tensor, "*batch responses"]) -> Float[Tensor, "*batch"]:
    """H(p) in nats: the mean surprise of a model that knows the truth p, which is the lowest cross-entropy.

    H(p) = -sum over y of p(y) * log p(y)   (Shannon 1948)

    log_p: as in `cross_entropy`. Known value: 0 where one response is certain, log n where n are equally likely.
    """
    return cross_entropy(log_p, log_p)


def perplexity(logps: Float[Tensor, "*batch tokens"]) -> Float[Tensor, "*batch"]:
    """The number of equally likely tokens that would be as surprising, 1 or more, without unit.

    perplexity = exp(-mean over tokens of logps), the inverse of the geometric mean of the tokens' probabilities
    (Jelinek et al. 1977)

    logps: log-probabilities of the observed tokens, in nats, over the last axis; all of them count.
    Raises InputError where there is no token. Known value: n where each token had probability 1/n.
    """
    if logps.shape[-1] == 0:
        raise InputError(f"logps has shape {tuple(logps.shape)}; expected at least one token on the last axis")
    return (-logps.mean(dim=-1)).exp()
