"""python -m dpo_notes.grading.notebook_process    run one returned notebook, and say its answers

For `dpo-notes grade` only. The first line of standard input holds the notebook's code and the arguments for its functions;
after "ready" a second line lets it begin. Standard output gets one line of JSON for each answer as soon as it is given, so
that what comes later takes none away. Nothing that is said here is believed: the process that started this one judges.
"""

import json
import os
import sys


def main() -> None:
    task = json.loads(sys.stdin.readline())
    lines = _take_standard_output()

    import torch  # noqa: F401  here, so that the memory of the package itself is not counted
    import transformers  # noqa: F401
    from IPython.core.interactiveshell import InteractiveShell

    from dpo_notes.grading.answers import encode, reported
    from dpo_notes.teaching import checking

    def say(**words: object) -> None:
        lines.write(json.dumps(words) + "\n")
        lines.flush()

    def check(number: str, answer: object) -> None:
        say(number=number, answer=reported(answer, task["cases"].get(number)))

    checking.check = check  # the notebook imports it from here
    shell = InteractiveShell.instance()
    shell.enable_gui = shell.ask_exit = lambda *_: (
        None
    )  # for `%matplotlib inline` and `exit`: there is nobody to show it to
    say(ready=True)
    sys.stdin.readline()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # whatever the notebook asks of its reader, nobody answers
    for name, source in task["cells"]:
        result = shell.run_cell(source, store_history=False)
        if not result.success:
            error = result.error_before_exec or result.error_in_exec
            say(cell=name, error=encode(error)["other"])
    say(finished=True)


def _take_standard_output():
    """Standard output for the answers alone; whatever the notebook prints goes nowhere."""
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    return lines


if __name__ == "__main__":
    main()
