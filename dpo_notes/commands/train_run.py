"""The body of `dpo-notes train`: load, check, train under a progress bar, and write a run folder."""

import argparse
from pathlib import Path

from transformers.utils.logging import disable_progress_bar

from dpo_notes.commands.known_rewards import best_accuracy, judge_of
from dpo_notes.commands.presets import TRAIN
from dpo_notes.commands.prompts import command_to_sample, for_a_table
from dpo_notes.commands.report import gains, read_rows, write_samples
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
from dpo_notes.language.load import context_length, frozen_copy, load_model
from dpo_notes.pairs.chat import chat_template, render
from dpo_notes.plots.runs import training_curves
from dpo_notes.training.config import DPOConfig
from dpo_notes.training.device import process_state
from dpo_notes.training.dpo import train_dpo
from dpo_notes.training.output_folder import replaced_file
from dpo_notes.training.preference_loss import preference_loss

SHOWN_SAMPLES = 12


def train(args: argparse.Namespace) -> int:
    """Run `dpo-notes train` with these arguments; returns the exit code."""
    loss = preference_loss(args.loss)
    config = settings(DPOConfig, args, preset=TRAIN)
    main = process_state().is_main_process
    folder = choose_folder(args, kind=args.loss)

    disable_progress_bar()  # transformers would draw one for each file it writes
    model, tokenizer = load_model(args.model)
    model.to(process_state().device)
    pairs, eval_pairs = load_splits(args, tokenizer, seed=config.seed)
    reference = frozen_copy(model) if loss.needs_reference else None
    if main:
        counts = f"{len(pairs)} comparisons to train on, {len(eval_pairs)} held out"
        print(f"{counts}; {model_size(model)} parameters; beta {config.beta:g}")

    shown = eval_pairs[:SHOWN_SAMPLES] or pairs[:SHOWN_SAMPLES]
    prompts = [render(tokenizer, pair)[0] for pair in shown]
    new_tokens = min(config.max_length, context_length(model)) // 2
    before = answers(model, tokenizer, prompts, max_new_tokens=new_tokens, seed=config.seed)
    rows = train_dpo(
        model,
        reference,
        pairs,
        tokenizer,
        config,
        loss=loss,
        eval_pairs=eval_pairs,
        judge=judge_of([render(tokenizer, pair)[0] for pair in eval_pairs[: config.eval_samples]]),
        output_dir=folder,
        resume=args.resume,
    )
    words = words_of_run(args, folder, command="train", own=["--loss", args.loss])
    if main:
        chat = None if pairs[0].is_text else chat_template(tokenizer)
        facts = {"loss": args.loss, "pairs": len(pairs), "eval_pairs": len(eval_pairs), "chat_template": chat}
        write_config(folder, words, args, config, **facts)
    code = carry_out(rows, words, epochs=config.epochs)
    if code == 0 and main:
        after = answers(model, tokenizer, prompts, max_new_tokens=new_tokens, seed=config.seed)
        history = read_rows(folder)
        best = best_accuracy(eval_pairs)
        title = f"{args.loss} on {Path(args.model).name}, beta {config.beta:g}"
        with replaced_file(folder / "curves.png") as aside:
            training_curves(history, title=title, best_accuracy=best).savefig(aside, dpi=110)
        write_samples(folder / "samples.md", for_a_table(prompts), before, after)
        print(gains(history, best=best))
        print(f"curves:  {folder / 'curves.png'}\nsamples: {folder / 'samples.md'}\nmodel:   {folder / 'model'}")
        print(f"go on:   {command_to_sample(folder, prompts[0])}")
        print("         (or `python run.py sample …`, and `python run.py lab` for the notebooks)")
    return code
