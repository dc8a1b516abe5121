"""dpo-notes sample: let a model answer prompts

examples:
  dpo-notes sample --prompt "Where is Shanghai?" --count 5
  dpo-notes sample --model runs/embedded-dpo-1/model --prompt "Review of The Silent Harbour:"
  dpo-notes sample --temperature 0 --prompt "Shanghai is a city in"
      greedy: the most likely token at every step
"""

import argparse

from dpo_notes.pairs.embedded import EMBEDDED


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Model, prompts, and how to sample."""
    parser.add_argument("--model", default=EMBEDDED, help="embedded, a folder, or a hub name such as gpt2")
    parser.add_argument("--prompt", action="append", required=True, help="as often as needed")
    parser.add_argument("--count", type=int, default=1, help="answers to each prompt (default 1)")
    parser.add_argument("--temperature", type=float, default=1.0, help="0 is greedy (default 1)")
    parser.add_argument("--top-k", type=int, default=0, help="keep the k most likely tokens; 0: all (default)")
    top_p = "keep the smallest set with this probability (default 1)"
    parser.add_argument("--top-p", type=float, default=1.0, help=top_p)
    parser.add_argument("--max-new-tokens", type=int, default=60, help="tokens at most (default 60)")
    parser.add_argument("--seed", type=int, default=0)


def run(args: argparse.Namespace) -> int:
    """Print each prompt with its answers."""
    import torch

    from dpo_notes.language.generate import sample
    from dpo_notes.language.load import load_model
    from dpo_notes.pairs.harmless import for_terminal

    model, tokenizer = load_model(args.model)
    prompts = [prompt for prompt in args.prompt for _ in range(args.count)]
    answers = sample(
        model,
        tokenizer,
        prompts,
        generator=torch.Generator().manual_seed(args.seed),
        temperature=args.temperature,
        top_k=args.top_k,
        top_p=args.top_p,
        max_new_tokens=args.max_new_tokens,
    )
    for prompt, answer in zip(prompts, answers, strict=True):
        print(for_terminal(prompt.rstrip(" ") + answer, lines=True))
    return 0
