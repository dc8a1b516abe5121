"""The body of `dpo-notes ppo`: load, check, train under a progress bar, and write a run folder."""

import argparse
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from torch import Tensor
from transformers.utils.logging import disable_progress_bar

from dpo_notes.commands.known_rewards import judge_of
from dpo_notes.commands.presets import PPO, TRUE_REWARD
from dpo_notes.commands.prompts import command_to_sample, for_a_table
from dpo_notes.commands.report import line, read_rows, speech_lines, write_samples
from dpo_notes.commands.splits import load_splits
from dpo_notes.commands.training_command import (
    answers,
    carry_out,
    choose_folder,
    model_size,
    settings,
    words_of_run,
    write_config,
)
from dpo_notes.language.load import frozen_copy, load_model
from dpo_notes.language.reward_head import load_reward_model, reward_of
from dpo_notes.maths.errors import InputError
from dpo_notes.maths.rows import Rows
from dpo_notes.pairs.chat import chat_template, render
from dpo_notes.plots.rollouts import rollout_curves
from dpo_notes.training.device import process_state
from dpo_notes.training.output_folder import replaced_file
from dpo_notes.training.ppo import PPOConfig, train_ppo
from dpo_notes.training.rollout import RewardFunction
from dpo_notes.worlds.reviews import world as reviews

SHOWN_SAMPLES = 12


def train(args: argparse.Namespace) -> int:
    """Run `dpo-notes ppo` with these arguments; returns the exit code."""
    config = settings(PPOConfig, args, preset=PPO)
    folder = choose_folder(args, kind="ppo")

    disable_progress_bar()  # transformers would draw one for each file it writes
    model, tokenizer = load_model(args.model)
    model.to(process_state().device)
    pairs, eval_pairs = load_splits(args, tokenizer, seed=config.seed)
    prompts, eval_prompts = ([render(tokenizer, pair)[0] for pair in side] for side in (pairs, eval_pairs))
    reward_fn = reward_named(args.reward, prompts)
    print(
        f"{len(prompts)} prompts to answer, {len(eval_prompts)} held out; {model_size(model)} parameters; "
        f"beta {config.beta:g}; {config.steps * config.batch_size} responses"
    )

    shown = (eval_prompts or prompts)[:SHOWN_SAMPLES]
    sampling = {"max_new_tokens": config.max_new_tokens, "seed": config.seed}
    before = answers(model, tokenizer, shown, **sampling)
    rows = train_ppo(
        model,
        frozen_copy(model),
        reward_fn,
        prompts,
        tokenizer,
        config,
        eval_prompts=eval_prompts,
        judge=judge_of(eval_prompts[: config.eval_samples]),
        output_dir=folder,
        resume=args.resume,
    )
    words = words_of_run(args, folder, command="ppo", own=["--reward", args.reward])
    chat = None if pairs[0].is_text else chat_template(tokenizer)
    counts = {"prompts": len(prompts), "eval_prompts": len(eval_prompts)}
    write_config(folder, words, args, config, reward=args.reward, **counts, chat_template=chat)
    code = carry_out(rows, words, epochs=config.steps * config.batch_size / len(prompts), status=status)
    if code == 0:
        history = read_rows(folder)
        title = f"PPO on {Path(args.model).name}, beta {config.beta:g}, reward: {args.reward}"
        with replaced_file(folder / "curves.png") as aside:
            rollout_curves(history, title=title).savefig(aside, dpi=110)
        after = answers(model, tokenizer, shown, **sampling)
        write_samples(folder / "samples.md", for_a_table(shown), before, after)
        print(ppo_gains(history))
        print(f"curves:  {folder / 'curves.png'}\nsamples: {folder / 'samples.md'}\nmodel:   {folder / 'model'}")
        print(f"go on:   {command_to_sample(folder, shown[0])}")
    return code


def reward_named(name: str, prompts: Sequence[str]) -> RewardFunction:
    """The raters' reward for "true", if all prompts are from the review world; else the reward model of that name."""
    if name == TRUE_REWARD:
        for prompt in prompts:
            if not reviews.is_prompt(prompt):
                raise InputError(
                    f"--reward true: {prompt!r:.80} is not a prompt of the review world, so we know no true reward; "
                    "expected --reward FOLDER (dpo-notes reward-model makes one)"
                )
        return reviews.reward
    reward_model, tokenizer = load_reward_model(name)
    return partial(_quiet_reward, reward_model.to(process_state().device), tokenizer)


def _quiet_reward(reward_model, tokenizer, prompts: Sequence[str], responses: Sequence[str]) -> Tensor:
    """`reward_of`, without a warning for every odd response of a policy that is still learning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return reward_of(reward_model, tokenizer, prompts, responses)


def status(row: Mapping[str, float]) -> str:
    """The metrics of a round for the progress bar."""
    return (
        f"reward {row['reward']:.2f} KL {row['kl']:.2f} objective {row['objective']:.2f} "
        f"{row['responses_per_second']:.0f} responses/s"
    )


def ppo_gains(rows: Rows) -> str:
    """A table of the policy's reward and other metrics before and after training."""
    rounds = [row for row in rows if row["step"] > 0]
    tenth = -(-len(rounds) // 10)
    first, last = (sum(row["reward"] for row in part) / tenth for part in (rounds[:tenth], rounds[-tenth:]))
    lines = [line("", "before", "after"), line("reward, first and last rounds", f"{first:.2f}", f"{last:.2f}")]
    evaluations = [row for row in rows if "eval/length" in row]
    return "\n".join(lines + (speech_lines(evaluations[0], evaluations[-1]) if evaluations else []))
