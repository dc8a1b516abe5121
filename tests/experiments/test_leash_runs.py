"""The recorded runs of notebook 04, and how they are recorded."""

import pytest

from dpo_notes.experiments.frontier.record import read_record
from dpo_notes.experiments.leash_runs import BETAS, CONFIG, EVERY, FILE, SHOWN, record
from dpo_notes.training.reinforce import ReinforceConfig

pytestmark = pytest.mark.notebooks

SHORT = ReinforceConfig(steps=1, batch_size=8, learning_rate=1e-2, max_new_tokens=12)


def test_a_run_is_looked_at_before_and_after():
    first, last = record(0.0, config=SHORT, listeners=2)
    assert (first["step"], last["step"]) == (0, 1)
    assert first["kl"] == 0 < last["kl"]
    assert len(first["texts"]) == len(SHOWN)


def test_what_is_in_the_repository_is_what_the_command_writes():
    kept = read_record(FILE)
    steps = range(0, CONFIG.steps + 1, EVERY)
    assert [(row["beta"], row["step"]) for row in kept["rows"]] == [(beta, step) for beta in BETAS for step in steps]
    assert kept["prompts"] == SHOWN
    assert kept["settings"]["learning_rate"] == CONFIG.learning_rate


def test_what_the_notebook_says_of_the_recorded_runs():
    last = {row["beta"]: row for row in read_record(FILE)["rows"] if row["step"] == CONFIG.steps}
    rewards = [last[beta]["reward"] for beta in BETAS]
    assert rewards == sorted(rewards, reverse=True)  # the larger beta is, the less the reward rises
    assert last[0.0]["grammatical"] < 0.05
    assert min(last[beta]["grammatical"] for beta in BETAS[1:]) > 0.6
