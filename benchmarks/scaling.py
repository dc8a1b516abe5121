"""python benchmarks/scaling.py    what a pair costs as the work grows: ours beside TRL, tuned

From GPT-2 with 4 layers × 128 channels and 50,257 words, a prompt of 50 words, answers of 25 and a batch of 8, this
varies one size at a time: prompt, answers, vocabulary, batch, channels. Measures pairs per second and memory, each run
in its own process, the two sides in turn. Needs the packages of tests/requirements.txt. `--record` writes table and
picture into benchmarks/.
"""

import argparse
import statistics
import sys
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import results
from compare_trl import run
from one_side import OURS, TRL_TUNED, Work

from dpo_notes.plots.runs import POLICY, REFERENCE, open_axes

PICTURE = Path(__file__).with_name("scaling.png")
BASE = Work(prompt=(50, 50), response=(25, 25), steps=8)
AXES = {
    "prompt (words)": ("prompt", [10, 50, 200, 400], lambda size: (size, size)),
    "answers (words)": ("response", [10, 25, 100, 200], lambda size: (size, size)),
    "vocabulary": ("vocabulary", [2000, 10000, 50257], int),
    "batch (pairs)": ("batch", [1, 4, 8, 16], int),
    "channels": ("channels", [64, 128, 256, 512], int),
}
COLORS = {OURS: POLICY, TRL_TUNED: REFERENCE}

Point = tuple[str, int, str, float, float]  # axis, size, side, pairs a second, memory in MiB


def measure() -> list[Point]:
    """All points, each printed when it is measured."""
    points = []
    for axis, (field, sizes, value) in AXES.items():
        for size in sizes:
            for side in COLORS:
                got = run(replace(BASE, side=side, **{field: value(size)}))
                speed = got["pairs_per_second"]
                points.append((axis, size, side, speed, got["memory_mib"]))
                print(
                    f"{axis:16} {size:6} {side:10} {speed:7.1f} pairs a second {got['memory_mib']:7.0f} MiB", flush=True
                )
    return points


def table(points: list[Point]) -> str:
    lines = ["| | | pairs a second | TRL, tuned | ratio | memory, MiB | TRL, tuned |", "|---|--:|--:|--:|--:|--:|--:|"]
    for ours, theirs in zip(points[::2], points[1::2], strict=True):
        ratio = ours[3] / theirs[3]
        lines.append(
            f"| {ours[0]} | {ours[1]:,} | {ours[3]:.1f} | {theirs[3]:.1f} | {ratio:.1f} × | {ours[4]:.0f} | {theirs[4]:.0f} |"
        )
    return "\n".join(lines)


def picture(points: list[Point]) -> None:
    figure, panels = plt.subplots(2, len(AXES), sharey="row", figsize=(3 * len(AXES), 5.4), layout="constrained")
    for column, axis in zip(panels.T, AXES, strict=True):
        for side, color in COLORS.items():
            mine = [point for point in points if point[0] == axis and point[2] == side]
            for ax, place in zip(column, (3, 4), strict=True):
                style = "o-" if side == OURS else "s--"
                ax.loglog(
                    [point[1] for point in mine], [point[place] for point in mine], style, color=color, label=side
                )
        column[1].set_xlabel(axis)
        for ax in column:
            sizes = AXES[axis][1]
            ax.set_xticks(sizes, [f"{size:,}" for size in sizes])
            ax.yaxis.set_major_formatter("{x:g}")
            ax.minorticks_off()
        open_axes(*column)
    panels[0, 0].set_ylabel("pairs a second")
    panels[1, 0].set_ylabel("memory beyond the start, MiB")
    panels[0, 0].legend(frameon=False)
    figure.savefig(PICTURE, dpi=110)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="write table and picture into benchmarks/")
    args = parser.parse_args()
    points = measure()
    ratios = [ours[3] / theirs[3] for ours, theirs in zip(points[::2], points[1::2], strict=True)]
    print(
        f"\n{table(points)}\n\n{min(ratios):.1f} to {max(ratios):.1f} times, {statistics.median(ratios):.1f} in the middle"
    )
    if args.record:
        picture(points)
        said = f"![Pairs a second and memory over five sizes, ours and TRL's]({PICTURE.name})\n\n{table(points)}"
        results.write("What a pair costs as the work grows", said, packages=("trl", "datasets"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
