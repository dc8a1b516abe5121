"""Bradley–Terry: from rewards to preferences, and back by maximum likelihood."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import logsigmoid

from dpo_notes.maths.checks import check_positive, check_same_shape
from dpo_notes.maths.errors import InputError

ELO_PER_NAT = 400 / math.log(10)  # Elo's scale: 400 points are odds of 10 to 1
MOST_STEPS = 200  # of Newton's method; a dozen are usual


def preference_probability(
    reward_chosen: Float[Tensor, "*pairs"], reward_rejected: Float[Tensor, "*pairs"]
) -> Float[Tensor, "*pairs"]:
    """Probability that the first response of each pair is preferred to the second, from 0 to 1.

    p(chosen over rejected) = exp(r_w) / (exp(r_w) + exp(r_l)) = sigma(r_w - r_l)
    (Bradley and Terry 1952; DPO, Rafailov et al. 2023, arXiv 2305.18290, Eq. 1.)
    The second form is the one computed: the first overflows for rewards of a few hundred.

    reward_chosen, reward_rejected: rewards of the two responses to one prompt, in nats, any finite value, any shape.
    Only their difference matters. Raises InputError where the shapes differ or the dtype is not floating point.
    Known value: 1/2 when the rewards are equal; 3/4 when they differ by log 3.
    """
    check_same_shape(reward_chosen=reward_chosen, reward_rejected=reward_rejected)
    return torch.sigmoid(reward_chosen - reward_rejected)


def preference_nll(
    reward_chosen: Float[Tensor, "*pairs"], reward_rejected: Float[Tensor, "*pairs"]
) -> Float[Tensor, "*pairs"]:
    """Negative log-likelihood of each observed preference, in nats, 0 or more.

    nll = -log sigma(r_w - r_l)   (reward modelling: Rafailov et al. 2023, arXiv 2305.18290, Eq. 2)

    Naive: -log(sigmoid(margin)), which is infinite in float32 for margins below about -104; logsigmoid computes
    min(margin, 0) - log(1 + exp(-|margin|)) instead and stays exact. The reward model and DPO both call this function:
    DPO is this loss on implicit rewards.

    reward_chosen, reward_rejected: rewards of the two responses to one prompt, in nats, any finite value, any shape.
    Raises InputError where the shapes differ or the dtype is not floating point.
    Known value: log 2 when the rewards are equal.
    """
    check_same_shape(reward_chosen=reward_chosen, reward_rejected=reward_rejected)
    return -logsigmoid(reward_chosen - reward_rejected)


def preference_entropy(
    reward_first: Float[Tensor, "*pairs"], reward_second: Float[Tensor, "*pairs"]
) -> Float[Tensor, "*pairs"]:
    """Entropy of the preference between the two responses of each pair, in nats, from 0 to log 2.

    H = -p log p - (1 - p) log(1 - p), p = sigma(r_first - r_second)
    With the true rewards it is the lowest expected preference_nll of any predictor: the cross-entropy of other
    probabilities exceeds it by their KL divergence (Gibbs).

    Arguments and errors as in preference_nll; exchanging the two changes nothing.
    Known value: log 2 when the rewards are equal.
    """
    probability = preference_probability(reward_first, reward_second)
    nll, nll_of_opposite = preference_nll(reward_first, reward_second), preference_nll(reward_second, reward_first)
    return probability * nll + (1 - probability) * nll_of_opposite


def margin_correlation(margins: Float[Tensor, " pairs"], other_margins: Float[Tensor, " pairs"]) -> Float[Tensor, ""]:
    """Correlation of two rewards within pairs, from -1 to 1: how well they agree where rewards are identified.

    correlation = sum of m_i * n_i / sqrt(sum of m_i^2 * sum of n_i^2)
    This is Pearson's correlation of the margins with every pair counted in both orders, so it does not matter which
    response comes first. A correlation of rewards would change if a constant were added for all responses of a prompt.

    margins, other_margins: reward of the first response minus that of the second, by two different rewards, in nats.
    Raises InputError where the shapes differ. NaN where one of the rewards is equal within every pair.
    Known value: 1 when one reward is a positive multiple of the other.
    """
    check_same_shape(margins=margins, other_margins=other_margins)
    return (margins * other_margins).sum() / (margins.norm() * other_margins.norm())


def elo_from_reward(reward: Float[Tensor, "*items"]) -> Float[Tensor, "*items"]:
    """Elo rating of each reward, in Elo points above the zero of the reward.

    elo = 400 / ln(10) * r, because Elo writes the odds as 10^(difference / 400) and Bradley–Terry as e^(difference).

    reward: in nats, any shape. Only differences of ratings have a meaning, as with rewards.
    Known value: log 10 nats (odds of 10 to 1) are 400 points; one nat is 173.7 points.
    """
    return ELO_PER_NAT * reward


def sample_preferences(
    rewards: Float[Tensor, " responses"], pairs: Int[Tensor, "pairs 2"], *, generator: torch.Generator
) -> Int[Tensor, "pairs 2"]:
    """The same pairs, each as (chosen, rejected), drawn from the Bradley–Terry probabilities of the rewards.

    rewards: one per response, in nats. pairs: two indices into `rewards` per row, in any order; a pair that occurs
    twice is judged twice, independently. generator: the only source of randomness; same state, same preferences.
    Raises InputError where an index is not one of the responses.
    Known value: with equal rewards each of the two is chosen half of the time.
    """
    _check_pairs(pairs, len(rewards))
    first, second = pairs.unbind(dim=1)
    probability = preference_probability(rewards[first], rewards[second])
    draws = torch.rand(len(pairs), generator=generator, device=generator.device, dtype=torch.float64)
    first_wins = draws.to(probability.device) < probability
    return torch.where(first_wins[:, None], pairs, pairs.flip(1))


def win_counts(pairs: Int[Tensor, "pairs 2"], n_items: int) -> Float[Tensor, "responses responses"]:
    """How often item i was chosen over item j, at [i, j], float64 on the CPU. Known value: they sum to the pairs.

    pairs: one row (chosen, rejected) per comparison. Raises InputError for an index that is not 0 to n_items - 1.
    """
    _check_pairs(pairs, n_items)
    chosen, rejected = pairs.to("cpu", torch.long).unbind(dim=1)
    return torch.bincount(chosen * n_items + rejected, minlength=n_items**2).reshape(n_items, n_items).double()


def preference_information(
    rewards: Float[Tensor, " responses"], games: Float[Tensor, "responses responses"]
) -> Float[Tensor, "responses responses"]:
    """Fisher information of comparisons about the rewards, in 1 / nat^2: the Hessian of the sum of preference_nll.

    w_ij = games_ij * sigma(r_i - r_j) * sigma(r_j - r_i);   at [i, i] the sum over j of w_ij, at [i, j] -w_ij

    It is the Laplacian of a graph with an edge of weight w_ij for two items that were compared: v @ information @ v is
    the sum over edges of w_ij * (v_i - v_j)^2, never below 0, and 0 for a constant v. It does not depend on who won, so
    the observed information is also the expected one.

    rewards: one per item, in nats. games: how often i and j were compared, at [i, j] and at [j, i].
    Known value: n comparisons of two items of equal reward: n / 4 * [[1, -1], [-1, 1]].
    """
    row, column = _as_matrices(rewards)
    surprise = preference_probability(column, row)  # [i, j]: probability that j beats i
    weights = games * surprise * surprise.T
    return torch.diag(weights.sum(dim=1)) - weights


def fit_bradley_terry(
    pairs: Int[Tensor, "pairs 2"], n_items: int, *, ridge: float = 0.0
) -> Float[Tensor, " responses"]:
    """Maximum-likelihood reward of each item, in nats, float64, with mean 0 (only differences are identified).

    minimises   sum over pairs of preference_nll(r_chosen, r_rejected) + ridge / 2 * sum over items of r^2
    by Newton's method; the objective is convex. Without ridge, the minimum exists only if the who-beat-whom graph is
    strongly connected (Ford 1957). Otherwise some rewards would grow without limit.

    pairs: one row (chosen, rejected) per comparison, indices from 0 to n_items - 1. An item compared with itself adds
    a constant and changes nothing. n_items: how many items there are, compared or not. ridge: strength of the pull
    to 0, in units of 1 / nat^2, 0 or more; it makes the answer finite for any comparisons.
    Raises InputError for indices out of range, a ridge that is negative or lost in rounding, and, without ridge,
    separated items, which it names.
    Known value: two items, the first chosen a times and the second b times: r_0 - r_1 = log(a / b).
    """
    if ridge != 0:
        check_positive("ridge, where it is not 0,", ridge)
    wins = win_counts(pairs, n_items)
    if ridge == 0:
        _check_connected(wins > 0)
    return _newton(wins, ridge)


def _newton(wins: Float[Tensor, "items items"], ridge: float) -> Float[Tensor, " items"]:
    """The minimiser: `wins[i, j]` counts how often item i was chosen over item j."""
    n_items = len(wins)
    games = wins + wins.T
    rewards = wins.new_zeros(n_items)
    # Adding a constant to all rewards changes no probability, so the Hessian is singular along (1, …, 1). This
    # matrix acts along that direction alone, where the gradient is 0: the step stays perpendicular to it, mean 0.
    gauge, identity = torch.full_like(wins, 1 / n_items), torch.eye(n_items, dtype=wins.dtype)
    for _ in range(MOST_STEPS):
        row, column = _as_matrices(rewards)
        surprise = preference_probability(column, row)  # [i, j]: probability that j beats i
        gradient = (wins.T * surprise.T - wins * surprise).sum(dim=1) + ridge * rewards
        hessian = preference_information(rewards, games) + ridge * identity + gauge
        step = torch.linalg.solve(hessian, gradient)
        spread = (step.max() - step.min()).item()
        # A full step may overshoot and never come back, where sigma is flat. Along the step the curvature grows by
        # e^(spread * length) at most, so up to this length the way still leads down (Sun and Tran-Dinh 2019,
        # arXiv 1703.04599); it tends to 1 near the minimum.
        rewards = rewards - step * (math.log1p(spread) / spread if spread else 1.0)
        if spread < 1e-8:  # what is left is of the order of its square
            return rewards - rewards.mean()
    raise InputError(
        f"the rewards did not settle in {MOST_STEPS} steps with ridge {ridge:g}; expected a ridge that is 0 "
        "or large enough to tell from 0, such as 0.001"
    )


def _as_matrices(rewards: Float[Tensor, " items"]) -> tuple[Tensor, Tensor]:
    """r_i and r_j as two matrices over (i, j)."""
    row = rewards[:, None].expand(-1, len(rewards))
    return row, row.T


def _check_pairs(pairs: Tensor, n_items: int) -> None:
    if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.is_floating_point() or pairs.dtype == torch.bool:
        raise InputError(f"pairs is {pairs.dtype} of shape {tuple(pairs.shape)}; expected integers, two per row")
    if n_items < 1:
        raise InputError(f"there are {n_items} items; expected at least 1")
    wrong = ((pairs < 0) | (pairs >= n_items)).any(dim=1).nonzero().flatten().tolist()
    if wrong:
        raise InputError(f"pairs row {wrong[0]} is {pairs[wrong[0]].tolist()}; expected indices 0 to {n_items - 1}")


def _check_connected(beat: Tensor) -> None:
    """Raise InputError unless a chain of wins leads from each item to each other one; `beat[i, j]`: i won over j."""
    for graph, from_first in ((beat, True), (beat.T, False)):
        reached = torch.zeros(len(beat), dtype=torch.bool)
        reached[0] = True
        while (grown := reached | graph[reached].any(dim=0)).sum() > reached.sum():
            reached = grown
        if not reached.all():
            losers, winners = (reached, ~reached) if from_first else (~reached, reached)
            raise InputError(
                f"no item of {_names(losers)} was ever chosen over an item of {_names(winners)}, so no finite rewards "
                "are most likely; expected chains of wins both ways between any two items, or ridge > 0"
            )


def _names(items: Tensor) -> str:
    indices = items.nonzero().flatten().tolist()
    shown = ", ".join(map(str, indices[:8]))
    return f"{{{shown}, … {len(indices) - 8} more}}" if len(indices) > 8 else f"{{{shown}}}"


def bayes_accuracy(reward_chosen: Float[Tensor, " batch"], reward_rejected: Float[Tensor, " batch"]) -> float:
    """The highest expected accuracy of any predictor on Bradley–Terry labels of these pairs, from 1/2 to 1.

    Mean over pairs of max(p, 1 - p), p = sigma(reward_chosen - reward_rejected): even the true rewards do not predict
    the labels that came out against the odds. Known value: 1/2 when all rewards are equal.
    """
    p = preference_probability(reward_chosen, reward_rejected)
    return torch.maximum(p, 1 - p).mean().item()
