"""The expected answers of notebook 12 computed in a second way; test_exercises.py tests their mistakes."""

import json
import math
from collections import Counter
from functools import partial

import pytest
import torch

from dpo_notes.lessons.beyond_dpo import exercises as beyond_dpo
from dpo_notes.lessons.beyond_dpo.explorers import FITTED, NoisyLabels
from dpo_notes.maths.loss_family import ipo_loss, nca_loss
from dpo_notes.maths.losses import dpo_loss
from dpo_notes.maths.optimal_frontier import optimal_point
from dpo_notes.pairs.embedded import data_folder
from dpo_notes.teaching.checking import exercise, known
from dpo_notes.worlds.finite.preferences import cycle, win_rates
from dpo_notes.worlds.finite.two_answers import leading_margin
from dpo_notes.worlds.finite.world import FiniteWorld, minimise
from dpo_notes.worlds.reviews.help_desk import HELD_OUT, HURRIED, help_desk, judgements, worth

pytestmark = pytest.mark.notebooks


def test_ipo_and_dpo_lead_where_the_exercises_say():
    assert leading_margin(ipo_loss, beta=0.25, preference=0.9) == pytest.approx(exercise("12.1").expected)
    assert leading_margin(dpo_loss, beta=0.5, preference=0.74) == pytest.approx(exercise("12.2").expected)


def test_the_losses_to_trust_are_those_of_the_notebooks_explorer():
    world = FiniteWorld(
        reward=torch.tensor([1.6, 0.8, 0.0, -0.8, -1.6], dtype=torch.float64),
        ref_log_probs=torch.tensor([0.10, 0.25, 0.30, 0.20, 0.15], dtype=torch.float64).log(),
    )
    explorer, nearest = NoisyLabels(world), []
    for flips in (0.3, 0.0):
        explorer.controls["flips"].value, explorer.controls["assumed"].value = flips, 0.3
        nearest.append(min(FITTED, key=explorer.off.get))
    assert nearest == exercise("12.4").expected


def test_the_win_rates_of_the_circle_are_the_packages():
    assert win_rates(cycle(0.8), beyond_dpo.THIRDS).tolist() == pytest.approx(exercise("12.5").expected)


def test_nca_holds_the_chosen_response_there():
    def loss_of(chosen):
        return nca_loss(chosen, torch.full_like(chosen, -20), beta=0.5).sum()

    found = minimise(loss_of, torch.zeros(1, dtype=torch.float64)).item()
    assert found == pytest.approx(exercise("12.6").expected, abs=1e-6)


def test_the_faults_of_the_file_are_counted():
    rows = judgements(help_desk())
    ((_, times),) = Counter(rows).most_common(1)
    assert exercise("12.7").expected == [HURRIED, times]


def test_the_target_lies_between_what_half_the_work_earns_and_what_is_possible():
    """At the budget: DPO with one fault left, at its best beta, below; with both mended above; the best policy far above."""
    desk = help_desk()
    for once, careful, enough in ((True, False, False), (False, True, False), (True, True, True)):
        found = [
            worth(desk, beyond_dpo.policy(beta=beta, once=once, careful=careful)) for beta in (0.25, 0.3, 0.38, 0.45)
        ]
        best = max(w.reward for w in found if w.kl <= beyond_dpo.BUDGET)
        assert (best >= beyond_dpo.TARGET) is enough
    reward, kl = optimal_point(desk.reward[-HELD_OUT:], desk.ref_log_probs[-HELD_OUT:], beta=0.3)
    assert kl.mean() <= beyond_dpo.BUDGET
    assert reward.mean() > beyond_dpo.TARGET + 0.15


def test_the_plain_choice_does_not_pass():
    plain = beyond_dpo.policy(beta=0.1, once=False, careful=False)
    assert beyond_dpo.problem_of(plain) == beyond_dpo.TOO_FAR_FOR_NOTHING
    assert beyond_dpo.problem_of(plain.tolist()) == beyond_dpo.TOO_FAR_FOR_NOTHING  # as it comes back from a file


def test_the_notebook_names_the_target_of_the_checker():
    notebook = json.loads((data_folder().parent / "notebooks" / "12_beyond_dpo.ipynb").read_text(encoding="utf-8"))
    statement = next("".join(cell["source"]) for cell in notebook["cells"] if cell["id"] == "ex-8")
    assert f"**{beyond_dpo.TARGET}**" in statement
    assert f"**{beyond_dpo.BUDGET}**" in statement


def test_the_right_answers_are_no_accident_of_rounding():
    answer = known(exercise("12.8"), exercise("12.8").expected)
    found = worth(help_desk(), answer)
    assert found.reward > beyond_dpo.TARGET + 0.01
    assert found.kl < beyond_dpo.BUDGET - 0.05
    assert math.isfinite(partial(leading_margin, ipo_loss)(beta=0.25, preference=1.0))
