"""python benchmarks/gpu_check.py [--output FOLDER]    all that only a GPU can show, in one run; six minutes are the aim

1. The kernels do what the code takes them to do: FlashAttention aligns the last query with the last key, and matrix
   products of bfloat16 come in float32.
2. Log-probabilities and gradients in bfloat16 beside the readable way in float32; the error of log-ratios at logits
   near -70, with rounded logits and as we compute them.
3. Pairs a second and peak memory beside TRL: by default, tuned, and tuned without cuDNN's attention.
4. A GPT-2 124M, pretrained on the corpus of reviews, trained with DPO on the comparisons.

`--record` writes the tables into benchmarks/RESULTS.md and the run into data/recorded/gpu/; `--output` writes both into
a folder instead. `--rehearse` goes through everything in small on a CPU, where nothing is measured. Needs the packages
of tests/requirements.txt.
"""

import argparse
import io
import json
import statistics
import sys
import tempfile
from contextlib import redirect_stdout
from dataclasses import asdict, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import results
import torch
from compare_trl import GPU, GPU_PEAK, LONG, run
from one_side import OURS, TRL, TRL_TUNED, TRL_WITHOUT_CUDNN, Work, model_and_pairs

from dpo_notes.cli import main as dpo_notes
from dpo_notes.experiments.frontier.record import circumstances
from dpo_notes.language.load import frozen_copy, load_model
from dpo_notes.language.score import batch_logps_readable, pair_logps
from dpo_notes.maths.chunked_logps import chunked_picked_logps
from dpo_notes.maths.logps import picked_logps
from dpo_notes.pairs.batches import collate_pairs
from dpo_notes.pairs.encode import encode_pairs
from dpo_notes.pairs.load import load_pairs
from dpo_notes.training.pretrain import PretrainConfig, new_model, pretrain
from dpo_notes.worlds.reviews.world import sample_documents

RECORDED = ROOT / "data" / "recorded" / "gpu"
TRAINED = PretrainConfig(
    layers=12, channels=768, heads=12, steps=500, batch_size=32, learning_rate=6e-4, warmup_steps=50
)
APART = 0.05  # nats; in bfloat16 the sides round differently
SMALL_TRAINED = replace(TRAINED, layers=2, channels=64, heads=2, steps=3, batch_size=2)
SMALL = Work(layers=2, channels=64, batch=4, steps=5, prompt=(8, 8), response=(8, 8))


def kernels(device: str) -> list[str]:
    """The assumptions about FlashAttention and matrix products, each with what was seen."""
    if device == "cpu":
        return ["kernels: not checked on a CPU"]
    from torch.nn.attention.varlen import varlen_attn

    torch.manual_seed(0)
    q, k, v = (
        torch.randn(length, heads, 64, device=device, dtype=torch.bfloat16)
        for length, heads in ((2, 4), (5, 2), (5, 2))
    )
    bounds = [torch.tensor([0, length], device=device, dtype=torch.int32) for length in (2, 5)]
    seen = varlen_attn(q, k, v, *bounds, 2, 5, scale=0.125, window_size=(-1, 0), enable_gqa=True)
    mask = torch.ones(2, 5, dtype=torch.bool, device=device).tril(3)
    exact = [part.transpose(0, 1)[None].double() for part in (q, k.repeat_interleave(2, 1), v.repeat_interleave(2, 1))]
    expected = torch.nn.functional.scaled_dot_product_attention(*exact, attn_mask=mask, scale=0.125)[0].transpose(0, 1)
    apart = (seen - expected).abs().max().item()
    assert apart < 0.02, f"FlashAttention is aligned in another way: {apart}"
    left, right = (torch.randn(256, 256, device=device, dtype=torch.bfloat16) for _ in range(2))
    product = torch.mm(left, right, out_dtype=torch.float32)
    error = (product - left.double() @ right.double()).abs().max().item()
    assert product.dtype == torch.float32 and error < 1e-3, f"sums of products are rounded: {error}"
    return [
        f"FlashAttention, 2 queries of 5 keys, aligned at the end: {apart:.1e} from float64",
        f"products of bfloat16 with sums in float32: {error:.1e} from float64",
    ]


def values_and_gradients(device: str, work: Work) -> list[str]:
    """Our bfloat16 beside the readable way in float32."""
    model, tokenizer, pairs = model_and_pairs(work)
    model = model.to(device).eval()
    encoded = encode_pairs(tokenizer, pairs[:4], max_length=model.config.n_positions)
    found = []
    for half in (True, False):
        model.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=half):
            sides = (
                pair_logps(model, encoded) if half else batch_logps_readable(model, collate_pairs(encoded).to(device))
            )
        (-torch.nn.functional.logsigmoid(sides[0] - sides[1])).sum().backward()
        gradient = torch.cat([weight.grad.flatten() for weight in model.parameters()])
        found.append((torch.cat(sides).detach(), gradient))
    (half, half_gradient), (full, full_gradient) = found
    value, slope = (half - full).norm() / full.norm(), (half_gradient - full_gradient).norm() / full_gradient.norm()
    assert value < 0.01 and slope < 0.1, f"bfloat16 is far from float32: {value}, {slope}"
    return [f"bfloat16 beside float32: log-probabilities {value:.1e}, gradients {slope:.1e} apart (relative)"]


@torch.no_grad()
def noise(device: str) -> list[str]:
    """The error of a response's log-ratio at logits near -70, with rounded logits and without: policies 1% apart."""
    reference, tokenizer = load_model()
    policy, generator = frozen_copy(reference), torch.Generator().manual_seed(0)
    for weight in policy.parameters():
        weight.add_(0.01 * weight.std() * torch.randn(weight.shape, generator=generator))
    batch = collate_pairs(encode_pairs(tokenizer, load_pairs("embedded", split="test")[:64], max_length=128)).to(device)
    tokens = batch.input_ids.flatten()[batch.response_index]
    rows = (batch.response_index // batch.input_ids.shape[1]).to(device)

    def log_ratios(way) -> torch.Tensor:
        sides = []
        for model in (policy, reference):
            states = model.to(device).transformer(input_ids=batch.input_ids).last_hidden_state.flatten(0, 1)
            logps = way(states[batch.response_index - 1], model.lm_head.weight)
            sides.append(torch.zeros(len(batch.input_ids), device=device).index_add(0, rows, logps.float()))
        return sides[0] - sides[1]

    def rounded(states, head):
        return picked_logps((states.bfloat16() @ head.bfloat16().T - 70).bfloat16(), tokens)

    exact = log_ratios(lambda states, head: picked_logps(states @ head.T, tokens))
    ours = log_ratios(lambda states, head: chunked_picked_logps(states, head, tokens, dtype=torch.bfloat16))
    before, after = ((way - exact).std().item() for way in (log_ratios(rounded), ours))
    return [
        f"log-ratios with a standard deviation of {exact.std():.3f} nats: error {before:.3f} with rounded logits, {after:.4f} ours"
    ]


def speeds(works: dict[str, dict[str, Work]]) -> str:
    """A table of pairs a second and memory."""
    lines = ["| | pairs a second | of the GPU's peak | ours is faster by | memory, MiB |", "|---|--:|--:|--:|--:|"]
    for title, sides in works.items():
        ours = None
        for name, work in sides.items():
            got = run(work)
            ours = ours or got
            share = got["pairs_per_second"] * got["gflop_a_pair"] / 1000 / GPU_PEAK
            if work.side != OURS:
                apart = max(abs(mine - its) for mine, its in zip(ours["losses"], got["losses"], strict=True))
                assert apart < APART, f"{name} did other work: losses {apart} apart"
            lines.append(
                f"| {title}: {name} | {got['pairs_per_second']:.0f} | {share:.0%} "
                f"| {ours['pairs_per_second'] / got['pairs_per_second']:.1f} × | {got['memory_mib']:.0f} |"
            )
            print(lines[-1], flush=True)
    return "\n".join(lines)


def all_works(device: str) -> dict[str, dict[str, Work]]:
    fixed, uneven = (replace(GPU[name].work, steps=20) if device == "cuda" else SMALL for name in ("gpt2", "uneven"))
    sides = {side: side for side in (OURS, TRL, TRL_TUNED, TRL_WITHOUT_CUDNN)}
    return {
        "256 + 256/256, batch 16": {name: replace(fixed, side=side) for name, side in sides.items()},
        "the same": {f"ours, batch {size}": replace(fixed, batch=size) for size in (32, 64)},
        "uneven lengths, batch 16": {name: replace(uneven, side=side) for name, side in sides.items()},
    }


def train_124m(device: str, folder: Path) -> str:
    """Pretrain, then `dpo-notes train`; what the command prints. The run's folder is `folder`, without its model."""
    config = TRAINED if device == "cuda" else SMALL_TRAINED
    _, tokenizer = load_model()
    torch.manual_seed(0)
    model = new_model(tokenizer, config)
    # As many rows as GPT-2 has; the tokenizer uses the first 2,000.
    model.resize_token_embeddings(50257, mean_resizing=False)
    texts = [one.text for one in sample_documents(60 * config.steps, generator=torch.Generator().manual_seed(0))]
    losses = [row["loss"] for row in pretrain(model, tokenizer, texts, config)]
    with tempfile.TemporaryDirectory() as place:
        start = Path(place) / "gpt2-124m-reviews"
        model.cpu().save_pretrained(start)
        tokenizer.save_pretrained(start)
        settings = ["batch_size=32", "learning_rate=2e-5", "max_length=128", "eval_every=47", "epochs=2"]
        settings += ["eval_samples=256"] if device == "cuda" else ["eval_samples=4", "epochs=1"]
        words = f"train --model {start} --data embedded --beta 1 --output {place}/run".split()
        with redirect_stdout(io.StringIO()) as said:
            assert dpo_notes([*words, *(word for setting in settings for word in ("--set", setting))]) == 0
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("metrics.jsonl", "curves.png", "samples.md"):
            (folder / name).write_bytes((Path(place) / "run" / name).read_bytes())
    facts = circumstances("python benchmarks/gpu_check.py") | {"device": name_of(device), "pretraining": asdict(config)}
    (folder / "run.json").write_text(json.dumps(facts | {"beta": 1, "settings": settings}, indent=1) + "\n")
    table = said.getvalue()
    table = table[table.index("held out  ") : table.index("curves:")].rstrip()
    last = statistics.mean(losses[-20:])
    return f"Pretrained on the reviews for {config.steps} steps, to {last:.2f} nats a token; then DPO:\n\n```\n{table}\n```"


def name_of(device: str) -> str:
    return "a CPU, in small, as a rehearsal" if device == "cpu" else torch.cuda.get_device_name()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="write RESULTS.md and data/recorded/gpu/")
    parser.add_argument("--output", type=Path, help="a folder for what --record would write")
    parser.add_argument("--rehearse", action="store_true", help="everything in small, on a CPU")
    args = parser.parse_args()
    device = "cpu" if args.rehearse else "cuda"
    if device == "cuda" and not torch.cuda.is_available():
        parser.error("this machine has no CUDA device; --rehearse goes through the script on a CPU")
    folder = (args.output or Path(tempfile.mkdtemp())) / "gpu" if not args.record else RECORDED
    parts = kernels(device) + values_and_gradients(device, SMALL if args.rehearse else LONG) + noise(device)
    print("\n".join(parts), flush=True)
    text = "\n\n".join(
        [
            f"On {name_of(device)}.",
            "\n".join(f"- {part}" for part in parts),
            speeds(all_works(device)),
            train_124m(device, folder),
        ]
    )
    print(text)
    if args.output:
        (args.output / "gpu_check.md").write_text(text + "\n", encoding="utf-8")
    if args.record:
        results.write("On a GPU", text, packages=("trl", "datasets"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
