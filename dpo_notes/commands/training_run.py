"""What `dpo-notes train` does: load, check, train under a progress bar, and leave a run folder behind."""

import argparse
import dataclasses
import importlib.metadata
import json
import platform
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from accelerate.utils import broadcast_object_list
from tqdm import tqdm
from transformers.utils.logging import disable_progress_bar

from dpo_notes.commands.report import best_accuracy, gains, read_rows, write_samples
from dpo_notes.commands.train import EMBEDDED_PRESET
from dpo_notes.language.chat import chat_template, render
from dpo_notes.language.embedded import EMBEDDED
from dpo_notes.language.generate import sample
from dpo_notes.language.load import context_length, frozen_copy, load_model
from dpo_notes.language.pairs import PreferencePair, load_pairs
from dpo_notes.language.split import hold_out
from dpo_notes.maths.errors import InputError
from dpo_notes.teaching.plots import training_curves
from dpo_notes.training.config import DPOConfig
from dpo_notes.training.device import process_state
from dpo_notes.training.dpo import train_dpo
from dpo_notes.training.losses_by_name import loss_named
from dpo_notes.training.step import TrainingDiverged

HELD_OUT_SHARE, HELD_OUT_LIMIT = 0.1, 500
SHOWN_SAMPLES = 12


def train(args: argparse.Namespace) -> int:
    """Run `dpo-notes train` with these arguments; returns the exit code."""
    loss = loss_named(args.loss)
    config = make_config(args, reduction=loss.reduction)
    folder = _run_folder(args)
    main = process_state().is_main_process
    say = print if main else (lambda *words: None)

    disable_progress_bar()  # of transformers, which would draw one for each file it writes
    model, tokenizer = load_model(args.model)
    model.to(process_state().device)
    pairs, eval_pairs = load_splits(args, seed=config.seed)
    reference = frozen_copy(model) if loss.needs_reference else None
    say(
        f"{len(pairs)} comparisons to train on, {len(eval_pairs)} held out; {_size(model)} parameters; beta {config.beta:g}"
    )

    shown = eval_pairs[:SHOWN_SAMPLES] or pairs[:SHOWN_SAMPLES]
    prompts = [render(tokenizer, pair)[0] for pair in shown]
    new_tokens = min(config.max_length, context_length(model)) // 2
    before = _answers(model, tokenizer, prompts, new_tokens, config.seed)
    rows = train_dpo(
        model,
        reference,
        pairs,
        tokenizer,
        config,
        loss_fn=loss.function,
        eval_pairs=eval_pairs,
        output_dir=folder,
        resume=args.resume,
    )
    words = _words(args, folder)
    if main:
        chat = None if pairs[0].is_text else chat_template(tokenizer)
        counts = {"pairs": len(pairs), "eval_pairs": len(eval_pairs)}
        _write_config(folder, words, args, config, **counts, chat_template=chat)
    go_on = f"go on with: dpo-notes {shlex.join(words)} --resume"
    try:
        _show_progress(rows, epochs=config.epochs, quiet=not main)
    except KeyboardInterrupt:
        say(f"\nstopped; {go_on}", file=sys.stderr)
        return 130
    except TrainingDiverged as error:
        say(f"\ndpo-notes: {error}. The last checkpoint is whole; try a lower learning rate.", file=sys.stderr)
        return 1
    except OSError as error:
        say(f"\ndpo-notes: cannot write: {error}. The last checkpoint is whole; {go_on}", file=sys.stderr)
        return 1
    if main:
        after = _answers(model, tokenizer, prompts, new_tokens, config.seed)
        history = read_rows(folder)
        best = best_accuracy(eval_pairs)
        training_curves(
            history, title=f"{args.loss} on {Path(args.model).name}, beta {config.beta:g}", best_accuracy=best
        ).savefig(folder / "curves.png", dpi=110)
        write_samples(folder / "samples.md", prompts, before, after)
        print(gains(history, best=best))
        print(f"curves:  {folder / 'curves.png'}\nsamples: {folder / 'samples.md'}\nmodel:   {folder / 'model'}")
        print(f'go on:   dpo-notes sample --model {folder / "model"} --prompt "{prompts[0]}"')
        print("         (or `python run.py sample …`, and `python run.py lab` for the notebooks)")
    return 0


def make_config(args: argparse.Namespace, *, reduction: str) -> DPOConfig:
    """The DPOConfig of these arguments: preset where everything is embedded, then --beta, then each --set."""
    values: dict[str, object] = {}
    if args.model == EMBEDDED and args.data == EMBEDDED:
        values |= EMBEDDED_PRESET
    values["reduction"] = reduction
    if args.beta is not None:
        values["beta"] = args.beta
    types = {field.name: field.type for field in dataclasses.fields(DPOConfig)}
    for assignment in args.set:
        name, equals, text = assignment.partition("=")
        if not equals or name not in types:
            raise InputError(f"--set {assignment}: expected FIELD=VALUE with one of the fields {', '.join(types)}")
        values[name] = _parse(name, text, types[name])
    return DPOConfig(**values)


def load_splits(args: argparse.Namespace, *, seed: int) -> tuple[list[PreferencePair], list[PreferencePair]]:
    """(training pairs, held-out pairs): the second from --eval-data, or the repository's test file, or held out here."""
    pairs = load_pairs(args.data)
    if args.eval_data is not None:
        return pairs, load_pairs(args.eval_data)
    if args.data == EMBEDDED:
        return pairs, load_pairs(EMBEDDED, split="test")
    generator = torch.Generator().manual_seed(seed)
    return hold_out(pairs, share=HELD_OUT_SHARE, limit=HELD_OUT_LIMIT, generator=generator)


def _parse(name: str, text: str, kind: type) -> object:
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise InputError(f"--set {name}={text}: expected true or false")
        return text.lower() == "true"
    try:
        return kind(text)
    except ValueError:
        expected = "a whole number" if kind is int else "a number"
        raise InputError(f"--set {name}={text}: expected {expected}") from None


def _run_folder(args: argparse.Namespace) -> Path:
    """--output, or the first free runs/MODEL-LOSS-NUMBER, which the main process chooses for all."""
    if args.output is not None:
        return args.output
    if args.resume:
        raise InputError("--resume needs --output: which run should go on?")
    stem = f"{Path(args.model).name}-{args.loss}"
    number = next(n for n in range(1, sys.maxsize) if not Path("runs", f"{stem}-{n}").exists())
    return Path(broadcast_object_list([str(Path("runs", f"{stem}-{number}"))])[0])


def _words(args: argparse.Namespace, folder: Path) -> list[str]:
    """The words after `dpo-notes` that start this run."""
    words = ["train", "--model", args.model, "--data", args.data, "--loss", args.loss, "--output", str(folder)]
    words += ["--eval-data", args.eval_data] if args.eval_data else []
    words += ["--beta", str(args.beta)] if args.beta is not None else []
    return words + [word for assignment in args.set for word in ("--set", assignment)]


def _show_progress(rows: Iterator[dict[str, float]], *, epochs: int, quiet: bool) -> None:
    """Run through the rows; draw them as a bar with loss, margin, accuracy, pairs per second and the time left."""
    if quiet:
        for _ in rows:
            pass
        return
    with tqdm(unit="step", dynamic_ncols=True) as bar:
        for row in rows:
            if row["step"] == 0:
                continue
            bar.total = round(row["step"] / row["epoch"] * epochs)
            bar.n = int(row["step"])
            if bar.initial == 0:
                bar.initial = bar.n - 1  # a resumed run: time left counts from here
            bar.set_postfix_str(
                f"loss {row['loss']:.3f} margin {row['rewards/margins']:.2f} "
                f"accuracy {row['rewards/accuracies']:.2f} {row['pairs_per_second']:.0f} pairs/s"
            )


def _write_config(folder: Path, words: list[str], args: argparse.Namespace, config: DPOConfig, **facts: object) -> None:
    """config.json: the command, every setting, and the versions: what it takes to repeat the run."""
    packages = ("dpo-notes", "torch", "transformers", "accelerate", "tokenizers", "numpy")
    record = {
        "command": "dpo-notes " + shlex.join(words),
        "model": args.model,
        "data": args.data,
        "eval_data": args.eval_data,
        "loss": args.loss,
        "config": dataclasses.asdict(config),
        **facts,
        "processes": process_state().num_processes,
        "device": str(process_state().device),
        "threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in packages},
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _answers(model, tokenizer, prompts: list[str], max_new_tokens: int, seed: int) -> list[str]:
    generator = torch.Generator().manual_seed(seed)
    return sample(model, tokenizer, prompts, generator=generator, max_new_tokens=max_new_tokens)


def _size(model: torch.nn.Module) -> str:
    return f"{sum(p.numel() for p in model.parameters()) / 1e6:.1f} million"
