"""python -m dpo_notes.teaching.grading.notebook_process    run one returned notebook, and say its answers

For `dpo-notes grade` only. The first line of standard input holds the notebook's code and the arguments for its functions;
after "ready" a second line lets it begin. Standard output gets one line of JSON for each answer as soon as it is given, so
that what comes later takes none away. Nothing that is said here is believed: the process that started this one judges.
"""

import json
import os
import sys
from threading import Thread


def main() -> None:
    task = json.loads(sys.stdin.readline())
    lines = _take_standard_output()

    import torch  # noqa: F401  here, so that the memory of the package itself is not counted
    import transformers  # noqa: F401
    from IPython.core.interactiveshell import InteractiveShell

    from dpo_notes.teaching.exercises import checking
    from dpo_notes.teaching.grading.answers import reported

    def say(**words: object) -> None:
        lines.write(json.dumps(words) + "\n")
        lines.flush()

    def check(number: str, answer: object) -> None:
        say(number=number, answer=reported(answer, task["cases"].get(number)))

    checking.check = check  # the notebook imports it from here
    shell = InteractiveShell.instance()
    say(ready=True)
    sys.stdin.readline()
    _end_with_the_grader()
    for name, source in task["cells"]:
        result = shell.run_cell(source, store_history=False)
        if not result.success:
            error = result.error_before_exec or result.error_in_exec
            say(cell=name, error=f"{type(error).__name__}: {error}"[:200])
    say(finished=True)


def _take_standard_output():
    """Standard output for the answers alone; whatever the notebook prints goes nowhere."""
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    return lines


def _end_with_the_grader() -> None:
    """Let this process end when the one that started it ends, even by `kill -9`: only then does standard input close.

    The sandbox sees to it by itself; this is for where there is none. The notebook gets an empty standard input.
    """
    pipe = os.dup(0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)

    def wait() -> None:
        os.read(pipe, 1)
        os._exit(1)

    Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    main()
