"""python benchmarks/site_latency.py [PAGE ...]    how fast the website's explorers react to keys

For the site built by `python run.py site`: opens its pages from the folder, without a network, in headless Chromium,
and presses arrow keys on every slider and list of every explorer. The time from the key press to the frame that shows
its effect comes from Chromium's own trace. Needs the packages of tests/requirements.txt. `--record` writes the table
into benchmarks/RESULTS.md.
"""

import argparse
import json
import random
import statistics
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path += [str(ROOT / "authoring")]

import results
from lab_page import browser
from widget_latency import summary

SITE = ROOT / "build" / "site"
PAUSE = (0.06, 0.16)  # seconds between presses, random so as not to follow the frames
HEADING = (
    "Milliseconds from a key press to the frame that shows its effect, once an explorer's pictures are loaded: median, "
    "95th percentile; presses; and what its pictures weigh."
)
PLACE = (
    "control => control.type === 'range' ? [+control.value, +control.max] : [control.selectedIndex, control.length - 1]"
)
LOADED = """
figure => Promise.all(JSON.parse(figure.querySelector('script').textContent).map((_, number) => new Promise(done => {
    Object.assign(new Image(), {onload: done, src: `${figure.dataset.pictures}/${number}.webp`});
})))
"""


def milliseconds(trace: bytes) -> list[float]:
    """The time from each key press to the end of the frame that shows its effect; presses without effect have none."""
    events = sorted(json.loads(trace)["traceEvents"], key=lambda event: event.get("ts", 0))
    open_events, times = defaultdict(list), []
    for event in events:  # the stages of one press lie within its EventLatency and share its number
        stack = open_events[json.dumps(event.get("id2"))]
        if event["ph"] == "b":
            stack.append([event, False])
        elif event["ph"] == "e" and stack:
            begun, shown = stack.pop()
            if stack:
                stack[-1][1] |= shown or "ToPresentation" in begun["name"]
            elif shown and begun.get("args", {}).get("event_latency", {}).get("event_type") == "KEY_PRESSED":
                times.append((event["ts"] - begun["ts"]) / 1000)
    return times


def measure(program, page, figure, presses: int) -> list[float]:
    """Milliseconds of `presses` presses, divided among the explorer's sliders and lists: to the end, back and so on."""
    figure.scroll_into_view_if_needed()
    figure.evaluate(LOADED)
    pause = random.Random(0)
    program.start_tracing(page=page, categories=["input", "benchmark"])
    controls = figure.locator("[data-count]:not([type=checkbox])").all()
    for control in controls:
        control.focus()
        key = "ArrowRight"
        for _ in range(presses // len(controls)):
            place, last = control.evaluate(PLACE)
            key = "ArrowLeft" if place == last else "ArrowRight" if place == 0 else key
            page.keyboard.press(key)
            page.wait_for_timeout(1000 * pause.uniform(*PAUSE))
    return milliseconds(program.stop_tracing())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="*", type=Path, default=sorted(SITE.glob("[0-9]*.html")))
    parser.add_argument("--presses", type=int, default=48, help="key presses an explorer (default 48)")
    parser.add_argument("--record", action="store_true", help="write the table into benchmarks/RESULTS.md")
    args = parser.parse_args()
    if not args.pages:
        parser.error(f"no pages in {SITE}; build them with `python run.py site`")
    rows, medians = [], []
    with browser() as program:
        for path in args.pages:
            page = program.new_context(offline=True, viewport={"width": 1400, "height": 1000}).new_page()
            page.goto(path.resolve().as_uri())
            page.wait_for_function("window.MathJax?.startup?.promise?.then(() => true)")
            for figure in page.locator("figure.explorer").all():
                pictures = path.parent / figure.get_attribute("data-pictures")
                times = summary(measure(program, page, figure, args.presses))
                size = sum(file.stat().st_size for file in pictures.iterdir())
                medians.append(times["median"])
                rows.append(
                    f"| {path.stem[:2]} {pictures.name} | {times['median']:.1f} | {times['p95']:.1f} "
                    f"| {times['n']} | {size / 1e6:.2f} MB |"
                )
                print(rows[-1], flush=True)
            page.context.close()
        used = f"Chromium {program.version}, without a window."
    table = "\n".join(["| explorer | median | p95 | presses | pictures |", "|---|--:|--:|--:|--:|", *rows])
    said = f"{HEADING} {used} The median of the medians is {statistics.median(medians):.1f}.\n\n{table}"
    print(f"\n{said}")
    if args.record:
        results.write("How fast the website's explorers follow the hand", said)
    return 0


if __name__ == "__main__":
    sys.exit(main())
