"""The expected answers of notebook 11 computed in a second way; test_exercises.py tests their mistakes."""

import math

import pytest
import torch

from dpo_notes.experiments.frontier.pool import optimum
from dpo_notes.experiments.frontier.record import read_record
from dpo_notes.lessons.did_it_work.pictures import points_of
from dpo_notes.maths.best_of_n import best_of_n_policy
from dpo_notes.maths.optimum import kl_divergence
from dpo_notes.maths.win_rate import wilson_interval
from dpo_notes.pairs.embedded import data_folder
from dpo_notes.teaching.checking import exercise

pytestmark = pytest.mark.notebooks


def test_nine_of_ten_by_the_packages_interval():
    assert exercise("11.1").expected == pytest.approx(wilson_interval(0.9, 10, z=1.96)[1:], abs=1e-4)


@pytest.mark.parametrize(("place", "count"), [(0, 20), (1, 200)])
def test_the_rate_that_beats_a_coin_is_the_first_notch_that_does(place, count):
    rate = exercise("11.3").expected[place]
    assert wilson_interval(rate, count).low > 0.5 > wilson_interval(rate - 0.005, count).low


def test_the_run_nearest_to_dpo_is_read_off_the_record():
    record = read_record(data_folder() / "recorded" / "frontier" / "frontier.json")
    (dpo,) = (run for run in points_of(record, "dpo", value=0.25) if run["seed"] == 0)
    ppo = [run for run in points_of(record, "ppo-true") if run["seed"] == 0]
    nearest = min(ppo, key=lambda run: abs(run["kl"] - dpo["kl"]))
    assert exercise("11.4").expected == pytest.approx([nearest["value"], nearest["reward"] - dpo["reward"]], abs=1e-6)


def test_pass_or_fail_is_best_of_n_of_two_answers():
    for p, n in exercise("11.5").cases:
        reference = torch.tensor([1 - p, p], dtype=torch.float64).log()
        kept = best_of_n_policy(torch.tensor([0.0, 1.0], dtype=torch.float64), reference, n=n)
        assert exercise("11.5").expected(p, n) == pytest.approx(kl_divergence(kept, reference).item(), abs=1e-12)


def test_a_point_of_the_upper_line_is_the_packages():
    rewards = torch.randn(40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    point = optimum(rewards[None], beta=1.0)
    assert exercise("11.6").expected(rewards, 1.0).tolist() == pytest.approx([point["reward"], point["kl"]])


def test_the_smallest_case_in_which_k1_is_the_quieter_one():
    """Answers aa, ba, bb: the reference 1/2, 1/8, 3/8; the policy 4/5, 1/5, 0. KLs of the letters by the package."""
    policy, reference = (torch.tensor(p, dtype=torch.float64).log() for p in ([0.8, 0.2, 0], [0.5, 0.125, 0.375]))
    k1 = (policy - reference)[:2]
    first, second = (
        torch.tensor(p, dtype=torch.float64).log() for p in ([[0.8, 0.2], [0.5, 0.5]], [[1, 0], [0.25, 0.75]])
    )
    exact = kl_divergence(*first) + torch.stack([torch.zeros(()), kl_divergence(*second)])
    weights = policy[:2].exp()
    spread = [(weights @ (values - weights @ values) ** 2).sqrt().item() for values in (k1, exact)]
    kl, quiet, loud = exercise("11.7").expected
    assert kl == pytest.approx(kl_divergence(policy, reference).item())
    assert spread == pytest.approx([quiet, loud], abs=1e-12)
    assert (weights @ exact).item() == pytest.approx(math.log(8 / 5))
