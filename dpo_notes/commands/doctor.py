"""dpo-notes doctor: check whether this machine is ready, and say how to fix what is not

It does not use the network. The exit code is 0 if all is well, and 1 if there is something to fix.
"""

import argparse
import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from dpo_notes.maths.errors import InputError
from dpo_notes.pairs.harmless import for_terminal

EMBEDDED_FILES = (
    "gpt2-embedded/config.json",
    "gpt2-embedded/model.safetensors",
    "gpt2-embedded/tokenizer.json",
    "comparisons/train.jsonl",
)
# A run of GPT-2 124M briefly holds three checkpoints of 1.5 GB each: the weights and Adam's two moments.
FREE_GIGABYTES = 5
SET_UP_AGAIN = "set up again: delete .venv, then `python run.py doctor` (or `pip install -r requirements.txt -e .`)"


@dataclass(frozen=True)
class Finding:
    """One line of the report; `fix` says what to do and is empty if all is well."""

    what: str
    found: str
    fix: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The doctor takes no arguments."""


def run(args: argparse.Namespace) -> int:
    """Print the report; returns 0 if all is well, 1 if there is something to fix."""
    problems = 0
    for finding in examine():
        print(f"{'problem' if finding.fix else 'ok':<9}{finding.what:<13}{for_terminal(finding.found)}")
        if finding.fix:
            problems += 1
            print(f"{'':<9}{'':<13}-> {finding.fix}")
    print("Ready." if not problems else f"{problems} to fix; each line that begins with -> says how.")
    return 1 if problems else 0


def examine() -> Iterator[Finding]:
    """All findings. A check that raises an unexpected error is a finding too."""
    checks: list[tuple[str, Callable[[], list[Finding]]]] = [
        ("Python", check_python),
        ("packages", check_packages),
        ("torch", check_torch),
        ("device", check_device),
        ("data", check_data),
        ("disk", check_disk),
        ("Jupyter", check_jupyter),
    ]
    for what, check in checks:
        try:
            yield from check()
        except Exception as error:  # noqa: BLE001  a broken installation raises anything; the rest is still reported
            yield Finding(what, f"{type(error).__name__}: {error}", SET_UP_AGAIN)


def check_python() -> list[Finding]:
    """Whether the version is in the project's range, and where this Python is."""
    from packaging.specifiers import SpecifierSet

    version, wanted = platform.python_version(), importlib.metadata.metadata("dpo-notes")["Requires-Python"]
    fits = SpecifierSet(wanted).contains(version, prereleases=True)
    return [Finding("Python", f"{version}, {sys.executable}", "" if fits else f"install Python {wanted}")]


def check_packages() -> list[Finding]:
    """The installed versions, checked against pyproject.toml: one line for all that fit, one for each that does not."""
    from packaging.requirements import Requirement

    fitting, findings = [], []
    for requirement in map(Requirement, importlib.metadata.requires("dpo-notes") or []):
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            findings.append(Finding("packages", f"{requirement} is not installed", SET_UP_AGAIN))
            continue
        if requirement.specifier.contains(version, prereleases=True):
            fitting.append(f"{requirement.name} {version}")
        else:
            findings.append(Finding("packages", f"{requirement} is needed, {version} is installed", SET_UP_AGAIN))
    if not fitting:
        findings.append(Finding("packages", "the installed dpo-notes names no packages", SET_UP_AGAIN))
    else:
        findings.insert(0, Finding("packages", ", ".join(fitting)))
    return findings


def check_torch() -> list[Finding]:
    """One gradient whose value is known: that of x^2 at 3 is 6."""
    import torch

    x = torch.tensor(3.0, requires_grad=True)
    (x * x).backward()
    right = x.grad is not None and x.grad.item() == 6
    found = f"{torch.__version__}, gradients {'right' if right else 'wrong'}"
    return [Finding("torch", found, "" if right else SET_UP_AGAIN)]


def check_device() -> list[Finding]:
    """What training will run on. No GPU is no problem: the embedded world is small enough for a CPU."""
    import torch

    if torch.cuda.is_available():
        bf16 = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "no bf16"
        found = f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()} (CUDA {torch.version.cuda}, {bf16})"
    elif torch.backends.mps.is_available():
        found = "Apple GPU (MPS)"
    else:
        found = f"CPU, {torch.get_num_threads()} threads on {os.cpu_count()} cores"
        if shutil.which("nvidia-smi"):
            found += f" (an NVIDIA driver is here, but torch {torch.__version__} does not see a GPU)"
    return [Finding("device", found)]


def check_data() -> list[Finding]:
    """The embedded model and comparisons, which everything offline needs."""
    from dpo_notes.pairs.embedded import data_folder

    fix = "get a complete clone of the repository (in one that you have: `git checkout -- data`)"
    try:
        folder = data_folder()
    except InputError as error:
        return [Finding("data", str(error), fix)]
    missing = [name for name in EMBEDDED_FILES if not (folder / name).is_file()]
    if missing:
        return [Finding("data", f"{', '.join(missing)} missing in {folder}", fix)]
    return [Finding("data", f"embedded model and comparisons in {folder}")]


def check_disk() -> list[Finding]:
    """Free space in the current folder, where runs are written."""
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    fix = f"free some space: a run of the full GPT-2 takes up to {FREE_GIGABYTES} GB (the embedded one far less)"
    return [Finding("disk", f"{free:.1f} GB free in {Path.cwd()}", "" if free >= FREE_GIGABYTES else fix)]


def check_jupyter() -> list[Finding]:
    """JupyterLab, if installed, and whether its kernel `python3` is this Python: notebooks in another kernel lack the package."""
    if find_spec("jupyterlab") is None:
        return [Finding("Jupyter", "not installed; training does not need it (pip install 'dpo-notes[notebooks]')")]
    import jupyterlab
    from jupyter_client.kernelspec import KernelSpecManager

    command = KernelSpecManager().get_kernel_spec("python3").argv[0]
    here = command in ("python", "python3") or Path(command) == Path(sys.executable)  # bare names mean this one
    found = f"JupyterLab {jupyterlab.__version__}, kernel {sys.executable if here else command}"
    fix = f"give the kernel this Python: `{sys.executable} -m ipykernel install --sys-prefix`"
    return [Finding("Jupyter", found, "" if here else fix)]
