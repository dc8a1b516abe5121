"""dpo-notes pretrain: rebuild the embedded world: corpus, tokenizer, GPT-2 and comparisons

examples:
  dpo-notes pretrain
      rebuild data/ from the grammar, with the seed that made it
  dpo-notes pretrain --output /tmp/world --steps 100
      a quick, worse one in another place
"""

import argparse
from dataclasses import replace
from pathlib import Path

from dpo_notes.pairs.embedded import DATA

CORPUS_FOLDER, MODEL_FOLDER, COMPARISONS_FOLDER = PARTS = ("corpus", "gpt2-embedded", "comparisons")
PART = "a part of a world"  # the maker of these folders, which are always replaced as a whole
CORPUS, TRAIN_PAIRS, TEST_PAIRS = 20_000, 3_000, 500
TEXTS_PER_BLOCK = 5.5  # more than fit: no text is used twice, so the model learns the grammar and not the texts


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where to write, and how long to train."""
    parser.add_argument("--output", type=Path, help="folder to write to (default: the repository's data/)")
    parser.add_argument("--steps", type=int, help="optimizer steps (default: as for the embedded model)")
    parser.add_argument("--seed", type=int, default=0)


def run(args: argparse.Namespace) -> int:
    """Write corpus/, gpt2-embedded/ and comparisons/; print the loss and statistics of the model's answers."""
    from dpo_notes.training.device import from_main_process, process_state

    output = args.output or DATA
    from_main_process(lambda: check_world(output))

    import torch
    from transformers.utils.logging import disable_progress_bar

    from dpo_notes.training.output_folder import atomic_folder, take_folder
    from dpo_notes.training.pretrain import PretrainConfig, new_model, train_tokenizer
    from dpo_notes.worlds.reviews import world as reviews

    disable_progress_bar()  # transformers would draw one for each file it writes
    config = PretrainConfig(seed=args.seed, **({} if args.steps is None else {"steps": args.steps}))
    if process_state().is_main_process:
        take_folder(output, maker="world")
    generator = torch.Generator().manual_seed(args.seed)
    # A second stage with larger batches and no weight decay makes ungrammatical words even less likely.
    polish = replace(
        config, steps=-(-config.steps // 5), batch_size=16, learning_rate=1.5e-3, weight_decay=0.0, seed=config.seed + 1
    )
    first, second = (round(TEXTS_PER_BLOCK * stage.steps * stage.batch_size) for stage in (config, polish))
    documents = reviews.sample_documents(max(CORPUS, first + second), generator=generator)
    texts = [document.text for document in documents]
    tokenizer = train_tokenizer(texts[:CORPUS], vocabulary_size=config.vocabulary_size)
    model = new_model(tokenizer, config)
    loss = train_stages(model, tokenizer, [(texts[:first], config), (texts[first : first + second], polish)])
    if not process_state().is_main_process:
        return 0
    model = model.cpu().eval()
    with atomic_folder(output / CORPUS_FOLDER, maker=PART) as folder:
        (folder / "corpus.txt").write_text("".join(text + "\n" for text in texts[:CORPUS]), encoding="utf-8")
    with atomic_folder(output / MODEL_FOLDER, maker=PART) as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    print(f"{output}: loss {loss:.3f} nats a token at the last step")
    write_comparisons(output, model, tokenizer, generator)
    print(describe(model, tokenizer, generator))
    return 0


def check_world(folder: Path) -> None:
    """Raise InputError if the world's folder or one of its parts holds anything that we did not write."""
    from dpo_notes.training.output_folder import check_folder, check_replaceable

    check_folder(folder, maker="world")
    for part in PARTS:
        check_replaceable(folder / part, maker=PART)


def train_stages(model, tokenizer, stages: list) -> float:
    """Pretrain in stages of (texts, config) under one progress bar; returns the last step's loss, in nats per token."""
    from tqdm import tqdm

    from dpo_notes.commands.memory import keep_freed_memory
    from dpo_notes.training.pretrain import pretrain

    keep_freed_memory()
    with tqdm(total=sum(config.steps for _, config in stages), unit="step", dynamic_ncols=True) as bar:
        for texts, config in stages:
            for row in pretrain(model, tokenizer, texts, config):
                bar.update()
                bar.set_postfix_str(f"loss {row['loss']:.3f} nats a token")
    return row["loss"]


def write_comparisons(output: Path, model, tokenizer, generator) -> None:
    """Draw comparisons/train.jsonl and comparisons/test.jsonl from the model."""
    import json

    from dpo_notes.experiments.comparisons import draw_comparisons
    from dpo_notes.pairs.files import COLUMNS
    from dpo_notes.training.output_folder import atomic_folder

    with atomic_folder(output / COMPARISONS_FOLDER, maker=PART) as folder:
        for split, count in (("train", TRAIN_PAIRS), ("test", TEST_PAIRS)):
            drawn = draw_comparisons(model, tokenizer, count, generator=generator)
            texts = [{name: getattr(pair, name) for name in COLUMNS} | {"p_chosen": round(p, 4)} for pair, p in drawn]
            rows = [json.dumps(row) + "\n" for row in texts]
            (folder / f"{split}.jsonl").write_text("".join(rows), encoding="utf-8")


def describe(model, tokenizer, generator) -> str:
    """Statistics of the model's answers to 1000 prompts: grammar, the raters' reward, length, and their correlation."""
    import torch

    from dpo_notes.language.generate import sample
    from dpo_notes.worlds.reviews import world as reviews

    prompts = reviews.sample_prompts(1000, generator=generator)
    answers = sample(model, tokenizer, prompts, generator=generator, max_new_tokens=96)
    grammatical = sum(reviews.is_grammatical(prompt + answer) for prompt, answer in zip(prompts, answers, strict=True))
    rewards = reviews.reward(prompts, answers)
    lengths = torch.tensor([float(len(answer.split())) for answer in answers], dtype=rewards.dtype)
    correlation = torch.corrcoef(torch.stack([lengths, rewards]))[0, 1]
    return (
        f"of 1000 samples {grammatical / 10:.1f}% grammatical; reward {rewards.mean():.2f} ± {rewards.std():.2f} nats; "
        f"{lengths.mean():.1f} words; correlation of reward with length {correlation:.2f}"
    )
