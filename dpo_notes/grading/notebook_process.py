"""python -m dpo_notes.grading.notebook_process    run one returned notebook and report its answers

For `dpo-notes grade` only. The first line of standard input holds the notebook's code and the arguments for its
functions; after "ready", a second line starts it. Each answer goes to standard output at once, as a line of JSON, so
that no later cell can take it away. We do not trust this process: the one that started it judges.
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

    def send(**message: object) -> None:
        lines.write(json.dumps(message) + "\n")
        lines.flush()

    def check(number: str, answer: object) -> None:
        send(number=number, answer=reported(answer, task["cases"].get(number)))

    checking.check = check  # the notebook imports it from here
    shell = InteractiveShell.instance()
    shell.enable_gui = shell.ask_exit = lambda *_: None  # `%matplotlib inline` and `exit` do nothing
    send(ready=True)
    sys.stdin.readline()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # `input()` gets no answer
    for name, source in task["cells"]:
        result = shell.run_cell(source, store_history=False)
        if error := result.error_before_exec or result.error_in_exec:
            send(cell=name, error=encode(error)["other"])
    send(finished=True)


def _take_standard_output():
    """Standard output, for the answers only; what the notebook prints is discarded."""
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    discarded = os.open(os.devnull, os.O_WRONLY)
    os.dup2(discarded, 1)
    os.dup2(discarded, 2)
    return lines


if __name__ == "__main__":
    main()
