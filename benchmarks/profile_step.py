"""python benchmarks/profile_step.py [PRESET ...]    where the time of our DPO step goes, and the machine's limit

For the CPU presets of compare_trl.py: the share of each kind of operation in the steps' time (PyTorch's profiler), the
rate of a step's necessary work, and the rate of the fastest matrix product measured here. A step near that rate is
compute-bound: only less arithmetic makes it faster. So the arithmetic that TRL does for the same pairs is counted too:
two padded sequences a pair, every position through the head, and with its defaults the reference in every step and each
layer's forward pass twice. `--record` writes the text into benchmarks/RESULTS.md.
"""

import argparse
import statistics
import sys
import time
from collections import Counter
from itertools import islice

import results
import torch
from compare_trl import CPU
from one_side import WARM_UP, Work, model_and_pairs, necessary_flops, settings

from dpo_notes.experiments.trl_run import in_our_order
from dpo_notes.language.load import frozen_copy
from dpo_notes.pairs.encode import encode_pairs
from dpo_notes.training.dpo import train_dpo

STEPS = 8  # that are measured
KINDS = {  # by name of the operation
    "matrix products": "aten::mm aten::addmm aten::bmm",
    "attention": "aten::_scaled_dot_product_flash_attention_for_cpu aten::_scaled_dot_product_flash_attention_for_cpu_backward",
    "element by element (GELU, sums, layer norms)": "aten::gelu aten::gelu_backward aten::mul aten::add aten::add_ "
    "aten::native_layer_norm aten::native_layer_norm_backward",
    "softmax over the vocabulary": "aten::exp_ aten::amax aten::sub_ aten::sum _LeanPickedLogpsBackward",
    "moving numbers (packing, copies, zeros)": "aten::index aten::cat aten::copy_ aten::fill_ aten::_index_put_impl_ "
    "aten::index_copy_ aten::index_add_ aten::embedding_dense_backward",
    "AdamW, norm and clipping": "aten::_fused_adamw_ aten::linalg_vector_norm aten::mul_ aten::_foreach_mul_ aten::stack",
}
KIND_OF = {name: kind for kind, names in KINDS.items() for name in names.split()}
REST = "the rest, mostly Python and the dispatch of operations"
SIZES = ((368, 160, 640), (512, 512, 2048), (1024, 1024, 1024), (2048, 2048, 2048))


def steps_of(work: Work):
    """The rows of a run, one at a time."""
    policy, tokenizer, pairs = model_and_pairs(work)
    return train_dpo(policy, frozen_copy(policy), pairs, tokenizer, settings(work))


def arithmetic(work: Work) -> tuple[float, float, float, float]:
    """GFLOP a step: the necessary ones, and the minimum for TRL, tuned and by default; MiB of gradients and moments."""
    model, tokenizer, pairs = model_and_pairs(work)
    config, ordered = model.config, in_our_order(pairs, tokenizer, model, settings(work))
    encoded = encode_pairs(tokenizer, ordered, max_length=config.n_positions)
    steps = [encoded[start : start + work.batch] for start in range(0, len(encoded), work.batch)]
    necessary = sum(necessary_flops(pair, config) for pair in encoded)
    weights, head = 12 * config.n_layer * config.n_embd**2, config.vocab_size * config.n_embd
    layers = heads = 0
    for step in steps:
        width = max(len(pair) for pair in step)
        tokens = 2 * len(step) * width
        layers += 2 * tokens * (weights + config.n_layer * config.n_embd * width)
        heads += 2 * tokens * head
    tuned, default = 3 * (layers + heads), 4 * (layers + heads) + layers
    gigaflops = (flops / len(steps) / 1e9 for flops in (necessary, tuned, default))
    return *gigaflops, 3 * 4 * model.num_parameters() / 2**20


def seconds_a_step(rows) -> float:
    """The median over STEPS steps, after the warm-up."""
    for _ in islice(rows, WARM_UP):
        pass
    times = []
    for _ in range(STEPS):
        start = time.perf_counter()
        next(rows)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def shares(rows) -> dict[str, float]:
    """The share of each kind of operation in the time of STEPS steps."""
    for _ in islice(rows, WARM_UP):
        pass
    start = time.perf_counter()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        for _ in islice(rows, STEPS):
            pass
    whole = time.perf_counter() - start
    found = Counter()
    for event in profiler.key_averages():
        if event.key in KIND_OF:
            found[KIND_OF[event.key]] += event.self_cpu_time_total / 1e6 / whole
    return {**dict(found.most_common()), REST: 1 - found.total()}


def best_rate() -> dict[tuple[int, int, int], float]:
    """GFLOP/s of plain matrix products by size, each the best of 30 tries."""
    rates = {}
    for rows, inner, columns in SIZES:
        left, right = torch.randn(rows, inner), torch.randn(inner, columns)
        times = []
        for _ in range(30):
            start = time.perf_counter()
            left @ right
            times.append(time.perf_counter() - start)
        rates[rows, inner, columns] = 2 * rows * inner * columns / min(times) / 1e9
    return rates


def report(name: str) -> str:
    preset = CPU[name]
    needed, tuned, default, kept = arithmetic(preset.work)
    seconds = seconds_a_step(steps_of(preset.work))
    parts = [f"{kind} {share:.0%}" for kind, share in shares(steps_of(preset.work)).items()]
    rates = best_rate()
    limit = max(rates.values())
    small = ", ".join(f"{a} × {b} × {c}: {rate:.0f}" for (a, b, c), rate in rates.items())
    return (
        f"**{preset.title}**, batch {preset.work.batch}: {seconds * 1000:.0f} ms a step for {needed:.1f} GFLOP that are necessary, "
        f"{needed / seconds:.0f} GFLOP/s or {needed / seconds / limit:.0%} of the best matrix product seen here "
        f"({small} GFLOP/s). TRL does at least {tuned / needed:.1f} times that arithmetic tuned, {default / needed:.1f} times by default. "
        f"Gradients and the two moments of AdamW, which every side holds, take {kept:.0f} MiB. "
        f"Of the time of the profiled steps: {'; '.join(parts)}."
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("presets", nargs="*", metavar="PRESET", help=f"of {', '.join(CPU)}")
    parser.add_argument("--record", action="store_true", help="write the text into benchmarks/RESULTS.md")
    args = parser.parse_args()
    if unknown := [name for name in args.presets if name not in CPU]:
        parser.error(f"no preset {unknown[0]!r}; there are {', '.join(CPU)}")
    texts = []
    for name in args.presets or CPU:
        texts.append(report(name))
        print(texts[-1] + "\n", flush=True)
    if args.record:
        results.write("Where the time of our step goes", "\n\n".join(texts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
