"""Policies with shared parameters: few weights for many responses, so learning about one also moves the others.

This is the smallest model of a language model's shared parameters: each response has features, and the policy is the
reference, tilted along a weighted sum of them. (`log_linear` follows a single comparison from a uniform reference.)
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from dpo_notes.worlds.finite.preferences import comparison_loss
from dpo_notes.worlds.finite.world import Population, descend


def tilted(
    ref_log_probs: Float[Tensor, "*batch responses"],
    features: Float[Tensor, "*batch responses features"],
    weights: Float[Tensor, " features"],
) -> Float[Tensor, "*batch responses"]:
    """Log-probabilities (nats) of the policy pi(y) proportional to pi_ref(y) * exp(weights . features(y)).

    features: of each response, any numbers. weights: nats per unit of each feature.
    Known value: the reference if all weights are 0; `optimal_policy` if weights . features = reward / beta.
    """
    return (ref_log_probs + features @ weights).log_softmax(dim=-1)


def shared_descent(
    data: Population,
    ref_log_probs: Float[Tensor, " responses"],
    features: Float[Tensor, "responses features"],
    *,
    beta: float,
    learning_rate: float,
    steps: int,
) -> Iterator[Float[Tensor, " responses"]]:
    """Log-probabilities (nats) of a `tilted` policy at the reference, and after each step of gradient descent on DPO.

    With one feature for each response (the identity matrix), every response has a weight of its own.
    beta, learning_rate: above 0. Errors: those of `dpo_loss`.
    Known value: it stays at the reference if each response is chosen as often as it is rejected.
    """

    def loss_of(weights: Tensor) -> Tensor:
        return comparison_loss(data, tilted(ref_log_probs, features, weights) - ref_log_probs, beta=beta)

    start = torch.zeros(features.shape[1], dtype=features.dtype)
    yield ref_log_probs
    for weights in descend(loss_of, start, make_optimizer=lambda p: torch.optim.SGD(p, lr=learning_rate), steps=steps):
        yield tilted(ref_log_probs, features, weights)
