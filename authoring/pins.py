"""python authoring/pins.py    write the three lists of requirements from the ranges of pyproject.toml

Needs the network and uv (`pip install uv`). requirements.txt holds all dependencies, direct and indirect, for Python
3.11 and later on Linux, macOS and Windows; tests/requirements.txt and authoring/site-requirements.txt only what they
add. Torch's CUDA packages are left out: plain pip takes them as torch's own dependencies, and the CPU build needs none.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from dpo_notes.places import ROOT

TORCH = "torch==2.13.0"  # one release, so that results can be compared
CUDA = ("cuda-", "nvidia-", "triton==")
COMPILE = "uv pip compile --universal --fork-strategy fewest --python-version 3.11 --extra notebooks pyproject.toml"
HEADER = """\
# {what}, from the ranges in pyproject.toml: `python authoring/pins.py`, that is
# {command}
# without the packages that the CUDA build of torch brings itself.
"""


def resolve(arguments: list[str], constraints: list[str]) -> list[str]:
    """The pins, one per line, that uv finds for pyproject.toml under `constraints`."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "constraints.txt")
        file.write_text("\n".join(constraints))
        command = [sys.executable, "-m", *COMPILE.split(), *arguments]
        command += ["--constraints", str(file), "--no-annotate", "--no-header", "--quiet"]
        found = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    return [line for line in found.splitlines() if not line.startswith(CUDA)]


def main() -> None:
    runtime = resolve([], [TORCH])
    site = [pin for pin in resolve(["--extra", "site"], runtime) if pin not in runtime]
    tests = [pin for pin in resolve(["--extra", "test"], runtime) if pin not in runtime]
    for name, pins, what, command in (
        ("requirements.txt", runtime, "Exact pins of all that dpo-notes needs", f"{COMPILE} (with {TORCH})"),
        (
            "authoring/site-requirements.txt",
            site,
            "What the website needs besides requirements.txt",
            f"{COMPILE} --extra site",
        ),
        ("tests/requirements.txt", tests, "What the tests need besides requirements.txt", f"{COMPILE} --extra test"),
    ):
        text = HEADER.format(what=what, command=command) + "\n".join(pins) + "\n"
        (ROOT / name).write_text(text, encoding="utf-8", newline="\n")
        print(f"{name}: {len(pins)} pins")


if __name__ == "__main__":
    main()
