"""python benchmarks/compare_trl.py [PRESET ...] [--device cuda]    our DPO and TRL's, side by side

The same weights, pairs, order, optimizer and precision; each run in its own process, the sides in turn. Shows first
that the losses of all steps are equal, then pairs per second (median over the steps of a run), our speed-up (median,
minimum and maximum over the rounds), and the peak memory beyond that before training. TRL runs twice: with its defaults
except for batch size, precision and device, and tuned (reference scored beforehand, no activation checkpointing, fused
AdamW). Needs the packages of tests/requirements.txt (TRL 1.16). `--record` writes the tables to benchmarks/RESULTS.md.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import results
from one_side import OURS, SIDES, Work

EQUAL = 1e-4  # the largest allowed difference between losses of a step
GPU_PEAK = 790  # TFLOP/s of an H200 in bf16, dense


@dataclass(frozen=True)
class Preset:
    title: str
    work: Work
    rounds: int


CPU = {
    "small": Preset("GPT-2, 4 layers × 128, 50,257 words", Work(), 3),
    "gpt2": Preset("GPT-2 124M", Work(layers=12, channels=768, batch=4), 2),
    "embedded": Preset("the embedded GPT-2 and its comparisons", Work(layers=0, steps=50), 3),
}
LONG = Work(device="cuda", layers=12, channels=768, prompt=(256, 256), response=(256, 256), batch=16, steps=30)
GPU = {
    "gpt2": Preset("GPT-2 124M, prompt 256, answers 256", LONG, 3),
    "uneven": Preset(
        "GPT-2 124M, uneven lengths", replace(LONG, prompt=(120, 0.7), response=(120, 0.7), lognormal=True), 3
    ),
}  # fmt: skip


def run(work: Work) -> dict:
    """What one_side.py measures, in its own process."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "work.json", Path(folder) / "out.json"
        source.write_text(json.dumps(asdict(work)))
        command = [sys.executable, str(Path(__file__).with_name("one_side.py")), str(source), str(target)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{work.side} failed:\n{done.stderr[-3000:]}")
        return json.loads(target.read_text())


def compare(preset: Preset, sides: list[str]) -> dict[str, list[dict]]:
    """The measurements of each side, round by round."""
    rounds = [{side: run(replace(preset.work, side=side)) for side in sides} for _ in range(preset.rounds)]
    return {side: [one[side] for one in rounds] for side in sides}


def farthest(measured: dict[str, list[dict]]) -> float:
    """The largest difference between our loss at a step and another side's, over all rounds."""
    return max(
        abs(mine - its)
        for side, runs in measured.items()
        for ours, theirs in zip(measured[OURS], runs, strict=True)
        for mine, its in zip(ours["losses"], theirs["losses"], strict=True)
    )


def ratios(measured: dict[str, list[dict]], side: str, name: str = "pairs_per_second") -> list[float]:
    """Ours over the side's, round by round."""
    return [ours[name] / theirs[name] for ours, theirs in zip(measured[OURS], measured[side], strict=True)]


def table(preset: Preset, measured: dict[str, list[dict]]) -> str:
    first, work = measured[OURS][0], preset.work
    prompt, responses = (first["tokens_a_pair"][name] for name in ("prompt", "responses"))
    done = f"{prompt:.0f} tokens in a prompt and {responses:.0f} in its two answers; {work.steps} steps, {preset.rounds} rounds."
    equal = f"Losses of every step, ours against each side: {farthest(measured):.1e} apart at most."
    lines = [
        f"{done} {equal}",
        "",
        "| | pairs a second | ours is faster by | with set-up and reference's pass | memory, MiB | ours needs |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for side, runs in measured.items():
        speed = statistics.median(one["pairs_per_second"] for one in runs)
        memory = statistics.median(one["memory_mib"] for one in runs)
        times = ratios(measured, side)
        whole = [1 / ratio for ratio in ratios(measured, side, "whole_seconds")]
        share = statistics.median(ratios(measured, side, "memory_mib"))
        lines.append(
            f"| {side} | {speed:.1f} | {statistics.median(times):.1f} × ({min(times):.1f} to {max(times):.1f}) "
            f"| {statistics.median(whole):.1f} × | {memory:.0f} | {share:.2f} × |"
        )
    if work.device == "cuda":
        speed = statistics.median(one["pairs_per_second"] for one in measured[OURS])
        used = speed * first["gflop_a_pair"] / 1000
        lines += [
            "",
            f"{first['gflop_a_pair']:.0f} GFLOP a pair are necessary: {used:.0f} TFLOP/s, {used / GPU_PEAK:.0%} of {GPU_PEAK}.",
        ]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "presets", nargs="*", metavar="PRESET", help=f"of {', '.join(CPU)}; with cuda of {', '.join(GPU)}"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--rounds", type=int, help="number of runs of each side (default: 3, the large model 2)")
    parser.add_argument("--record", action="store_true", help="write the tables into benchmarks/RESULTS.md")
    parser.add_argument("--output", type=Path, help="all numbers, as JSON")
    args = parser.parse_args()
    known = CPU if args.device == "cpu" else GPU
    if unknown := [name for name in args.presets if name not in known]:
        parser.error(f"no preset {unknown[0]!r} for {args.device}; there are {', '.join(known)}")
    tables, everything, apart = {}, {}, 0.0
    for name in args.presets or known:
        preset = replace(known[name], rounds=args.rounds or known[name].rounds)
        measured = compare(preset, list(SIDES))
        everything[name] = measured
        apart = max(apart, farthest(measured)) if args.device == "cpu" else apart
        title = f"{preset.title}, batch {preset.work.batch}, {preset.work.device}"
        tables[title] = table(preset, measured)
        print(f"\n{title}\n\n{tables[title]}", flush=True)
    if args.output:
        args.output.write_text(json.dumps(everything, indent=1) + "\n")
    if apart > EQUAL:
        print(f"\nlosses differ by {apart:.1e}, more than {EQUAL}: the sides did not do the same work")
        return 1
    if args.record:
        for title, text in tables.items():
            results.write(f"DPO side by side with TRL: {title}", text, packages=("trl", "datasets"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
