"""The output head, which scores every word of the vocabulary: how to run it at a few positions only, and exactly."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from dpo_notes.maths.chunked_logps import chunked_picked_logps
from dpo_notes.maths.lean_logps import lean_picked_logps
from dpo_notes.maths.logps import picked_logps

# Model types whose head is a matrix, with nothing before or after it. A test compares each with its own logits.
PLAIN = ("gemma", "gpt2", "gpt_neox", "llama", "mistral", "qwen2", "qwen3")
FULL = (torch.float32, torch.float64)


def predicted_logps(
    model: nn.Module, index: Int[Tensor, " tokens"], tokens: Int[Tensor, " tokens"], **inputs: object
) -> Float[Tensor, " tokens"]:
    """Log-probability of each of `tokens`, in nats, as predicted at position `index` of the model's flattened `inputs`.

    No other position passes through the head. If it is a plain matrix, the logits are not even kept:
    `lean_picked_logps` on a CPU in full precision, `chunked_picked_logps` elsewhere.
    """
    return output_and_logps(model, index, tokens, **inputs)[1]


def output_and_logps(
    model: nn.Module, index: Int[Tensor, " tokens"], tokens: Int[Tensor, " tokens"], **inputs: object
) -> tuple[ModelOutput, Float[Tensor, " tokens"]]:
    """`predicted_logps`, and the model's output, for what else is in it."""
    if not _is_plain(unwrapped(model)):
        with head_sees_only(model, index):
            output = model(**inputs, use_cache=False)
        return output, picked_logps(output.logits, tokens)

    def logps(states: Tensor) -> Tensor:
        states, dtype = states.flatten(0, 1)[index], _factors(states)
        with torch.autocast(states.device.type, enabled=False):
            if states.device.type == "cpu" and dtype in FULL:
                return lean_picked_logps(states, head.weight, tokens)
            return chunked_picked_logps(states, head.weight, tokens, dtype=dtype)

    head = unwrapped(model).get_output_embeddings()
    with forward_of(head, logps):
        output = model(**inputs, use_cache=False)
    return output, output.logits


@contextmanager
def head_sees_only(model: nn.Module, index: Int[Tensor, " tokens"]) -> Iterator[None]:
    """While open, the model's output head gets only the positions `index` of its flattened input.

    Whatever the model does after the head stays as it is. Under autocast a plain head multiplies rounded numbers, but
    its sums are not rounded (see `chunked_picked_logps`).
    """
    head = unwrapped(model).get_output_embeddings()
    own = head.forward

    def logits(states: Tensor) -> Tensor:
        states, dtype = states.flatten(0, 1)[index], _factors(states)
        if type(head) is not nn.Linear or dtype in FULL:
            return own(states)
        with torch.autocast(states.device.type, enabled=False):
            bias = None if head.bias is None else head.bias.float()
            return F.linear(states.to(dtype).float(), head.weight.to(dtype).float(), bias)

    with forward_of(head, logits):
        yield


def unwrapped(model: nn.Module) -> nn.Module:
    """The model itself, where a wrapper for several processes keeps it in `module`."""
    return getattr(model, "module", model)


def _is_plain(model: PreTrainedModel) -> bool:
    head = model.get_output_embeddings()
    plain = type(head) is nn.Linear and head.bias is None and not (head._forward_hooks or head._forward_pre_hooks)
    return plain and model.config.model_type in PLAIN


def _factors(states: Tensor) -> torch.dtype:
    """The precision in which the head's factors are multiplied: autocast's, or that of the states."""
    device = states.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else states.dtype


@contextmanager
def forward_of(module: nn.Module, function: Callable[..., Tensor]) -> Iterator[None]:
    """While open, the module computes `function`; whatever stands around it, a model or a wrapper, runs unchanged."""
    before = vars(module).get("forward")
    module.forward = function
    try:
        yield
    finally:
        del module.forward  # the class has its own
        if before is not None:
            module.forward = before
