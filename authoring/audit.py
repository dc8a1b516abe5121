"""python run.py audit    is any release that we pin known to be unsafe, and is what is installed what we pin?

Asks the package index, release by release, for the advisories that it keeps (those of osv.dev), and pip for consistency.
Exit code 0: every pin was asked about and none is in an advisory; 1: some are, or something else than the pins is
installed; 3: the index gave no answer, so that nothing is known. Only 0 is an audit passed.
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
TIMEOUT, AT_ONCE = 20, 8  # seconds for an answer; questions at a time
NO_ANSWER = 3


def pins(lists: Iterable[Path]) -> list[Requirement]:
    """Every pin of these lists, whatever system it is for."""
    lines = [line for file in lists for line in file.read_text(encoding="utf-8").splitlines()]
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def installed_otherwise(pinned: Iterable[Requirement]) -> list[str]:
    """A line for each pin for this system of which another release is installed, or none."""
    found = []
    for pin in pinned:
        if pin.marker is not None and not pin.marker.evaluate():
            continue
        try:
            here = importlib.metadata.version(pin.name)
        except importlib.metadata.PackageNotFoundError:
            here = None
        if here is None or not pin.specifier.contains(here, prereleases=True):
            found.append(f"{pin} is pinned, and here it is {here or 'not installed'}")
    return found


def advisories(pin: Requirement, index: str) -> list[str]:
    """A line for each advisory on this release that has not been withdrawn. Raises OSError where there is no answer."""
    version = str(pin.specifier).removeprefix("==")
    with urllib.request.urlopen(f"{index}/{pin.name}/{version}/json", timeout=TIMEOUT) as answer:
        known = json.load(answer)["vulnerabilities"]
    return [
        f"{pin.name} {version}: {hole['id']}, mended in {', '.join(hole['fixed_in']) or 'no release yet'}; {hole['link']}"
        for hole in known
        if not hole.get("withdrawn")
    ]


def audit(pinned: list[Requirement], index: str) -> tuple[list[str], list[str]]:
    """(advisories, pins without an answer). Where the first pin gets no answer, the others are not asked about."""

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
        wrong.append("what is installed does not fit together: see pip's words above")
    known, unanswered = audit(pinned, index)
    print("\n".join([*wrong, *known, f"{len(pinned) - len(unanswered)} of {len(pinned)} pins audited"]))
    if unanswered:
        print(f"NOT AUDITED, because {index} gave no answer: {', '.join(unanswered)}")
    return 1 if wrong or known else NO_ANSWER if unanswered else 0


if __name__ == "__main__":
    sys.exit(main())
