"""RESULTS.md: the output of the benchmarks, a section each, with command, date, machine and versions."""

import sys
from importlib.metadata import version
from pathlib import Path

from dpo_notes.experiments.frontier.record import circumstances

FILE = Path(__file__).with_name("RESULTS.md")
BEGINNING = """# Results, as they were printed

Each section is what one command wrote here with `--record`. Times on another machine differ; ratios within a run were
measured side by side. Nothing here was measured on a GPU, for want of one: `python benchmarks/gpu_check.py` is
prepared for one, and has only been rehearsed on a CPU.
"""


def write(title: str, text: str, *, packages: tuple[str, ...] = ()) -> None:
    """Write `text` under the heading `title`, replacing that section; other sections stay."""
    facts = circumstances("python " + " ".join([f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]]))
    versions = facts["versions"] | {name: version(name) for name in packages}
    machine = facts["machine"]
    words = ", ".join(f"{name} {number}" for name, number in versions.items())
    head = f"## {title}\n\n`{facts['command']}`, {facts['date']}, {machine['cores']} cores of {machine['processor']}; {words}."
    others = [part for part in _sections() if not part.startswith(f"## {title}\n")]
    FILE.write_text("\n".join([BEGINNING, *others, f"{head}\n\n{text}\n"]), encoding="utf-8")


def _sections() -> list[str]:
    """The sections of the file, each with its heading."""
    text = FILE.read_text(encoding="utf-8") if FILE.exists() else ""
    return ["## " + part.rstrip("\n") + "\n" for part in text.split("\n## ")[1:]]
