"""The reward model: a language model whose head gives one number, read where the response ends."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase

from dpo_notes.language.head import unwrapped
from dpo_notes.language.load import context_length, load_as
from dpo_notes.maths.errors import InputError
from dpo_notes.pairs.batches import Batch, collate, in_order_of_length
from dpo_notes.pairs.encode import encode_responses
from dpo_notes.pairs.wording import one_line

PADDING = "<|pad|>"
TEXTS_PER_FORWARD = 32


def new_reward_model(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """(reward model, its tokenizer): a copy of the language model's trunk under a head that is 0, so every reward is 0.

    r(x, y) = w · h(x, y), where h is the last hidden state at end of text, the one place that has seen all of the
    response, and w is the head. There is no bias, because only differences of rewards are identified.
    The layout is that of transformers' sequence classification with one label, which TRL uses too. Both find the last
    token by the padding id, and GPT-2 pads with end of text, so they would read one token early. So the tokenizer
    returned is a copy with a padding token of its own, and the embedding has a row for it. (`last_token_rewards` goes
    by length and does not need it.) The model and tokenizer given are not changed.
    Raises InputError if transformers cannot give the model such a head.
    Known value: reward 0 for every text, so the loss of a reward model begins at log 2.
    """
    rows = model.get_input_embeddings().weight.shape[0]
    config = copy.deepcopy(model.config)
    config.num_labels, config.pad_token_id = 1, None
    tokenizer = copy.deepcopy(tokenizer)
    if tokenizer.pad_token_id in (None, tokenizer.eos_token_id):
        tokenizer.add_special_tokens({"pad_token": PADDING})
    with torch.random.fork_rng(devices=[]):  # every random weight is overwritten
        try:
            reward_model = AutoModelForSequenceClassification.from_config(config, dtype=model.dtype)
        except ValueError as error:
            raise InputError(f"{type(model).__name__} cannot become a reward model: {one_line(error)}") from error
        reward_model.base_model.load_state_dict(model.base_model.state_dict())
        if tokenizer.pad_token_id >= rows:
            reward_model.resize_token_embeddings(tokenizer.pad_token_id + 1, mean_resizing=False)
    reward_model.config.pad_token_id = tokenizer.pad_token_id
    check_reward_model(reward_model)
    with torch.no_grad():
        reward_model.get_input_embeddings().weight[rows:] = 0
        reward_model.score.weight.zero_()
    return reward_model.to(model.device).eval(), tokenizer


def load_reward_model(name_or_path: str | Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """(reward model, tokenizer) of a folder such as RUN/model, or a hub name, under the rules of `load_model`.

    Raises InputError, in one line, also for a model without a head of one number.
    """
    reward_model, tokenizer = load_as(AutoModelForSequenceClassification, name_or_path)
    if reward_model.config.pad_token_id is None:  # any will do here, but transformers needs one for batches
        reward_model.config.pad_token_id = tokenizer.pad_token_id
    check_reward_model(reward_model)
    return reward_model, tokenizer


def check_reward_model(model: PreTrainedModel) -> None:
    """Raise InputError unless the model has a head `score` of one number, and a padding id."""
    head = getattr(model, "score", None)
    came = type(model).__name__
    if not isinstance(head, nn.Linear):
        raise InputError(f"{came} has no reward head; expected what new_reward_model or load_reward_model returns")
    if head.out_features != 1:
        raise InputError(f"the head of {came} gives {head.out_features} numbers; expected one, the reward")
    if model.config.pad_token_id is None:
        raise InputError(f"{came} has no padding id, which transformers needs; expected config.pad_token_id to be set")


@torch.no_grad()
def reward_of(
    reward_model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    responses: Sequence[str],
) -> Float[Tensor, " batch"]:
    """The learnt reward of each response to its prompt, in nats: P(a preferred to b) = sigma(reward a - reward b).

    End of text is appended to every response, even if it was sampled and cut off before its end. Long texts are cut,
    with the warnings of `encode_pairs`. `functools.partial(reward_of, reward_model, tokenizer)` is a reward_fn.
    Only differences between responses to one prompt have a meaning: adding any f(x) of the prompt alone would change
    neither preferences nor the optimal policy. So do not compare averages of two reward models, or over different
    prompts. Nothing is centred here, because no constant is better than another.
    Raises InputError for what encode_responses refuses, and for a model without a reward head.
    Known value: 0 for every text from a new reward model.
    """
    check_reward_model(reward_model)
    encoded = encode_responses(tokenizer, prompts, responses, max_length=context_length(reward_model))
    rewards = torch.zeros(len(encoded), device=reward_model.device)
    lengths = [len(prompt) + len(response) for prompt, response in encoded]
    for numbers in in_order_of_length(lengths, TEXTS_PER_FORWARD):
        batch = collate(*zip(*(encoded[number] for number in numbers), strict=True)).to(reward_model.device)
        rewards[numbers] = last_token_rewards(reward_model, batch)
    return rewards


def last_token_rewards(model: nn.Module, batch: Batch) -> Float[Tensor, " rows"]:
    """Reward of each row, in nats, read at the last token of its response, which is known by length."""
    places = torch.arange(batch.input_ids.shape[1], device=batch.input_ids.device)
    last = (places * batch.response_mask).amax(dim=1)
    with _head_reads_only(model, last):
        rewards = model(input_ids=batch.input_ids, use_cache=False).logits.squeeze(1)
    return rewards.to(torch.promote_types(rewards.dtype, torch.float32))  # half precision would blur the differences


@contextmanager
def _head_reads_only(model: nn.Module, last: Int[Tensor, " rows"]) -> Iterator[None]:
    """While open, the reward head sees, at every position, the hidden state of position `last` of its row.

    So transformers reads this one, whichever position it picks by token ids. A hook, as in `head.head_sees_only`, so
    that the model's own forward runs unchanged, under any wrapper for several processes.
    """
    rows = torch.arange(len(last), device=last.device)
    hook = unwrapped(model).score.register_forward_pre_hook(
        lambda head, inputs: (inputs[0][rows, last][:, None].expand_as(inputs[0]),)
    )
    try:
        yield
    finally:
        hook.remove()
