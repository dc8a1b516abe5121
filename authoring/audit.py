"""python run.py audit    does a pinned release have a known vulnerability, and are the pinned releases installed?

Asks the package index, release by release, for its advisories (those of osv.dev), and pip whether packages are
consistent. Exit code 0: every pin was checked and none is in an advisory; 1: some are, or other releases than the pins
are installed; 3: the index gave no answer, so nothing is known. Only 0 means that the audit passed.
"""

import importlib.metadata
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from packaging.requirements import Requirement

from dpo_notes.places import ROOT

LISTS = [ROOT / "requirements.txt", ROOT / "tests" / "requirements.txt", ROOT / "authoring" / "site-requirements.txt"]
INDEX = "https://pypi.org/pypi"
TIMEOUT, AT_ONCE = 20, 8  # seconds to wait for an answer; requests at a time
NO_ANSWER = 3


def pins(lists: Iterable[Path]) -> list[Requirement]:
    """Every pin of these lists, for any system."""
    lines = [line for file in lists for line in file.read_text(encoding="utf-8").splitlines()]
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def installed_otherwise(pinned: Iterable[Requirement]) -> list[str]:
    """A line for each pin for this system that is not installed, or installed in another release."""
    found = []
    for pin in pinned:
        if pin.marker is not None and not pin.marker.evaluate():
            continue
        try:
            here = importlib.metadata.version(pin.name)
        except importlib.metadata.PackageNotFoundError:
            here = None
        if here is None or not pin.specifier.contains(here, prereleases=True):
            found.append(f"{pin} is pinned, but {here or 'nothing'} is installed")
    return found


def advisories(pin: Requirement, index: str) -> list[str]:
    """A line for each advisory on this release that has not been withdrawn. Raises OSError without an answer."""
    version = str(pin.specifier).removeprefix("==")
    with urllib.request.urlopen(f"{index}/{pin.name}/{version}/json", timeout=TIMEOUT) as answer:
        known = json.load(answer)["vulnerabilities"]
    holes = [(hole, ", ".join(hole["fixed_in"]) or "no release yet") for hole in known if not hole.get("withdrawn")]
    return [f"{pin.name} {version}: {hole['id']}, fixed in {fixed}; {hole['link']}" for hole, fixed in holes]


def audit(pinned: list[Requirement], index: str) -> tuple[list[str], list[str]]:
    """(advisories, pins without an answer). If the first pin gets no answer, no other request is made."""

    def ask(pin: Requirement) -> tuple[list[str], list[str]]:
        try:
            return advisories(pin, index), []
        except (OSError, ValueError, KeyError) as error:
            return [], [f"{pin} ({error})"]

    first = ask(pinned[0])
    if first[1]:
        return [], [*first[1], *map(str, pinned[1:])]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = [first, *pool.map(ask, pinned[1:])]
    return tuple([line for answer in answers for line in answer[which]] for which in (0, 1))


def main(lists: Iterable[Path] = LISTS, index: str = INDEX) -> int:
    pinned = pins(lists)
    wrong = installed_otherwise(pinned)
    if subprocess.run([sys.executable, "-m", "pip", "check"], check=False).returncode:
        wrong.append("the installed packages do not fit together: see pip's output above")
    known, unanswered = audit(pinned, index)
    print("\n".join([*wrong, *known, f"{len(pinned) - len(unanswered)} of {len(pinned)} pins audited"]))
    if unanswered:
        print(f"NOT AUDITED, because {index} gave no answer: {', '.join(unanswered)}")
    return 1 if wrong or known else NO_ANSWER if unanswered else 0


if __name__ == "__main__":
    sys.exit(main())
