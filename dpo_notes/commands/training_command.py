"""What the training commands share: settings from arguments, the run folder, the progress bar, and config.json."""

import argparse
import dataclasses
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dpo_notes.commands.memory import keep_freed_memory
from dpo_notes.language.generate import sample
from dpo_notes.maths.errors import InputError
from dpo_notes.maths.rows import Row
from dpo_notes.pairs.embedded import EMBEDDED
from dpo_notes.pairs.harmless import for_terminal
from dpo_notes.training.checkpoint import check_run_folder
from dpo_notes.training.device import from_main_process, process_state
from dpo_notes.training.identity import versions
from dpo_notes.training.out_of_memory import OutOfMemory
from dpo_notes.training.output_folder import replaced_file
from dpo_notes.training.step import TrainingDiverged

INTACT = "Saved checkpoints are intact"


def settings(config_class: type, args: argparse.Namespace, *, preset: Mapping[str, object]):
    """The configuration: the preset if model and data are embedded, then --beta and each --set."""
    values = dict(preset) if args.model == EMBEDDED and args.data == EMBEDDED else {}
    if getattr(args, "beta", None) is not None:
        values["beta"] = args.beta
    types = {field.name: field.type for field in dataclasses.fields(config_class)}
    for assignment in args.set:
        name, equals, text = assignment.partition("=")
        if not equals or name not in types:
            raise InputError(f"--set {assignment}: expected FIELD=VALUE with one of the fields {', '.join(types)}")
        values[name] = _parse(name, text, types[name])
    return config_class(**values)


def choose_folder(args: argparse.Namespace, *, kind: str) -> Path:
    """--output, or the first unused runs/MODEL-KIND-NUMBER, chosen by the main process for all.

    Raises InputError if a run may not write there (`check_run_folder`).
    """
    if args.output is None and args.resume:
        raise InputError("--resume needs --output: which run should go on?")
    stem = f"{Path(args.model).name}-{kind}"

    def choose() -> str:
        free = (Path("runs", f"{stem}-{number}") for number in range(1, sys.maxsize))
        folder = args.output or next(path for path in free if not os.path.lexists(path))
        check_run_folder(folder)
        return str(folder)

    return Path(from_main_process(choose))


def words_of_run(args: argparse.Namespace, folder: Path, *, command: str, own: Sequence[str] = ()) -> list[str]:
    """The command-line words after `dpo-notes` that start this run; `own`: those that only this command has."""
    words = [command, "--model", args.model, "--data", args.data, *own]
    words += ["--beta", str(args.beta)] if getattr(args, "beta", None) is not None else []
    words += ["--on-bad-row", args.on_bad_row] if args.on_bad_row != "stop" else []
    words += ["--output", str(folder)] + (["--eval-data", args.eval_data] if args.eval_data else [])
    return words + [word for assignment in args.set for word in ("--set", assignment)]


def command_line(words: Sequence[str]) -> str:
    """The command that runs `dpo-notes` with these words in as many processes as now, quoted for the system's shell."""
    count = process_state().num_processes
    program = ["dpo-notes"] if count == 1 else ["torchrun", "--nproc_per_node", str(count), "-m", "dpo_notes"]
    return (subprocess.list2cmdline if os.name == "nt" else shlex.join)([*program, *words])


def write_config(folder: Path, words: Sequence[str], args: argparse.Namespace, config, **facts: object) -> None:
    """Write config.json: the command, every setting and the versions, all that is needed to repeat the run."""
    record = {
        "command": command_line(words),
        "model": args.model,
        "data": args.data,
        "eval_data": args.eval_data,
        "config": dataclasses.asdict(config),
        **facts,
        "processes": process_state().num_processes,
        "device": str(process_state().device),
        "threads": torch.get_num_threads(),
        "versions": versions(),
    }
    with replaced_file(folder / "config.json") as aside:
        aside.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def pairs_status(row: Row) -> str:
    """Loss, margin, accuracy and pairs per second."""
    return (
        f"loss {row['loss']:.3f} margin {row['rewards/margins']:.2f} "
        f"accuracy {row['rewards/accuracies']:.2f} {row['pairs_per_second']:.0f} pairs/s"
    )


def carry_out(
    rows: Iterator[Row], words: Sequence[str], *, epochs: float, status: Callable[[Row], str] = pairs_status
) -> int:
    """Run the training under a progress bar; returns the exit code, and unless it is 0 prints how to continue.

    `epochs`: the "epoch" of the last row; `status` turns a row into a short text for the bar.
    """
    keep_freed_memory()
    main = process_state().is_main_process
    go_on = f"continue with: {command_line(words)} --resume"
    try:
        _show_progress(rows, epochs=epochs, status=status, quiet=not main)
    except KeyboardInterrupt:
        code, message = 130, f"stopped; {go_on}"
    except (TrainingDiverged, InputError) as error:  # not bad input: that raises before the first row
        code, message = 1, f"dpo-notes: {for_terminal(str(error))}. {INTACT}; a lower learning rate may help."
    except OutOfMemory as error:
        code, message = 1, f"dpo-notes: {error}. {INTACT}"
    except OSError as error:
        fixed = f"{INTACT}; once this is fixed, {go_on}"
        code, message = 1, f"dpo-notes: cannot write: {for_terminal(str(error))}. {fixed}"
    else:
        return 0
    if main:
        print(f"\n{message}", file=sys.stderr)
    return code


def answers(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    *,
    max_new_tokens: int,
    seed: int,
) -> list[str]:
    """One answer to each prompt, at temperature 1; the same seed before and after training."""
    generator = torch.Generator().manual_seed(seed)
    return sample(model, tokenizer, prompts, generator=generator, max_new_tokens=max_new_tokens)


def model_size(model: torch.nn.Module) -> str:
    """The number of parameters as text."""
    return f"{sum(p.numel() for p in model.parameters()) / 1e6:.1f} million"


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


def _show_progress(rows: Iterator[Row], *, epochs: float, status: Callable[[Row], str], quiet: bool) -> None:
    """Run through the rows; show a bar with their status and the time left."""
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
            bar.set_postfix_str(status(row))
