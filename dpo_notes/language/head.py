"""The output head, which scores every word of the vocabulary: how to run it at a few positions only."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from dpo_notes.maths.lean_logps import lean_picked_logps
from dpo_notes.maths.logps import picked_logps


def predicted_logps(
    model: nn.Module, index: Int[Tensor, " tokens"], tokens: Int[Tensor, " tokens"], **inputs: object
) -> Float[Tensor, " tokens"]:
    """Log-probability of each of `tokens`, in nats, as predicted at position `index` of the model's flattened `inputs`.

    Only for models that do nothing to the logits after the head. No other position passes through the head. On a CPU
    the logits are not even kept (`lean_picked_logps`); under autocast, where matrices are multiplied in bfloat16, and
    on other devices they are.
    """
    if not _allows_lean(unwrapped(model)):
        with head_sees_only(model, index):
            return picked_logps(model(**inputs, use_cache=False).logits, tokens)
    head = unwrapped(model).get_output_embeddings()
    head.forward = lambda states: lean_picked_logps(states.flatten(0, 1)[index], head.weight, tokens)
    try:
        return model(**inputs, use_cache=False).logits
    finally:
        del head.forward  # the class has its own


@contextmanager
def head_sees_only(model: nn.Module, index: Int[Tensor, " tokens"]) -> Iterator[None]:
    """While open, the model's output head gets only the positions `index` of its flattened input.

    We use a hook on the head, so that the model's own forward runs unchanged, with whatever it does after the head and
    under any wrapper for several processes.
    """
    head = unwrapped(model).get_output_embeddings()
    hook = head.register_forward_pre_hook(lambda head, inputs: (inputs[0].flatten(0, 1)[index],))
    try:
        yield
    finally:
        hook.remove()


def unwrapped(model: nn.Module) -> nn.Module:
    """The model itself, where a wrapper for several processes keeps it in `module`."""
    return getattr(model, "module", model)


def _allows_lean(model: nn.Module) -> bool:
    head = model.get_output_embeddings()
    return (
        head.bias is None
        and head.weight.device.type == "cpu"
        and head.weight.dtype in (torch.float32, torch.float64)
        and not torch.is_autocast_enabled("cpu")
    )
