"""A policy that knows its responses by a few features only: pi(y) is proportional to exp(theta . phi(y)).

Two parameters for four responses are enough to show what happens with GPT-2's millions: whatever moves one response
also moves all similar ones. So the chosen response can lose probability while the loss falls.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from dpo_notes.maths.checks import check_positive
from dpo_notes.maths.losses import dpo_gradient_weight

# Answers to "Where is Paris?", by two features: courtesy and length. Geography is not among them.
CHOSEN, REJECTED = "It is in France.", "France, obviously."
ANSWERS = {
    CHOSEN: (0.1, 0.2),
    REJECTED: (-0.5, 0.1),
    "In France.": (0.0, -0.5),
    "I am glad to help. It is in Spain.": (1.5, 0.6),
}


def feature_log_probs(
    features: Float[Tensor, "responses features"], theta: Float[Tensor, " features"]
) -> Float[Tensor, " responses"]:
    """log pi(y) in nats, pi(y) = exp(theta . phi(y)) / sum over z of exp(theta . phi(z)).

    features: phi, a row for each response. theta: the policy's parameters.
    Known value: -log n for n responses where theta is 0.
    """
    return (features @ theta).log_softmax(dim=0)


def chosen_slope(
    features: Float[Tensor, "responses features"], theta: Float[Tensor, " features"], *, chosen: int, rejected: int
) -> Float[Tensor, ""]:
    """How log pi(chosen) changes along the direction of a DPO step on this pair, in nats per unit of step.

    slope = d . (phi_w - E_pi[phi]), d = phi_w - phi_l, the gradient of the log-ratio margin
    If it is below 0, the chosen response loses probability although the margin grows: likelihood displacement (Razin et
    al. 2024, arXiv 2410.08847). To first order, a step of length learning rate * beta * weight changes log pi(chosen)
    by that length times the slope.

    chosen, rejected: rows of `features`. Known value: |d|^2 / 2 for two responses at theta = 0.
    """
    mean = feature_log_probs(features, theta).exp() @ features
    return (features[chosen] - features[rejected]) @ (features[chosen] - mean)


def dpo_path(
    features: Float[Tensor, "responses features"],
    *,
    chosen: int,
    rejected: int,
    beta: float,
    learning_rate: float,
    steps: int,
) -> Float[Tensor, "points responses"]:
    """Log-probabilities (nats) of the uniform reference, and after each of `steps` plain DPO steps on one comparison.

    theta <- theta + learning_rate * beta * sigma(r_l - r_w) * (phi_w - phi_l), from theta = 0 on
    (Rafailov et al. 2023, arXiv 2305.18290, section 4; the normalising sum cancels in the margin.)

    beta, learning_rate: above 0. Errors: InputError for either outside its range.
    Known value: the margin grows at every step, whatever the features, unless the two responses have the same ones.
    """
    check_positive("learning_rate", learning_rate)
    direction, theta = features[chosen] - features[rejected], torch.zeros_like(features[0])
    points = [feature_log_probs(features, theta)]
    for _ in range(steps):
        logratios = points[-1] - points[0]
        weight = dpo_gradient_weight(logratios[chosen, None], logratios[rejected, None], beta=beta)
        theta = theta + learning_rate * beta * weight * direction
        points.append(feature_log_probs(features, theta))
    return torch.stack(points)
