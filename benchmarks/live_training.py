"""python benchmarks/live_training.py    how often notebook 10's live training draws while it trains

In JupyterLab and headless Chromium: presses Start, and counts pictures and steps for twenty seconds. Needs the packages
of tests/requirements.txt and Chromium. `--record` writes the result into benchmarks/RESULTS.md.
"""

import argparse
import itertools
import re
import statistics
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path += [str(ROOT / "authoring"), str(ROOT)]

import results
from lab_page import COUNT_PICTURES, browser, close, explorers, explorers_only, lab, open_and_run

WATCHED = 20  # seconds
SECONDS = 300  # to wait for the explorers of the notebook


def watch(page, address: str, folder: Path) -> tuple[list[float], int, int]:
    """(time of each picture in milliseconds, the step in the sentence at the beginning, and at the end)."""
    (path,) = (ROOT / "notebooks").glob("10_*.ipynb")
    names = explorers_only(path, folder / "notebooks" / path.name)
    open_and_run(page, address, path.name, seconds=SECONDS)
    live = explorers(page, len(names), seconds=SECONDS)[names.index("explore-live")]
    live.evaluate(COUNT_PICTURES)
    live.get_by_role("button", name="Start").click()
    page.wait_for_function("() => window.drawn.length >= 3")
    first = page.evaluate("() => [window.drawn.length, window.said()]")
    page.wait_for_timeout(1000 * WATCHED)
    drawn, said = page.evaluate("() => [window.drawn, window.said()]")
    live.get_by_role("button", name="Pause").click()
    close(page)
    return drawn[first[0] :], step_of(first[1]), step_of(said)


def step_of(said: str) -> int:
    """The step in the sentence below the picture."""
    return int(re.search(r"[Ss]tep (\d+)", said)[1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="write the result into benchmarks/RESULTS.md")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, lab(Path(place) / "lab") as address, browser() as program:
        page = program.new_page(viewport={"width": 1400, "height": 1200})
        page.set_default_timeout(1000 * SECONDS)
        drawn, begun, ended = watch(page, address, Path(place) / "lab")
    between = sorted(later - earlier for earlier, later in itertools.pairwise(drawn))
    rate = 1000 * (len(drawn) - 1) / (drawn[-1] - drawn[0])
    said = (
        f"{rate:.1f} pictures a second while it trains, {(ended - begun) / WATCHED:.1f} steps a second; between two pictures "
        f"{statistics.median(between):.0f} ms, at most {between[-1]:.0f} ms."
    )
    print(said)
    if args.record:
        results.write("Live training in notebook 10", said, packages=("jupyterlab", "ipywidgets", "matplotlib"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
