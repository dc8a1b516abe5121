"""The device of a run, its processes and its precision."""

import os
from collections.abc import Callable
from typing import TypeVar

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import GradientAccumulationPlugin, broadcast_object_list

from dpo_notes.maths.errors import InputError

T = TypeVar("T")
SHARDING = ("FSDP", "DEEPSPEED", "MEGATRON_LM")  # as Accelerate names them in the environment that it makes


def process_state() -> PartialState:
    """Device and processes, as launched (plain, `torchrun`, `accelerate launch`); the first call fixes both.

    Without a GPU, several processes communicate over gloo: by default, Accelerate would treat each as the only one.
    Raises InputError if Accelerate is configured to shard the model: here each process holds all of it.
    """
    for kind in SHARDING:
        if os.environ.get(f"ACCELERATE_USE_{kind}", "").lower() in ("1", "true", "yes"):
            raise InputError(f"accelerate is configured for {kind}; expected plain data parallelism, without sharding")
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    return PartialState(cpu=several and (accelerator is None or accelerator.type == "mps"))


def from_main_process(act: Callable[[], T]) -> T:
    """The result of `act` in the main process, returned in every process; if `act` raises InputError, all raise it.

    So we query the file system once, and all processes take the same branch.
    """
    answer = [None, None]
    if process_state().is_main_process:
        try:
            answer[0] = act()
        except InputError as error:
            answer[1] = str(error)
    found, problem = broadcast_object_list(answer)
    if problem is not None:
        raise InputError(problem)
    return found


def new_accelerator() -> Accelerator:
    """An Accelerator with device and processes as launched, ignoring everything else that the environment configures.

    We do accumulation (`step.py`) and precision (`autocast`) ourselves. So two runs in one process can use different
    precisions, and no model is left with a changed forward.
    """
    process_state()
    return Accelerator(mixed_precision="no", gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1))


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """A context that multiplies matrices in the precision of a DPOConfig; weights stay in float32.

    `precision`: "fp32", "bf16", or "auto", which is bf16 on a GPU that has it and fp32 elsewhere.
    """
    able = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    enabled = able if precision == "auto" else precision == "bf16"
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)
