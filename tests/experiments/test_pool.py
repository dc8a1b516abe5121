"""Best-of-n and the optimum from a pool of answers."""

import math

import pytest
import torch

from dpo_notes.experiments.frontier.pool import best_of_n, draw_pool, optimum
from dpo_notes.maths.best_of_n import best_of_n_kl_bound
from dpo_notes.maths.errors import InputError
from dpo_notes.worlds.reviews import world as reviews

PROMPTS = ["Where is Paris?", "Review of The Silent Harbour:", "Where is Paris?"]


@pytest.fixture
def pool(tiny_model, tiny_tokenizer):
    generator = torch.Generator().manual_seed(0)
    return draw_pool(tiny_model, tiny_tokenizer, PROMPTS, samples=5, max_new_tokens=8, generator=generator)


def test_a_pool_holds_the_figures_of_its_own_texts(pool):
    texts = [[pool.text(prompt, sample) for sample in range(5)] for prompt in range(3)]
    for prompt, row in enumerate(texts):
        assert pool.rewards[prompt].tolist() == reviews.reward([PROMPTS[prompt]] * 5, row).tolist()
        assert pool.grammatical[prompt].tolist() == [reviews.is_grammatical(PROMPTS[prompt] + text) for text in row]
    assert texts[0] != texts[2]  # the same prompt, other answers
    assert pool.lengths.max() <= 8


def test_best_of_all_samples_gives_the_best_reward_of_each_prompt(pool):
    best = best_of_n(pool.rewards, n=5)
    torch.testing.assert_close(best.mean(pool.rewards), pool.rewards.amax(dim=1))
    drawn = best.draw(1, count=4, generator=torch.Generator().manual_seed(0))
    assert set(pool.rewards[1, drawn].tolist()) == {pool.rewards[1].max().item()}


def test_best_of_n_chooses_by_the_scores_and_is_judged_by_any_values():
    """Scores 3, 2, 1: of two draws the first is kept in 2 of 3 choices, the second in 1; values 0, 6, 9 give 2."""
    best = best_of_n(torch.tensor([[3.0, 2.0, 1.0]], dtype=torch.float64), n=2)
    assert best.mean(torch.tensor([[0.0, 6.0, 9.0]], dtype=torch.float64)).tolist() == pytest.approx([2.0])


def test_divergence_of_best_of_n_is_0_for_one_draw_and_stays_below_the_bound():
    scores = torch.randn(4, 200, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert best_of_n(scores, n=1).kl.abs().max() < 1e-12
    for n in (2, 8):
        kl = best_of_n(scores, n=n).kl
        assert (kl < best_of_n_kl_bound(n)).all()
        assert kl.min() > 0.97 * best_of_n_kl_bound(n)


def test_optimum_by_hand():
    """Rewards log 3 and 0, twenty of each, beta 1: weights 3/80 and 1/80, KL = 3/4 log(3/2) + 1/4 log(1/2)."""
    rewards = torch.tensor([[math.log(3.0), 0.0]], dtype=torch.float64).repeat(2, 20)
    found = optimum(rewards, beta=1.0)
    assert found["reward"] == pytest.approx(0.75 * math.log(3))
    assert found["kl"] == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5))
    assert found["effective_samples"] == pytest.approx(40 * 0.8)


def test_the_optimum_is_not_estimated_if_the_samples_are_too_few_for_it():
    rewards = torch.arange(20, dtype=torch.float64)[None]
    assert optimum(rewards, beta=100.0) is not None
    assert optimum(rewards, beta=0.1) is None


def test_nothing_in_the_pool_lies_above_the_optimum_at_its_divergence():
    """Best-of-n as a policy over the pool: J = reward - beta KL is highest for the optimum at every beta."""
    rewards = torch.randn(1, 100, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    uniform = math.log(100)
    for beta in (0.5, 1.0, 2.0):
        best = optimum(rewards, beta=beta)
        for n in (1, 2, 3, 4, 8):
            weights = best_of_n(rewards, n=n).weights
            kl = (torch.special.xlogy(weights, weights).sum() + uniform).item()
            assert (weights * rewards).sum().item() - beta * kl <= best["reward"] - beta * best["kl"] + 1e-12


def test_a_pool_without_samples_is_refused(tiny_model, tiny_tokenizer):
    with pytest.raises(InputError, match="samples is 0"):
        draw_pool(tiny_model, tiny_tokenizer, PROMPTS, samples=0, max_new_tokens=8, generator=torch.Generator())
