"""The command line: `dpo-notes COMMAND …`. Each command is a file of dpo_notes/commands."""

import argparse
import importlib
import io
import sys
import warnings
from collections.abc import Sequence

from dpo_notes import __version__
from dpo_notes.commands import COMMANDS
from dpo_notes.maths.errors import InputError
from dpo_notes.pairs.harmless import for_terminal

EXAMPLES = """examples:
  dpo-notes train                                          the embedded GPT-2 on the embedded comparisons
  dpo-notes train --model gpt2 --data my_pairs.jsonl       a real model on your own comparisons
  dpo-notes sample --model runs/embedded-dpo-1/model --prompt "Where is Shanghai?"
  dpo-notes COMMAND --help                                 the options of a command, with examples"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code: 0 for success, 1 failed, 2 bad input, 130 stopped by Ctrl-C."""
    args = parser().parse_args(argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a file on Windows may not support every character in an answer
            stream.reconfigure(errors="backslashreplace")
    warnings.showwarning = _print_note
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    warnings.filterwarnings("ignore", category=FutureWarning)
    try:
        return args.run(args)
    except InputError as error:
        return _fail(str(error), code=2)
    except OSError as error:
        return _fail(f"{error.filename or 'file system'}: {error.strerror or error}", code=1)
    except KeyboardInterrupt:
        return _fail("stopped", code=130)


def parser() -> argparse.ArgumentParser:
    """The parser of all commands. Nothing heavy is imported until a command runs."""
    top = argparse.ArgumentParser(
        prog="dpo-notes",
        description="Train a GPT-2 with Direct Preference Optimization, and look at what it learned.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"dpo-notes {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in COMMANDS:
        module = importlib.import_module(f"dpo_notes.commands.{name.replace('-', '_')}")
        summary, _, rest = module.__doc__.partition("\n")
        command = commands.add_parser(
            name,
            help=summary.partition(": ")[2],
            description=summary.partition(": ")[2],
            epilog=rest.strip(),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return top


def _print_note(message, category, filename, lineno, file=None, line=None) -> None:
    print(f"note: {for_terminal(str(message), lines=True)}", file=sys.stderr)


def _fail(message: str, *, code: int) -> int:
    print(f"dpo-notes: {for_terminal(message)}", file=sys.stderr)
    return code
