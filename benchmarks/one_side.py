"""One trainer on one size of model and data, in its own process: `python benchmarks/one_side.py WORK.json OUT.json`.

Started by compare_trl.py and scaling.py. WORK.json holds the fields of Work; OUT.json receives the measurements.
"""

import json
import math
import os
import statistics
import sys
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, PreTrainedModel, PreTrainedTokenizerBase

from dpo_notes.experiments.trl_run import in_our_order, train_with_trl
from dpo_notes.language.load import frozen_copy, fuse_gelu, load_model
from dpo_notes.pairs.embedded import DATA
from dpo_notes.pairs.encode import EncodedPair, encode_pairs
from dpo_notes.pairs.load import PreferencePair, load_pairs
from dpo_notes.training.config import DPOConfig
from dpo_notes.training.dpo import train_dpo

WARM_UP = 2  # steps that are not counted
CONTEXT = 1024
OURS, TRL, TRL_TUNED = SIDES = ("ours", "TRL, default", "TRL, tuned")
TRL_WITHOUT_CUDNN = "TRL, tuned, without cuDNN's attention"
TUNED = {"precompute_ref_log_probs": True, "gradient_checkpointing": False, "optim": "adamw_torch_fused"}
CHANGES = {TRL: {}, TRL_TUNED: TUNED, TRL_WITHOUT_CUDNN: TUNED}


@dataclass(frozen=True)
class Work:
    """The model, the data and the trainer. `layers=0` is the embedded model, with its own comparisons."""

    side: str = OURS
    device: str = "cpu"
    layers: int = 4
    channels: int = 128
    vocabulary: int = 50257
    prompt: tuple[float, float] = (32, 48)  # words: minimum and maximum (uniform), or median and sigma (log-normal)
    response: tuple[float, float] = (12, 32)
    lognormal: bool = False
    batch: int = 8
    steps: int = 20


def model_and_pairs(work: Work) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, list[PreferencePair]]:
    """The same for all sides: new weights from seed 0, and words of the corpus in the lengths of `work`.

    Each side has the activation that its users get: ours from `load_model`, TRL's from transformers.
    """
    model, tokenizer = load_model()
    count = work.batch * work.steps
    if work.layers == 0:
        if work.side != OURS:
            model = AutoModelForCausalLM.from_pretrained(DATA / "gpt2-embedded", use_safetensors=True)
        return model, tokenizer, load_pairs("embedded", split="train")[:count]
    end = tokenizer.eos_token_id
    heads = work.channels // (32 if work.channels < 512 else 64)
    shape = {"n_layer": work.layers, "n_embd": work.channels, "n_head": heads}
    off = dict.fromkeys(("attn_pdrop", "resid_pdrop", "embd_pdrop"), 0.0)
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=work.vocabulary, n_positions=CONTEXT, bos_token_id=end, eos_token_id=end, **shape, **off
    )
    model = GPT2LMHeadModel(config)
    if work.side == OURS:
        fuse_gelu(model)
    return model, tokenizer, pairs_of_words(work, count)


def pairs_of_words(work: Work, count: int) -> list[PreferencePair]:
    """Comparisons made of consecutive words of the corpus; nearly every word is one token."""
    words = (DATA / "corpus" / "corpus.txt").read_text(encoding="utf-8").split()
    generator = torch.Generator().manual_seed(0)
    taken = 0

    def text(lengths: tuple[float, float]) -> str:
        nonlocal taken
        size = length(lengths, work.lognormal, generator)
        taken += size
        return " ".join(words[(taken - size + k) % len(words)] for k in range(size))

    return [
        PreferencePair(text(work.prompt), " " + text(work.response), " " + text(work.response)) for _ in range(count)
    ]


def length(numbers: tuple[float, float], lognormal: bool, generator: torch.Generator) -> int:
    first, second = numbers
    if lognormal:
        return max(1, min(CONTEXT // 3, round(first * math.exp(second * torch.randn((), generator=generator).item()))))
    return int(torch.randint(int(first), int(second) + 1, (), generator=generator))


def settings(work: Work) -> DPOConfig:
    """The settings of all sides."""
    return DPOConfig(
        learning_rate=1e-4,
        batch_size=work.batch,
        warmup_fraction=0.0,
        eval_samples=0,
        precision="bf16" if work.device == "cuda" else "fp32",
        max_length=CONTEXT,
    )


def measure(work: Work) -> dict:
    """Loss of each step, seconds of each counted step and of the whole run, and peak memory in MiB."""
    policy, tokenizer, pairs = model_and_pairs(work)
    reference = frozen_copy(policy)
    config = settings(work)
    encoded = encode_pairs(tokenizer, pairs, max_length=CONTEXT)
    before = memory(work.device)
    started = time.perf_counter()
    ends: list[float] = []

    def after_step() -> None:
        if work.device == "cuda":
            torch.cuda.synchronize()
        ends.append(time.perf_counter() - started)

    if work.side == OURS:
        losses = []
        for row in train_dpo(policy, reference, pairs, tokenizer, config):
            losses.append(row["loss"])
            after_step()
    else:
        if work.side == TRL_WITHOUT_CUDNN:
            torch.backends.cuda.enable_cudnn_sdp(False)
        changes = CHANGES[work.side] | {"use_cpu": work.device == "cpu"}
        ordered = in_our_order(pairs, tokenizer, policy, config)
        _, losses = train_with_trl(policy, reference, ordered, tokenizer, config, after_step=after_step, **changes)
    seconds = [end - begin for begin, end in pairwise(ends)][WARM_UP - 1 :]
    return {
        "losses": losses,
        "step_seconds": seconds,
        "pairs_per_second": work.batch / statistics.median(seconds),
        "whole_seconds": ends[-1],  # set-up of the trainer, the reference's pass and all steps
        "memory_mib": memory(work.device) - before,
        "memory_before_mib": before,
        "tokens_a_pair": tokens_a_pair(encoded),
        "gflop_a_pair": sum(necessary_flops(pair, policy.config) for pair in encoded) / len(encoded) / 1e9,
    }


def tokens_a_pair(encoded: list[EncodedPair]) -> dict[str, float]:
    """Mean number of tokens in the prompt, and in both responses together."""
    count = len(encoded)
    return {
        "prompt": sum(len(pair.prompt) for pair in encoded) / count,
        "responses": sum(len(pair.chosen) + len(pair.rejected) for pair in encoded) / count,
    }


def necessary_flops(pair: EncodedPair, config: GPT2Config) -> float:
    """The minimum FLOPs of a step for a pair: forward and twice that backward, each token once, no padding or reference.

    6 for each weight that multiplies a token (blocks: all tokens; head: response tokens), and 12 * channels * layers for
    each token that attention sees from another: 535 GFLOP for GPT-2 124M with a prompt and two responses of 256.
    """
    prompt, responses = len(pair.prompt), [len(pair.chosen), len(pair.rejected)]
    blocks = 12 * config.n_layer * config.n_embd**2
    seen = prompt**2 / 2 + sum(response * prompt + response**2 / 2 for response in responses)
    tokens = prompt + sum(responses)
    heads = config.vocab_size * config.n_embd * sum(responses)
    return 6 * (blocks * tokens + heads) + 12 * config.n_layer * config.n_embd * seen


def memory(device: str) -> float:
    """The peak memory so far of this process, or on a GPU of PyTorch, in MiB."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**10 if sys.platform != "darwin" else 2**20)


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    target.write_text(json.dumps(measure(Work(**json.loads(source.read_text())))))
