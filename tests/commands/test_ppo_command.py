"""`dpo-notes ppo`: what it writes and prints, which reward it takes, and what it refuses."""

import argparse
import functools
import json
from pathlib import Path

import pytest
import torch
from runs import rows_in, save, write_lines, write_pairs
from transformers import AutoModelForCausalLM

from dpo_notes.cli import main
from dpo_notes.commands.ppo_run import ppo_gains, reward_named
from dpo_notes.commands.presets import PPO
from dpo_notes.commands.training_command import settings
from dpo_notes.language.reward_head import new_reward_model, reward_of
from dpo_notes.maths.errors import InputError
from dpo_notes.training.ppo import PPOConfig
from dpo_notes.worlds.reviews import world as reviews

SMALL = ("steps=3", "batch_size=4", "minibatch_size=2", "max_new_tokens=6", "eval_samples=4", "learning_rate=1e-3")


@pytest.fixture
def start(tmp_path, new_tiny_model, tiny_tokenizer, tiny_pairs) -> Path:
    """A folder with a model, and 24 comparisons of the review world."""
    save(new_tiny_model(), tiny_tokenizer, tmp_path / "model")
    write_pairs(tmp_path / "pairs.jsonl", tiny_pairs)
    return tmp_path


def run_ppo(start: Path, output: str, *more: str, data: str = "pairs.jsonl") -> int:
    words = ["ppo", "--model", str(start / "model"), "--data", str(start / data), "--output", str(start / output)]
    return main([*words, *(word for setting in SMALL for word in ("--set", setting)), *more])


def test_a_run_folder_holds_all_that_others_hold(start, capsys):
    assert run_ppo(start, "run", "--beta", "0.5") == 0
    printed = capsys.readouterr().out
    assert {path.name for path in (start / "run").iterdir()} == {
        ".dpo-notes.json", "model", "metrics.jsonl", "config.json", "curves.png", "samples.md", "checkpoint",
    }  # fmt: skip
    record = json.loads((start / "run/config.json").read_text(encoding="utf-8"))
    assert record["command"].startswith("dpo-notes ppo --model") and "--reward true --beta 0.5" in record["command"]
    assert (record["reward"], record["prompts"], record["eval_prompts"]) == ("true", 22, 2)
    assert record["config"]["beta"] == 0.5 and record["config"]["batch_size"] == 4
    assert [row["step"] for row in rows_in(start / "run")] == [0, 1, 2, 3]
    assert "22 prompts to answer, 2 held out" in printed and "12 responses" in printed
    assert "KL from the reference" in printed and "grammatical" in printed
    assert (start / "run/curves.png").read_bytes().startswith(b"\x89PNG")
    assert (start / "run/samples.md").read_text(encoding="utf-8").startswith("# Before and after")


def test_a_run_that_was_stopped_continues_by_the_command_that_it_printed(start, capsys, monkeypatch):
    """Ctrl-C in the third round. With the printed command, the run ends as if it had never been stopped."""
    settings = ("--set", "checkpoint_every=1")
    assert run_ppo(start, "whole", *settings) == 0
    calls, reward = [], reviews.reward

    @functools.wraps(reward)  # by whose name the run is known
    def interrupted(prompts, responses):
        calls.append(1)
        if len(calls) == 5:  # each round asks once, and the evaluation before them
            raise KeyboardInterrupt
        return reward(prompts, responses)

    with monkeypatch.context() as patch:
        patch.setattr(reviews, "reward", interrupted)
        assert run_ppo(start, "stopped", *settings) == 130
    error = capsys.readouterr().err
    assert "continue with: dpo-notes ppo" in error and error.rstrip().endswith("--resume")
    assert run_ppo(start, "stopped", *settings, "--resume") == 0
    assert rows_in(start / "stopped") == rows_in(start / "whole")


def test_a_reward_model_takes_the_place_of_the_true_reward(start, new_tiny_model, tiny_tokenizer):
    """The rewards of the first round are the reward model's, large on purpose; the policy learns, and loads again."""
    reward_model, tokenizer = new_reward_model(new_tiny_model(), tiny_tokenizer)
    with torch.no_grad():
        reward_model.score.weight.copy_(torch.linspace(5, 9, 32))
    save(reward_model, tokenizer, start / "reward")
    prompts, responses = ["Where is Paris?", "Where is Rome?"], [" In France.", ""]
    learnt = reward_named(str(start / "reward"), ["any prompt"])
    torch.testing.assert_close(learnt(prompts, responses), reward_of(reward_model, tokenizer, prompts, responses))
    assert run_ppo(start, "run", "--reward", str(start / "reward"), "--beta", "0") == 0
    assert abs(rows_in(start / "run")[1]["reward"]) > 5
    assert json.loads((start / "run/config.json").read_text(encoding="utf-8"))["reward"] == str(start / "reward")
    trained, before = (AutoModelForCausalLM.from_pretrained(start / name) for name in ("run/model", "model"))
    assert not torch.equal(trained.get_input_embeddings().weight, before.get_input_embeddings().weight)


def test_the_true_reward_is_refused_outside_the_review_world(start, capsys):
    write_lines(start / "other.jsonl", [{"prompt": "Who are you?", "chosen": " Me.", "rejected": " Nobody."}] * 12)
    assert run_ppo(start, "run", data="other.jsonl") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("dpo-notes: --reward true: 'Who are you?' is not a prompt of the review world")
    assert not (start / "run").exists()


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--beta", "-1"], "beta (if not 0) is -1.0"),
        (["--set", "clip=none"], "--set clip=none: expected a number"),
        (["--set", "betta=1"], "expected FIELD=VALUE with one of the fields beta, learning_rate, steps"),
        (["--reward", "no/such/folder"], "cannot load a model from no/such/folder"),
        (["--set", "minibatch_size=9"], "minibatch_size is 9; expected at most batch_size, 4"),
    ],
)
def test_bad_input_gets_one_line_and_exit_code_2_and_writes_nothing(words, problem, start, capsys):
    assert run_ppo(start, "run", *words) == 2
    error = capsys.readouterr().err
    assert error.startswith("dpo-notes: ") and problem in error and error.count("\n") == 1
    assert not (start / "run").exists()


def test_the_preset_holds_where_all_is_embedded_and_words_go_before_it():
    args = {"model": "embedded", "data": "embedded", "beta": None, "set": []}
    assert settings(PPOConfig, argparse.Namespace(**args), preset=PPO) == PPOConfig(**PPO)
    own = settings(PPOConfig, argparse.Namespace(**args | {"beta": 0.0, "set": ["steps=7"]}), preset=PPO)
    assert own == PPOConfig(**PPO | {"beta": 0.0, "steps": 7})


def test_the_table_by_hand():
    """20 rounds with rewards 1 to 20: the first tenth has 1.5 on average, the last 19.5."""
    rows = [{"step": 0, "eval/length": 5.0}] + [{"step": n, "reward": float(n)} for n in range(1, 20)]
    rows += [{"step": 20, "reward": 20.0, "eval/length": 7.5}]
    title, reward, length = ppo_gains(rows).splitlines()
    assert title.split() == ["before", "after"]
    assert reward.split()[-2:] == ["1.50", "19.50"]
    assert length.split()[-2:] == ["5.0", "7.5"]
    assert len(ppo_gains(rows[1:-1]).splitlines()) == 2  # nothing was held out


def test_a_reward_model_warns_of_no_odd_response_in_every_round(recwarn, start, new_tiny_model, tiny_tokenizer):
    """A text that is too long, which `reward_of` itself warns about."""
    save(*new_reward_model(new_tiny_model(), tiny_tokenizer), start / "reward")
    reward_fn, texts = reward_named(str(start / "reward"), []), (["Where is Paris? " * 40], [" In France." * 40])
    recwarn.clear()
    reward_fn(*texts)
    assert not recwarn.list
    with pytest.warns(UserWarning, match="longer than 96 tokens"):
        reward_of(*new_reward_model(new_tiny_model(), tiny_tokenizer), *texts)


def test_a_folder_without_a_reward_model_is_refused(start):
    with pytest.raises(InputError, match="model"):
        reward_named(str(start / "model"), ["Where is Paris?"])
