"""The language of praise: many answers, and a partition function that can be written down."""

import math

import pytest
import torch

from dpo_notes.maths.errors import InputError
from dpo_notes.maths.optimum import kl_divergence, log_partition, optimal_policy
from dpo_notes.worlds.finite.word_by_word import PRAISE_REWARD, PRAISE_SHARE, by_praise, every_answer


def test_two_words_by_hand():
    """Neither, first, second, both: 0.64, 0.16, 0.16, 0.04, worth 0, 1/2, 1/2, 1."""
    world = every_answer(2)
    assert world.ref_log_probs.exp().tolist() == pytest.approx([0.64, 0.16, 0.16, 0.04])
    assert world.reward.tolist() == [0, 0.5, 0.5, 1]
    assert by_praise(2).ref_log_probs.exp().tolist() == pytest.approx([0.64, 0.32, 0.04])


@pytest.mark.parametrize("beta", [0.1, 1.0])
def test_putting_equals_together_changes_neither_z_nor_the_optimums_kl(beta):
    kls = []
    for world in (every_answer(9), by_praise(9)):
        assert log_partition(world.reward, world.ref_log_probs, beta=beta).item() == pytest.approx(
            9 * math.log(1 - PRAISE_SHARE + PRAISE_SHARE * math.exp(PRAISE_REWARD / beta))
        )
        best = optimal_policy(world.reward, world.ref_log_probs, beta=beta)
        kls.append(kl_divergence(best, world.ref_log_probs).item())
    assert kls[0] == pytest.approx(kls[1])


def test_long_answers_are_still_a_distribution():
    torch.testing.assert_close(by_praise(400).ref_log_probs.logsumexp(0).item(), 0.0, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("make", "words"), [(every_answer, 0), (every_answer, 21), (by_praise, 0)])
def test_impossible_lengths_are_refused(make, words):
    with pytest.raises(InputError, match=f"words is {words}"):
        make(words)
