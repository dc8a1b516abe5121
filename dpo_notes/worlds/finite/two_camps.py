"""A corpus of two camps, one curt and one polite, and a speaker who has to fit a single tone to it.

Tones lie on a line from curt to polite, as a grid so fine that every integral is a sum.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from dpo_notes.worlds.finite.world import descend

TONES = torch.linspace(-10, 10, 401, dtype=torch.float64)
CURT, POLITE = -2.0, 2.0  # the centre of each camp
CAMP_SPREAD, SHARE_POLITE = 0.4, 0.6


def one_tone(mean: Float[Tensor, "*batch"], spread: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch tones"]:
    """Log-probabilities (nats) of a speaker with one tone: a normal distribution, at the points of TONES.

    mean: the tone. spread: its standard deviation, above 0; well above 0.05, the distance of the points.
    Known value: about two thirds of the probability lie within one spread of the mean.
    """
    return (-(((TONES - mean[..., None]) / spread[..., None]) ** 2) / 2).log_softmax(dim=-1)


def corpus() -> Float[Tensor, " tones"]:
    """Log-probabilities (nats) of the corpus: 40% of it is curt, 60% is polite, and hardly anything is in between."""
    means, shares = torch.tensor([[CURT, POLITE], [1 - SHARE_POLITE, SHARE_POLITE]], dtype=torch.float64)
    camps = one_tone(means, torch.full_like(means, CAMP_SPREAD))
    return torch.logsumexp(camps + shares.log()[:, None], dim=0)


def mean_and_spread(
    log_probs: Float[Tensor, "*batch tones"],
) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    """(mean, standard deviation) of a distribution over TONES. Known value: those given to `one_tone`."""
    probs = log_probs.exp()
    mean = probs @ TONES
    return mean, (probs * (TONES - mean[..., None]) ** 2).sum(dim=-1).sqrt()


def fit_one_tone(
    divergence: Callable[[Float[Tensor, " tones"]], Float[Tensor, ""]], *, mean: float, spread: float
) -> tuple[float, float]:
    """(mean, spread) of the speaker with the lowest divergence, by descent from the given one.

    divergence: from the speaker's log-probabilities to nats, such as `lambda q: kl_divergence(corpus(), q)`. If it has
    several minima, the start decides which one is found.
    """
    start = torch.tensor([mean, spread], dtype=torch.float64)
    start[1] = start[1].log()  # so that the spread stays above 0
    (found,) = descend(
        lambda point: divergence(one_tone(point[0], point[1].exp())), start, make_optimizer=_lbfgs, steps=1
    )
    return found[0].item(), found[1].exp().item()


def _lbfgs(parameters: list[Tensor]) -> torch.optim.Optimizer:
    """Fewer steps than in `finite.minimise`: two parameters converge fast, and an explorer should answer at once."""
    return torch.optim.LBFGS(
        parameters, max_iter=40, tolerance_grad=1e-9, tolerance_change=1e-12, line_search_fn="strong_wolfe"
    )
