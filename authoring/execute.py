"""python run.py notebooks [NOTEBOOK ...]    execute notebooks and keep what a reader without a kernel can see

Without names: every notebooks/[0-9]*.ipynb. Each runs in its own folder, as in JupyterLab, with a kernel of this
Python, on the CPU and with the hub offline. What differs from run to run (widget state, model ids, times) is removed,
so two executions write the same bytes. A notebook that fails is left unchanged.
"""

import os
import re
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from jupyter_client.kernelspec import NATIVE_KERNEL_NAME, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

from dpo_notes.places import NOTEBOOKS

KERNELSPEC = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
SECONDS_PER_CELL = 600
FAILURES = (CellExecutionError, CellTimeoutError, DeadKernelError, nbformat.ValidationError, OSError, ValueError)


def execute(notebook: NotebookNode, folder: Path) -> None:
    """Run all cells of `notebook` in place, with `folder` as working directory. Raises nbclient's errors."""
    with tempfile.TemporaryDirectory() as profile:  # no start-up files and no history of the user
        environment = {**os.environ, "IPYTHONDIR": profile, "PYTHONHASHSEED": "0"}
        environment.update(HF_HUB_OFFLINE="1", CUDA_VISIBLE_DEVICES="")
        environment.pop("MPLBACKEND", None)  # the kernel's inline backend
        no_installed_kernel = KernelSpecManager(kernel_dirs=[])  # leaves the kernel of this Python
        client = NotebookClient(
            notebook,
            km=AsyncKernelManager(kernel_name=NATIVE_KERNEL_NAME, kernel_spec_manager=no_installed_kernel),
            resources={"metadata": {"path": str(folder)}},
            timeout=SECONDS_PER_CELL,
            record_timing=False,
            coalesce_streams=True,
            extra_arguments=["--log-level=ERROR"],
        )
        client.execute(env=environment, cleanup_kc=True)


def settle(notebook: NotebookNode) -> None:
    """Remove from an executed notebook what needs a kernel and what differs from run to run."""
    notebook.metadata.pop("widgets", None)
    notebook.metadata.update(kernelspec=KERNELSPEC, language_info={"name": "python"})
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(WIDGET_VIEW, None)  # useless without the kernel; picture and words stay
    nbformat.validate(notebook)


def write(notebook: NotebookNode, path: Path) -> None:
    """Replace the file at `path` in one step, with the same line endings on every system."""
    beside = path.with_suffix(".ipynb.part")
    beside.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8", newline="\n")
    beside.replace(path)


def complaint(error: Exception) -> str:
    """An execution error without terminal colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip()


def main(names: list[str]) -> int:
    paths = [Path(name) for name in names] or sorted(NOTEBOOKS.glob("[0-9]*.ipynb"))
    if not paths:
        print(f"There are no notebooks in {NOTEBOOKS} yet.")
    failed = 0
    for path in paths:
        start = time.monotonic()
        try:
            notebook = nbformat.read(path, as_version=4)
            execute(notebook, path.resolve().parent)
            settle(notebook)
            write(notebook, path)
        except FAILURES as error:
            failed += 1
            print(f"{path.name}: failed after {time.monotonic() - start:.0f} s, file unchanged\n{complaint(error)}")
        else:
            print(f"{path.name}: {time.monotonic() - start:.0f} s", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
