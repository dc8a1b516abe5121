"""python benchmarks/widget_latency.py [NOTEBOOK ...]    how fast the explorers react to keys

In JupyterLab and headless Chromium: milliseconds from a key press on a slider to changed pixels, for every explorer
and, alternating press by press, for a plain one (reference_explorer.py) on the same page; pictures a second while a key
is held down. In Python alone: milliseconds of one move, and of the model's forward pass within it. Needs the packages
of tests/requirements.txt and Chromium. On a busy machine only the ratios mean something.
"""

import argparse
import contextlib
import io
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path += [str(ROOT / "authoring"), str(ROOT)]

import ipywidgets as W
import nbformat
import results
import torch
from lab_page import browser, close, explorers, explorers_only, lab, open_and_run
from nbformat.v4 import new_code_cell
from notebook_page import Page as Notebook
from transformers import PreTrainedModel

from dpo_notes.teaching.live import Explorer

HELD = 2000  # milliseconds for which a key is held down
REPEAT = 33  # milliseconds between its repetitions, as on a keyboard
SECONDS = 300  # to wait for the explorers of a notebook
HEADING = (
    "Milliseconds from a key press to changed pixels, median and 95th percentile; the same for the plain form of an "
    "explorer (reference_explorer.py), pressed in turn on the same page; the ratio of the medians; pictures a second while "
    "a key is held, and the plain form's; milliseconds of one move in Python, and of the model's forward pass within it."
)
COLUMNS = ["explorer", "median", "p95", "plain", "p95", "ratio", "a second", "plain", "move", "forward"]
REFERENCE_CELL = f"import sys; sys.path.insert(0, {str(ROOT / 'benchmarks')!r})\nimport reference_explorer\nreference_explorer.Reference()"

# Adds to the page press(explorer, slider, key) -> milliseconds until a frame shows the new picture, or null if none
# came; and hold(explorer, slider, milliseconds, repeat) -> pictures shown.
MEASURES = """
() => {
    const source = explorer => explorer.querySelector('.widget-html img')?.src;
    const nextPicture = (explorer, before, limit) => new Promise(resolve => {
        const done = value => { observer.disconnect(); clearTimeout(timer); resolve(value); };
        const observer = new MutationObserver(async () => {
            const image = explorer.querySelector('.widget-html img');
            if (!image || image.src === before) return;
            observer.disconnect();
            await image.decode();
            requestAnimationFrame(() => done(performance.now()));
        });
        const timer = setTimeout(() => done(null), limit);
        observer.observe(explorer, {subtree: true, childList: true, attributes: true, attributeFilter: ['src']});
    });
    window.arm = (explorer, slider) => {
        const handle = explorer.querySelectorAll('[role=slider]')[slider];
        handle.focus();
        const before = source(explorer);
        window.pressed = new Promise(resolve => handle.addEventListener('keydown', event => {
            const start = event.timeStamp;
            nextPicture(explorer, before, 2000).then(end => resolve(end === null ? null : end - start));
        }, {once: true, capture: true}));
    };
    window.hold = async (explorer, slider, milliseconds, repeat) => {
        const handle = explorer.querySelectorAll('[role=slider]')[slider];
        const value = name => Number(handle.getAttribute(name));
        let key = 'ArrowRight', pictures = 0, last = source(explorer);
        const observer = new MutationObserver(() => {
            if (source(explorer) && source(explorer) !== last) { pictures += 1; last = source(explorer); }
        });
        observer.observe(explorer, {subtree: true, childList: true, attributes: true});
        const end = performance.now() + milliseconds;
        while (performance.now() < end) {
            if (value('aria-valuenow') >= value('aria-valuemax')) key = 'ArrowLeft';
            if (value('aria-valuenow') <= value('aria-valuemin')) key = 'ArrowRight';
            handle.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true, cancelable: true}));
            await new Promise(resolve => setTimeout(resolve, repeat));
        }
        observer.disconnect();
        return pictures;
    };
}
"""


def in_browser(path: Path, page, address: str, folder: Path, *, presses: int) -> list[dict]:
    """One row for each explorer of the notebook at `path`."""
    copy = folder / "notebooks" / path.name
    names = explorers_only(path, copy)
    notebook = nbformat.read(copy, as_version=4)
    notebook.cells.append(new_code_cell(REFERENCE_CELL))
    nbformat.write(notebook, copy)
    open_and_run(page, address, path.name, seconds=SECONDS)
    *shown, plain = explorers(page, len(names) + 1, seconds=SECONDS)
    page.evaluate(MEASURES)
    rows = []
    for name, explorer in zip(names, shown, strict=True):
        sliders = explorer.locator("[role=slider]").count()
        times, plain_times, silent = [], [], 0
        for number in range(presses):
            slider, turn = number % sliders, number // sliders
            went = press(page, explorer, slider, turn)
            silent += went is None
            times += [went] if went is not None else []
            plain_times += [press(page, plain, 0, number)]
        held = [hold(explorer, slider) for slider in range(sliders)]
        rows.append({
            "notebook": path.stem, "explorer": name, "ms": summary(times), "plain_ms": summary(plain_times),
            "presses_without_change": silent, "pictures_a_second": max(held), "plain_pictures_a_second": hold(plain, 0),
        })  # fmt: skip
    return rows


def press(page, explorer, slider: int, turn: int) -> float | None:
    """Milliseconds of one press: eight to the right, eight back, and so on, within the slider's limits."""
    handle = explorer.locator("[role=slider]").nth(slider)
    now, low, high = (float(handle.get_attribute(f"aria-value{name}")) for name in ("now", "min", "max"))
    right = now <= low or (now < high and turn // 8 % 2 == 0)
    explorer.evaluate("(explorer, slider) => window.arm(explorer, slider)", slider)
    page.keyboard.press("ArrowRight" if right else "ArrowLeft")
    return page.evaluate("() => window.pressed")


def hold(explorer, slider: int) -> float:
    """Pictures a second while a key repeats."""
    arguments = [slider, HELD, REPEAT]
    return explorer.evaluate("(explorer, a) => window.hold(explorer, ...a)", arguments) * 1000 / HELD


def summary(times: list[float]) -> dict[str, float]:
    times = sorted(time for time in times if time is not None)
    p95 = times[min(len(times) - 1, round(0.95 * len(times)))] if times else float("nan")
    return {"n": len(times), "median": statistics.median(times) if times else float("nan"), "p95": p95}


def in_python(path: Path, *, moves: int = 12) -> list[dict[str, float]]:
    """Milliseconds of a move without a browser, and of the model's forward pass in it, for each explorer."""
    made, notebook = [], Notebook(path)
    begin = Explorer.__init__

    def remember(explorer, *arguments, **named):
        begin(explorer, *arguments, **named)
        made.append(explorer)

    namespace, here = {"__name__": "__main__"}, Path.cwd()
    Explorer.__init__ = remember
    os.chdir(path.parent)
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # hides what the cells print
            for cell in notebook.with_needs(notebook.explorer_cells):
                exec(compile(notebook.trees[cell.id], str(path), "exec"), namespace)  # noqa: S102
    finally:
        Explorer.__init__ = begin
        os.chdir(here)
    return [moved(explorer, moves) for explorer in made]


def moved(explorer: Explorer, moves: int) -> dict[str, float]:
    seconds, forward = [], []
    with model_seconds() as model:
        for control in explorer.controls.values():
            for value in neighbours(control, moves):
                model.clear()
                start = time.perf_counter()
                control.value = value
                seconds.append(time.perf_counter() - start)
                forward.append(sum(model))
    return {"move_ms": 1000 * statistics.median(seconds), "forward_ms": 1000 * statistics.median(forward)}


def neighbours(control, moves: int) -> list:
    """Values on a slider's way up from its place, or down if it is at the end; none for other controls."""
    if isinstance(control, W.SelectionSlider):
        values = [option[1] if isinstance(option, tuple) else option for option in control.options]
        return [value for value in values if value != control.value][:moves]
    if not isinstance(control, W.IntSlider | W.FloatSlider | W.FloatLogSlider):
        return []
    log = isinstance(control, W.FloatLogSlider)
    low, high = (control.base**control.min, control.base**control.max) if log else (control.min, control.max)
    step = control.step if not log else control.base**control.step
    values = [control.value * step**k if log else control.value + k * step for k in range(-moves, moves + 1) if k]
    return [value for value in values if low <= value <= high][-moves:]


@contextlib.contextmanager
def model_seconds() -> Iterator[list[float]]:
    """A list that receives, within the `with`, the seconds of each forward pass of a transformers model."""
    seconds, begun = [], []

    def before(module, arguments):
        if isinstance(module, PreTrainedModel):
            begun.append(time.perf_counter())

    def after(module, arguments, result):
        if isinstance(module, PreTrainedModel):
            start = begun.pop()
            if not begun:  # the outermost, which holds the others
                seconds.append(time.perf_counter() - start)

    hooks = torch.nn.modules.module
    added = [hooks.register_module_forward_pre_hook(before), hooks.register_module_forward_hook(after)]
    try:
        yield seconds
    finally:
        for hook in added:
            hook.remove()


def table(rows: list[dict]) -> str:
    head = ["| " + " | ".join(COLUMNS) + " |", "|---" + "|--:" * (len(COLUMNS) - 1) + "|"]
    return "\n".join(head + [line(row) for row in rows])


def line(row: dict) -> str:
    ours, plain = row["ms"], row["plain_ms"]
    numbers = [ours["median"], ours["p95"], plain["median"], plain["p95"], row["ratio"], row["pictures_a_second"]]
    numbers += [row["plain_pictures_a_second"], row["move_ms"], row["forward_ms"]]
    digits = [0, 0, 0, 0, 2, 1, 1, 1, 1]
    cells = [f"{row['notebook'][:2]} {row['explorer']}"] + [f"{n:.{d}f}" for n, d in zip(numbers, digits, strict=True)]
    return "| " + " | ".join(cells) + " |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="*", type=Path, default=sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")))
    parser.add_argument("--presses", type=int, default=48, help="key presses an explorer (default 48)")
    parser.add_argument("--record", action="store_true", help="write the table into benchmarks/RESULTS.md")
    args = parser.parse_args()
    rows = []
    print(f"{HEADING}\n\n{table([])}", flush=True)
    with tempfile.TemporaryDirectory() as place, lab(Path(place) / "lab") as address, browser() as program:
        for path in (path.resolve() for path in args.notebooks):
            page = program.new_page(viewport={"width": 1400, "height": 1200})
            page.set_default_timeout(1000 * SECONDS)
            measured = in_browser(path, page, address, Path(place) / "lab", presses=args.presses)
            close(page)
            for row, python in zip(measured, in_python(path), strict=True):
                rows.append({**row, **python, "ratio": row["ms"]["median"] / row["plain_ms"]["median"]})
                print(line(rows[-1]), flush=True)
        used = f"Chromium {program.version}, without a window."
    if args.record:
        text = f"{HEADING} {used}\n\n{table(rows)}"
        results.write(
            "How fast the explorers follow the hand", text, packages=("jupyterlab", "ipywidgets", "matplotlib")
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
