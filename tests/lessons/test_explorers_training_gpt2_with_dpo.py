"""The explorers of notebook 10: press buttons in a running event loop, read the artists and words."""

import asyncio
import copy
import time

import pytest
import torch
from hands_on import press, set_to, until

from dpo_notes.language.load import frozen_copy
from dpo_notes.language.score import response_logps
from dpo_notes.lessons.training_gpt2_with_dpo import explorers as module
from dpo_notes.lessons.training_gpt2_with_dpo import live_training
from dpo_notes.lessons.training_gpt2_with_dpo.explorers import LiveTraining, ThroughTraining
from dpo_notes.lessons.training_gpt2_with_dpo.snapshots import Snapshots
from dpo_notes.maths.errors import InputError
from dpo_notes.training.config import DPOConfig
from dpo_notes.training.dpo import train_dpo

pytestmark = pytest.mark.notebooks
CONFIG = DPOConfig(beta=1.0, learning_rate=1e-3, batch_size=4, max_length=96)


def weights(model):
    return [parameter.detach().clone() for parameter in model.parameters()]


def equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def steps_taken(explorer):
    return sum("loss" in row for row in explorer.loop.rows)


@pytest.fixture
def live(tiny_model, tiny_tokenizer, tiny_pairs, monkeypatch):
    monkeypatch.setattr(module, "SECONDS", 0.0)
    monkeypatch.setattr(module, "LOOK_EVERY", 2)
    return LiveTraining(tiny_model, tiny_tokenizer, tiny_pairs[:16], tiny_pairs[16:], config=CONFIG)


def test_on_the_website_one_run_is_wound_forwards_and_back(live):
    assert live.page_grid() == {"step": [0, 1, 2, 3, 4]}
    pictures = {}
    for step in (0, 4, 2, 0):
        live.go_to(step)
        assert steps_taken(live) == step and f"tep {step} of 4" in live.words
        pictures[step] = live.png
    assert len(set(pictures.values())) == 3
    assert live.words.startswith("Step 0 of 4")


def test_before_start_the_picture_stands_at_step_0_beside_the_other_run(live, tiny_model, tiny_tokenizer, tiny_pairs):
    assert live.words.startswith("Step 0 of 4: dpo, beta 1, learning rate 0.001.")
    assert all(len(line.get_xdata()) == 0 for line in live.lines.values())
    other = [{"step": step, "loss": 0.7 - step / 10, "rewards/margins": 3.0} for step in (1, 2)]
    beside = LiveTraining(
        tiny_model, tiny_tokenizer, tiny_pairs[:16], tiny_pairs[16:], config=CONFIG, beside=other, best=0.7
    )
    grey = next(line for line in beside.axes["loss"].lines if len(line.get_ydata()))
    assert list(grey.get_ydata()) == pytest.approx([0.6, 0.55])
    assert beside.axes["margin"].get_ylim()[1] > 3
    assert beside.png != live.png


def test_start_steps_pause_no_step_reset_the_original_weights(live, tiny_model):
    before = weights(tiny_model)

    async def reader():
        press(live, "Start")
        await until(lambda: steps_taken(live) == 2)
        press(live, "Pause")
        assert live.words.startswith("Paused: dpo, beta 1")
        assert "Step 2 of 4" in live.words
        trained = weights(live.policy)
        assert not equal(trained, before)
        await asyncio.sleep(0.1)
        assert steps_taken(live) == 2 and equal(weights(live.policy), trained)
        press(live, "Reset")
        assert live.words.startswith("Step 0 of 4")
        assert all(len(line.get_xdata()) == 0 for line in live.lines.values())
        press(live, "Start")
        assert equal(weights(live.policy), before)  # bitwise, and no step yet
        await until(lambda: live.loop.state == "ended")

    asyncio.run(reader())
    assert live.words.startswith("The run is over: dpo")
    assert "Step 4 of 4" in live.words and "On 8 held-out pairs accuracy is" in live.words
    assert equal(weights(tiny_model), before)


def test_the_lines_are_the_rows_of_train_dpo(live, tiny_model, tiny_tokenizer, tiny_pairs):
    async def reader():
        press(live, "Start")
        await until(lambda: live.loop.state == "ended")

    asyncio.run(reader())
    rows = list(
        train_dpo(frozen_copy(tiny_model).requires_grad_(), tiny_model, tiny_pairs[:16], tiny_tokenizer, CONFIG)
    )
    assert list(live.lines["loss"].get_data()[1]) == [row["loss"] for row in rows]
    assert list(live.lines["margin"].get_data()[1]) == [row["rewards/margins"] for row in rows]
    after, before = (response_logps(model, tiny_tokenizer, tiny_pairs[16:]) for model in (live.policy, tiny_model))
    for side, now, then in zip(("chosen", "rejected"), after, before, strict=True):
        assert list(live.lines[side].get_xdata()) == [0, 2, 4]
        assert live.lines[side].get_ydata()[-1] == pytest.approx((now - then).mean().item(), abs=1e-4)
    low, high = live.axes["logps"].get_ylim()
    assert all(low <= y <= high for side in ("chosen", "rejected") for y in live.lines[side].get_ydata())


def test_the_event_loop_is_never_held_up_for_longer_than_a_row(live, monkeypatch):
    """A row here takes 20 ms at least; were all taken at once, the clock would stand still for more than 200 ms."""
    slow = live_training.batch_logps
    monkeypatch.setattr(live_training, "batch_logps", lambda *a: time.sleep(0.02) or slow(*a))
    monkeypatch.setattr(live_training, "HELD_OUT_BATCH", 2)
    gaps = []

    async def clock():
        last = time.monotonic()
        while True:
            await asyncio.sleep(0)
            now = time.monotonic()
            gaps.append(now - last)
            last = now

    async def reader():
        ticking = asyncio.create_task(clock())
        press(live, "Start")
        await until(lambda: live.loop.state == "ended")
        ticking.cancel()

    asyncio.run(reader())
    held_up = [gap for gap in gaps if gap > 0.015]
    assert len(held_up) >= 4 + 3 * 4  # a gap for each step, and one for every two held-out pairs at each of three looks


def test_a_control_moved_during_a_run_counts_after_reset_and_says_so(live):
    async def reader():
        press(live, "Start")
        await until(lambda: steps_taken(live) == 1)
        press(live, "Pause")
        set_to(live, beta=0.1, loss="ipo")
        assert "Paused: dpo, beta 1" in live.words
        assert (
            "The controls have been changed; ipo, beta 0.1, learning rate 0.001 will count after Reset." in live.words
        )
        press(live, "Start")
        await until(lambda: steps_taken(live) == 2)
        press(live, "Pause")
        assert live.loop.rows[-1]["step"] == 2  # the old run went on
        press(live, "Reset")
        press(live, "Start")
        await until(lambda: steps_taken(live) == 1)
        press(live, "Pause")

    asyncio.run(reader())
    (first,) = (row for row in live.loop.rows if "loss" in row)
    assert first["loss"] == pytest.approx(25.0)  # IPO at the reference: (1 / (2 * 0.1))^2
    assert live.axes["loss"].get_ylim()[1] > 25
    assert "have been changed" not in live.words


def test_an_error_in_training_is_said_and_reset_begins_anew(live, monkeypatch):
    def failing(*args, **kwargs):
        yield {"step": 1, "epoch": 0.25, "loss": 0.7, "rewards/margins": 0.0}
        raise InputError("step 2: <loss> nan")

    async def reader():
        press(live, "Start")
        await until(lambda: live.loop.state == "failed")
        assert live.words.startswith("Training stopped: dpo, beta 1, learning rate 0.001. step 2: <loss> nan; Reset")
        assert "&lt;loss&gt; nan" in live.view.value
        press(live, "Start")
        assert live.words == "This run is over. Reset begins another one."
        press(live, "Reset")
        assert live.words.startswith("Step 0 of 4")

    monkeypatch.setattr(module, "live_rows", failing)
    asyncio.run(reader())


def test_running_the_cell_again_leaves_no_task_behind(live, tiny_model, tiny_tokenizer, tiny_pairs):
    async def reader():
        press(live, "Start")
        await until(lambda: steps_taken(live) == 1)
        LiveTraining(tiny_model, tiny_tokenizer, tiny_pairs[:16], tiny_pairs[16:], config=CONFIG)
        taken = steps_taken(live)
        await asyncio.sleep(0.05)
        assert steps_taken(live) == taken and live.words.startswith("Paused")
        return asyncio.all_tasks() - {asyncio.current_task()}

    assert asyncio.run(reader()) == set()


def test_without_a_kernel_start_says_what_is_missing(live):
    press(live, "Start")
    assert live.words == "no event loop to run in; expected a notebook with a running kernel"


@pytest.fixture
def snapshots(tiny_model, tiny_tokenizer, tiny_pairs):
    taken = Snapshots(tiny_model, tiny_tokenizer, tiny_pairs[:3], seed=0)
    policy = copy.deepcopy(tiny_model)
    for step in (0, 5):
        taken.take(policy, step=step)
        with torch.no_grad():
            for parameter in policy.parameters():
                parameter.mul_(1.01)
    taken.take(policy, step=10)
    return taken


def test_bars_are_log_ratios_and_the_margin_is_beta_times_the_difference_of_their_sums(snapshots):
    explorer = ThroughTraining(snapshots, beta=0.5)
    set_to(explorer, comparison=1, step=5)
    chosen, rejected = ([bar.get_height() for bar in explorer.bars[side]] for side in ("chosen", "rejected"))
    taken = snapshots.taken[1]
    assert chosen[: len(taken.chosen[1])] == pytest.approx(taken.chosen[1].tolist())
    assert not any(chosen[len(taken.chosen[1]) :])
    assert explorer.dot.get_ydata()[0] == pytest.approx(0.5 * (sum(chosen) - sum(rejected)), abs=1e-5)
    assert list(explorer.line.get_xdata()) == [0, 5, 10]
    assert f"the chosen answer {sum(chosen):+.2f} nats" in explorer.words
    assert snapshots.pairs[1].prompt in explorer.words


def test_at_step_0_all_bars_are_0_and_the_policy_would_bet_evenly(snapshots):
    explorer = ThroughTraining(snapshots, beta=1.0)
    set_to(explorer, step=0)
    assert not any(bar.get_height() for side in explorer.bars.values() for bar in side)
    assert "The margin is 0.00: the policy would bet 50%" in explorer.words


def test_another_comparison_brings_its_own_words_below_the_bars(snapshots):
    explorer = ThroughTraining(snapshots, beta=1.0)
    set_to(explorer, comparison=2)
    labels = [label.get_text() for label in explorer.tokens["rejected"].get_xticklabels()]
    words = snapshots.words[2][1]
    assert labels[: len(words)] == words and not any(labels[len(words) :])
