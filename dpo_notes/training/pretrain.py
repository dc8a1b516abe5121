"""Next-token pretraining: train a tokenizer and a small GPT-2 from scratch on a list of texts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from tokenizers import ByteLevelBPETokenizer
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from dpo_notes.maths.errors import InputError
from dpo_notes.maths.logps import token_logps
from dpo_notes.training.device import new_accelerator
from dpo_notes.training.step import OptimizerStep

END_OF_TEXT = "<|endoftext|>"


@dataclass(frozen=True)
class PretrainConfig:
    """Settings of a GPT-2 that learns the review world."""

    vocabulary_size: int = 2000  # tokens of the byte-level BPE: most words of the review world are one token
    context: int = 128  # tokens; the longest sequence the model can take
    layers: int = 4
    channels: int = 160
    heads: int = 4
    steps: int = 6000  # optimizer steps
    batch_size: int = 8  # blocks of `context` tokens per step
    learning_rate: float = 4e-3  # high: small models tolerate it
    warmup_steps: int = 100
    weight_decay: float = 0.02
    adam_betas: tuple[float, float] = (0.9, 0.95)  # a shorter memory than the default suits few steps
    max_grad_norm: float = 1.0
    seed: int = 0

    def __post_init__(self):
        if self.steps < 1:
            raise InputError(f"steps is {self.steps}; expected 1 or more")


def train_tokenizer(texts: Sequence[str], *, vocabulary_size: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer like GPT-2's; its end-of-text token also serves as padding and beginning of text."""
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(texts, vocab_size=vocabulary_size, special_tokens=[END_OF_TEXT], show_progress=False)
    special = {"bos_token": END_OF_TEXT, "eos_token": END_OF_TEXT, "pad_token": END_OF_TEXT}
    return PreTrainedTokenizerFast(tokenizer_object=bpe._tokenizer, **special)


def new_model(tokenizer: PreTrainedTokenizerBase, config: PretrainConfig) -> GPT2LMHeadModel:
    """A GPT-2 with random weights and no dropout; torch's global generator is seeded for it and then restored."""
    shape = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=config.context,
        n_embd=config.channels,
        n_layer=config.layers,
        n_head=config.heads,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        attn_pdrop=0.0,
        embd_pdrop=0.0,
        resid_pdrop=0.0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(config.seed)
        return GPT2LMHeadModel(shape)


def pack_blocks(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], *, length: int, generator: torch.Generator
) -> tuple[Int[Tensor, "blocks time"], Int[Tensor, "blocks time"]]:
    """(input_ids, position_ids): all texts in random order, packed into blocks of `length` without padding.

    Each text ends in end of text, and every other one also begins with it: the model learns to start both from a prompt
    and from nothing. Positions start at 0 in each text, which is how `pretrain` keeps texts apart. The end of a block's
    last text is dropped if it does not fit. Raises InputError if the texts do not fill one block.
    """
    end = tokenizer.eos_token_id
    encoded = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    blocks, positions, block, places = [], [], [], []
    for count, number in enumerate(torch.randperm(len(encoded), generator=generator).tolist()):
        sequence = [end] * (count % 2) + encoded[number] + [end]
        block, places = block + sequence, places + list(range(len(sequence)))
        if len(block) >= length:
            blocks.append(block[:length])
            positions.append(places[:length])
            block, places = [], []
    if not blocks:
        raise InputError(f"{len(texts)} texts hold fewer than {length} tokens; expected at least one block of them")
    return torch.tensor(blocks), torch.tensor(positions)


def text_attention(position_ids: Int[Tensor, "blocks time"]) -> Bool[Tensor, "blocks 1 time time"]:
    """True where the row's token may attend to the column's: in the same text, and not later than itself."""
    text = (position_ids == 0).cumsum(1)
    earlier = torch.ones(position_ids.shape[1], position_ids.shape[1], dtype=torch.bool, device=text.device).tril()
    return (text[:, None, :, None] == text[:, None, None, :]) & earlier


def pretrain(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], config: PretrainConfig
) -> Iterator[dict[str, float]]:
    """Train in place; yields one row per step: "step", "loss" (nats per token), "grad_norm", "learning_rate".

    loss = −mean over tokens of log p(token | earlier tokens), the cross-entropy of Radford et al. (2019).
    Known value: close to log(vocabulary size) at the first step, when the weights are random.
    """
    generator = torch.Generator().manual_seed(config.seed)
    accelerator = new_accelerator()
    take_step = OptimizerStep(
        model,
        accelerator,
        learning_rate=config.learning_rate,
        total_steps=config.steps,
        warmup_steps=config.warmup_steps,
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        adam_betas=config.adam_betas,
    )

    def share(batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        input_ids, position_ids = (tensor.to(accelerator.device) for tensor in batch)
        mask = text_attention(position_ids)
        logits = take_step.model(input_ids=input_ids, position_ids=position_ids, attention_mask=mask).logits
        # A text's first token is read but not scored: nothing before it predicts it.
        loss = -token_logps(logits, input_ids)[position_ids > 0].mean()
        return {"loss": loss / accelerator.num_processes}  # every process computes the whole batch

    batches: Iterator[tuple[Tensor, Tensor]] = iter(())
    for step in range(1, config.steps + 1):
        batch = next(batches, None)
        if batch is None:  # all texts used: start over, in another order
            blocks = pack_blocks(tokenizer, texts, length=config.context, generator=generator)
            batches = zip(*(tensor.split(config.batch_size) for tensor in blocks), strict=True)
            batch = next(batches)
        yield {"step": step, **take_step(step, [batch], share)}
