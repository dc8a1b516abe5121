"""Entropy, cross-entropy and perplexity."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dpo_notes.maths.entropy import cross_entropy, entropy, perplexity
from dpo_notes.maths.errors import InputError
from dpo_notes.maths.optimum import kl_divergence

LOGITS = st.lists(st.floats(-20, 20), min_size=4, max_size=4)


def logs(*probs: float) -> torch.Tensor:
    return torch.tensor(probs, dtype=torch.float64).log()


def test_two_responses_by_hand():
    """p = 3/4, 1/4; q = 1/2, 1/2. H(p, q) = log 2; H(q, p) = -(log 3/4 + log 1/4) / 2; H(q) = log 2."""
    p, q = logs(3 / 4, 1 / 4), logs(1 / 2, 1 / 2)
    assert cross_entropy(p, q).item() == pytest.approx(math.log(2))
    assert cross_entropy(q, p).item() == pytest.approx(-math.log(3 / 16) / 2)
    assert entropy(q).item() == pytest.approx(math.log(2))


@given(LOGITS, LOGITS)
def test_cross_entropy_is_entropy_plus_kl_and_never_below_entropy(left, right):
    p, q = (torch.tensor(side, dtype=torch.float64).log_softmax(-1) for side in (left, right))
    torch.testing.assert_close(cross_entropy(p, q), entropy(p) + kl_divergence(p, q))
    assert cross_entropy(p, q) >= entropy(p) - 1e-12 and -1e-12 <= entropy(p) <= math.log(4) + 1e-12


def test_the_impossible_costs_nothing_where_it_never_comes_and_everything_where_it_may():
    certain, open_ = logs(1.0, 0.0), logs(0.5, 0.5)
    assert entropy(certain) == 0 and cross_entropy(certain, open_).item() == pytest.approx(math.log(2))
    assert cross_entropy(open_, certain) == math.inf


def test_the_gradient_on_logits_is_prediction_minus_truth():
    p, scores = logs(0.7, 0.2, 0.1), torch.tensor([0.3, -1.0, 2.0], dtype=torch.float64, requires_grad=True)
    cross_entropy(p, scores.log_softmax(-1)).backward()
    torch.testing.assert_close(scores.grad, scores.detach().softmax(-1) - p.exp())


def test_perplexity_is_the_number_of_equally_likely_tokens():
    assert perplexity(logs(1 / 7, 1 / 7, 1 / 7)).item() == pytest.approx(7)
    assert perplexity(logs(1 / 2, 1 / 8)).item() == pytest.approx(4)  # the geometric mean of 2 and 8
    assert perplexity(torch.stack([logs(1.0, 1.0), logs(0.5, 0.5)])).tolist() == pytest.approx([1, 2])


def test_what_is_no_distribution_and_no_token_are_refused():
    with pytest.raises(InputError, match="log_q"):
        cross_entropy(logs(0.5, 0.5), logs(0.5, 0.6))
    for nothing in (torch.zeros(0), torch.zeros(3, 0)):
        with pytest.raises(InputError, match="at least one token"):
            perplexity(nothing)
