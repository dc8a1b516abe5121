"""A corpus with two camps, and the single tone that comes closest to it, by either divergence."""

import pytest
import torch

from dpo_notes.maths.optimum import kl_divergence
from dpo_notes.worlds.finite.two_camps import (
    CURT,
    POLITE,
    SHARE_POLITE,
    TONES,
    corpus,
    fit_one_tone,
    mean_and_spread,
    one_tone,
)


def number(value):
    return torch.tensor(value, dtype=torch.float64)


def test_a_tone_has_the_mean_and_spread_it_was_given():
    log_probs = one_tone(number([0.5, -1.0]), number([0.7, 1.2]))
    mean, spread = mean_and_spread(log_probs)
    assert mean.tolist() == pytest.approx([0.5, -1.0])
    assert spread.tolist() == pytest.approx([0.7, 1.2])
    assert log_probs.logsumexp(-1).tolist() == pytest.approx([0, 0])


def test_the_corpus_has_two_camps_of_their_sizes_and_hardly_anything_between():
    probs = corpus().exp()
    assert probs[TONES > 0].sum().item() == pytest.approx(SHARE_POLITE, abs=0.01)
    assert probs[TONES.abs() < 0.3].sum() < 0.01


def test_with_the_corpus_in_front_every_start_leads_to_its_mean_and_spread():
    wanted = [value.item() for value in mean_and_spread(corpus())]
    for start in (-3.0, 3.0):
        found = fit_one_tone(lambda q: kl_divergence(corpus(), q), mean=start, spread=1.0)
        assert [v.item() for v in mean_and_spread(one_tone(number(found[0]), number(found[1])))] == pytest.approx(
            wanted, abs=1e-5
        )


@pytest.mark.parametrize(("start", "camp"), [(-3.0, CURT), (3.0, POLITE)])
def test_with_the_speaker_in_front_it_settles_in_the_camp_on_its_side(start, camp):
    tone, spread = fit_one_tone(lambda q: kl_divergence(q, corpus()), mean=start, spread=1.0)
    assert tone == pytest.approx(camp, abs=0.1)
    assert spread < 1
