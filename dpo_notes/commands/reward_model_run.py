"""The body of `dpo-notes reward-model`: load, check, train under a progress bar, and write a run folder."""

import argparse
import warnings
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils.logging import disable_progress_bar

from dpo_notes.commands.known_rewards import true_rewards
from dpo_notes.commands.presets import REWARD_MODEL
from dpo_notes.commands.report import line, read_rows
from dpo_notes.commands.splits import load_splits
from dpo_notes.commands.training_command import (
    carry_out,
    choose_folder,
    model_size,
    settings,
    words_of_run,
    write_config,
)
from dpo_notes.language.load import load_model
from dpo_notes.language.reward_head import new_reward_model, reward_of
from dpo_notes.maths.bradley_terry import bayes_accuracy, margin_correlation, preference_entropy, preference_probability
from dpo_notes.maths.calibration import Reliability, expected_calibration_error, reliability
from dpo_notes.maths.rows import Rows
from dpo_notes.pairs.chat import chat_template, render
from dpo_notes.pairs.load import PreferencePair
from dpo_notes.plots.runs import reward_model_curves
from dpo_notes.training.device import process_state
from dpo_notes.training.output_folder import replaced_file
from dpo_notes.training.reward_model import CALIBRATION_BINS, RewardModelConfig, train_reward_model


def train(args: argparse.Namespace) -> int:
    """Run `dpo-notes reward-model` with these arguments; returns the exit code."""
    config = settings(RewardModelConfig, args, preset=REWARD_MODEL)
    main = process_state().is_main_process
    folder = choose_folder(args, kind="reward")

    disable_progress_bar()  # transformers would draw one for each file it writes
    reward_model, tokenizer = new_reward_model(*load_model(args.model))
    pairs, eval_pairs = load_splits(args, tokenizer, seed=config.seed)
    if main:
        counts = f"{len(pairs)} comparisons to train on, {len(eval_pairs)} held out"
        print(f"{counts}; {model_size(reward_model)} parameters")
    rows = train_reward_model(
        reward_model, pairs, tokenizer, config, eval_pairs=eval_pairs, output_dir=folder, resume=args.resume
    )
    words = words_of_run(args, folder, command="reward-model")
    if main:
        chat = None if pairs[0].is_text else chat_template(tokenizer)
        write_config(folder, words, args, config, pairs=len(pairs), eval_pairs=len(eval_pairs), chat_template=chat)
    code = carry_out(rows, words, epochs=config.epochs)
    if code == 0 and main:
        finish(folder, reward_model, tokenizer, eval_pairs, title=f"reward model on {Path(args.model).name}")
    return code


def finish(
    folder: Path,
    reward_model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    eval_pairs: Sequence[PreferencePair],
    *,
    title: str,
) -> None:
    """Write curves.png; print the table of gains and where everything is."""
    history = read_rows(folder)
    truth = true_rewards(eval_pairs)
    best_loss, best_accuracy = (None, None) if truth is None else (least_loss(*truth), bayes_accuracy(*truth))
    learnt = held_out_rewards(reward_model, tokenizer, eval_pairs) if eval_pairs else None
    diagram = None if learnt is None else _diagram(*learnt)
    figure = reward_model_curves(history, diagram, title=title, best_loss=best_loss, best_accuracy=best_accuracy)
    with replaced_file(folder / "curves.png") as aside:
        figure.savefig(aside, dpi=110)
    print(reward_model_gains(history, learnt, truth))
    print(f"curves:  {folder / 'curves.png'}\nmodel:   {folder / 'model'}")


def held_out_rewards(
    reward_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, pairs: Sequence[PreferencePair]
) -> tuple[Tensor, Tensor]:
    """(chosen, rejected): the learnt reward of the responses, in nats, float64 on the CPU."""
    prompts, *sides = zip(*(render(tokenizer, pair) for pair in pairs), strict=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # we warned about cut texts before training
        chosen, rejected = (reward_of(reward_model, tokenizer, prompts, side).double().cpu() for side in sides)
    return chosen, rejected


def least_loss(reward_chosen: Tensor, reward_rejected: Tensor) -> float:
    """The lowest expected loss on these pairs, in nats: the mean entropy of the raters' preference."""
    return preference_entropy(reward_chosen, reward_rejected).mean().item()


def reward_model_gains(rows: Rows, learnt: tuple[Tensor, Tensor] | None, truth: tuple[Tensor, Tensor] | None) -> str:
    """A table of the held-out metrics before and after training and, if the true reward is known, the best possible.

    That is what the true reward can expect; for calibration, its error on these very pairs, which by chance is not 0.
    """
    if learnt is None:
        return "no comparisons were held out: nothing to compare"
    evaluations = [row for row in rows if "eval/loss" in row]
    first, last = evaluations[0], evaluations[-1]
    best = [""] * 4
    agreement = None
    if truth is not None:
        error = expected_calibration_error(_diagram(*truth))
        best = ["possible", f"{least_loss(*truth):.3f}", f"{bayes_accuracy(*truth):.1%}", f"{error:.3f}"]
        agreement = margin_correlation(learnt[0] - learnt[1], truth[0] - truth[1]).item()
    lines = [
        line("held out", "before", "after", best[0]),
        line("loss (nats)", f"{first['eval/loss']:.3f}", f"{last['eval/loss']:.3f}", best[1]),
        line("accuracy", "guessing", f"{last['eval/rewards/accuracies']:.1%}", best[2]),
        line("calibration error", f"{first['eval/calibration']:.3f}", f"{last['eval/calibration']:.3f}", best[3]),
        line("reward margin (nats)", f"{first['eval/rewards/margins']:.2f}", f"{last['eval/rewards/margins']:.2f}"),
    ]
    if agreement is not None:
        lines.append(line("correlation with the true reward", "", f"{agreement:.2f}", "1.00"))
    return "\n".join(lines)


def _diagram(reward_chosen: Tensor, reward_rejected: Tensor) -> Reliability:
    return reliability(preference_probability(reward_chosen, reward_rejected), n_bins=CALIBRATION_BINS)
