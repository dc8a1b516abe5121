"""A language of four tokens and end of text, a GPT-2 of 4,000 weights, and comparisons: small enough to see all."""

from functools import cache

import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from dpo_notes.pairs.load import PreferencePair
from dpo_notes.training.pretrain import END_OF_TEXT

TOKENS = (END_OF_TEXT, "a", "b", "c", "ab")  # "a" before "b" becomes one token, also across a border
CONTEXT = 24  # tokens
DROPOUT = 0.1  # GPT-2's own rate
SHARPNESS = 8  # times the weights of a fresh GPT-2, whose predictions would all be close to 1/5
# The raters of this language like "c" and dislike "b". Prompts end in "a" and responses begin with "b" now and then.
PAIRS = tuple(
    PreferencePair(*texts)
    for texts in (
        ("ca", "bcc", "babb"),
        ("ab", "ccac", "b"),
        ("c", "cca", "abbab"),
        ("ba", "cac", "bbabac"),
        ("cabca", "cc", "bcb"),
        ("b", "acccc", "abb"),
        ("aca", "bc", "bbbab"),
        ("cc", "c", "babab"),
    )
)


@cache
def letter_tokenizer() -> PreTrainedTokenizerBase:
    """Byte-level BPE with a single merge, "a" + "b". End of text is also its padding, as in GPT-2. One for all."""
    bpe = ByteLevelBPETokenizer(vocab={token: number for number, token in enumerate(TOKENS)}, merges=[("a", "b")])
    bpe.add_special_tokens([END_OF_TEXT])
    return PreTrainedTokenizerFast(tokenizer_object=bpe._tokenizer, eos_token=END_OF_TEXT, pad_token=END_OF_TEXT)


def letter_model(seed: int = 0) -> GPT2LMHeadModel:
    """A new GPT-2 for these letters with random weights, in float64, in training mode with dropout.

    Drawn from torch's global generator, which is seeded here and restored afterwards.
    """
    size = {"vocab_size": len(TOKENS), "n_positions": CONTEXT, "n_embd": 16, "n_layer": 1, "n_head": 2}
    dropout = dict.fromkeys(("attn_pdrop", "embd_pdrop", "resid_pdrop"), DROPOUT)
    shape = GPT2Config(**size, **dropout, bos_token_id=0, eos_token_id=0)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = GPT2LMHeadModel(shape).double().train()
    with torch.no_grad():
        for matrix in (parameter for parameter in model.parameters() if parameter.ndim > 1):
            matrix.mul_(SHARPNESS)
    return model
