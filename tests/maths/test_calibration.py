"""Reliability diagrams of preferences and their one-number summary."""

import math

import pytest
import torch
from sklearn.calibration import calibration_curve
from tensors import doubles, seeded

from dpo_notes.maths.bradley_terry import preference_probability, sample_preferences
from dpo_notes.maths.calibration import expected_calibration_error, reliability
from dpo_notes.maths.errors import InputError


def drawn(count: int, *, scale: float = 1.0) -> torch.Tensor:
    """Predicted probabilities of `count` drawn Bradley–Terry preferences, by rewards `scale` times the true ones."""
    generator = seeded()
    rewards = torch.randn(2 * count, generator=generator, dtype=torch.float64)
    ranked = sample_preferences(rewards, torch.arange(2 * count).view(-1, 2), generator=generator)
    return preference_probability(*(scale * rewards[ranked]).unbind(1))


def test_five_pairs_by_hand():
    """Folded: 0.9 and 0.8 came true, 0.7 did not, 0.55 and 0.6 did. Two bins, from 0.5 and from 0.75.

    Lower: predicted (0.7 + 0.55 + 0.6) / 3 = 0.61666…, observed 2/3. Upper: predicted 0.85, observed 1.
    Error: 3/5 * |2/3 - 0.61666…| + 2/5 * |1 - 0.85| = 0.03 + 0.06.
    """
    diagram = reliability(doubles(0.9, 0.3, 0.55, 0.8, 0.6), n_bins=2)
    torch.testing.assert_close(diagram.predicted, doubles(1.85 / 3, 0.85))
    torch.testing.assert_close(diagram.observed, doubles(2 / 3, 1))
    assert diagram.counts.tolist() == [3, 2]
    assert expected_calibration_error(diagram) == pytest.approx(0.09)


def test_three_of_four_that_were_given_three_quarters_are_calibrated():
    diagram = reliability(doubles(0.75, 0.75, 0.75, 0.25), n_bins=10)
    assert diagram.counts.tolist() == [0, 0, 0, 0, 0, 4, 0, 0, 0, 0]
    assert (diagram.predicted[5].item(), diagram.observed[5].item()) == (0.75, 0.75)
    assert expected_calibration_error(diagram) == 0


def test_a_model_that_always_predicts_one_half_is_calibrated():
    """All ties: each counts as half a success, predicted 1/2 and observed 1/2."""
    diagram = reliability(torch.full((7,), 0.5), n_bins=10)
    assert (diagram.counts[0].item(), diagram.predicted[0].item(), diagram.observed[0].item()) == (7, 0.5, 0.5)
    assert expected_calibration_error(diagram) == 0


def test_certainty_belongs_to_the_last_bin_and_empty_bins_hold_no_number():
    diagram = reliability(doubles(1, 1, 0), n_bins=4)
    assert diagram.counts.tolist() == [0, 0, 0, 3]
    assert diagram.predicted[3] == 1
    assert diagram.observed[3].item() == pytest.approx(2 / 3)
    assert diagram.predicted[:3].isnan().all() and diagram.observed[:3].isnan().all()
    assert expected_calibration_error(diagram) == pytest.approx(1 / 3)


def test_it_does_not_matter_which_response_is_named_first():
    """With the opposite outcomes every predicted value stays, and every observed one is its complement."""
    p = drawn(500)
    one, other = reliability(p, n_bins=8), reliability(1 - p, n_bins=8)
    torch.testing.assert_close(one.predicted, other.predicted)
    torch.testing.assert_close(one.observed, 1 - other.observed)


@pytest.mark.parametrize("n_bins", [1, 5, 10])
def test_folded_bins_are_the_upper_half_of_scikit_learns_curve(n_bins):
    """Its bins go from 0 to 1, ours from 1/2: twice as many of them are the same. It leaves empty bins out."""
    p = drawn(400)
    diagram = reliability(p, n_bins=n_bins)
    came_true, folded = (p > 0.5).numpy(), torch.maximum(p, 1 - p).numpy()
    observed, predicted = calibration_curve(came_true, folded, n_bins=2 * n_bins, strategy="uniform")
    kept = diagram.counts > 0
    torch.testing.assert_close(diagram.observed[kept], torch.from_numpy(observed))
    torch.testing.assert_close(diagram.predicted[kept], torch.from_numpy(predicted))


def test_folding_gives_the_error_of_both_orders_on_the_whole_range():
    """Each pair twice, as (p, came true) and (1 - p, did not): twenty bins from 0 to 1, the same mean distance."""
    p = drawn(400)
    both, outcome = torch.cat([p, 1 - p]), torch.cat([torch.ones(400), torch.zeros(400)]).double()
    bins = (both * 20).long().clamp(max=19)
    gaps = [(outcome[bins == b] - both[bins == b]).sum().abs() for b in range(20)]
    error = (torch.stack(gaps).sum() / 800).item()
    assert expected_calibration_error(reliability(p, n_bins=10)) == pytest.approx(error)


def test_true_probabilities_are_calibrated_up_to_chance_and_too_bold_ones_are_not():
    """Chance leaves about 0.4 / sqrt(pairs in a bin): 0.4 / sqrt(4000) = 0.0063 for 40,000 pairs."""
    assert expected_calibration_error(reliability(drawn(40_000), n_bins=10)) < 0.01
    few = [expected_calibration_error(reliability(p, n_bins=10)) for p in drawn(40_000).split(400)]
    assert sum(few) / len(few) == pytest.approx(0.4 / math.sqrt(40), rel=0.25)
    assert expected_calibration_error(reliability(drawn(40_000, scale=3.0), n_bins=10)) > 0.1


@pytest.mark.parametrize(
    ("probabilities", "n_bins", "message"),
    [
        (doubles(), 10, "no probabilities"),
        (doubles(0.5, 1.2), 10, "holds 1.2; expected 0 to 1"),
        (doubles(0.5, -0.1), 10, "holds -0.1; expected 0 to 1"),
        (doubles(math.nan), 10, "holds nan"),
        (doubles(0.5), 0, "n_bins is 0; expected at least 1"),
    ],
)
def test_what_is_no_probability_is_refused(probabilities, n_bins, message, types_unchecked):
    with pytest.raises(InputError, match=message):
        reliability(probabilities, n_bins=n_bins)
