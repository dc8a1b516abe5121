"""The device of a run, its processes and its precision."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import DistributedDataParallelKwargs, GradientAccumulationPlugin, broadcast_object_list

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
    # cuDNN plans its attention anew for every shape, which takes near a second, and our shapes change at every step.
    torch.backends.cuda.enable_cudnn_sdp(False)
    return Accelerator(
        mixed_precision="no",
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
        kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False, gradient_as_bucket_view=True)],
    )


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """A context that multiplies matrices in the precision of a DPOConfig; weights stay in float32."""
    half = half_precision(device, precision)
    return torch.autocast(device.type, half or torch.bfloat16, enabled=half is not None)


def half_precision(device: torch.device, precision: str) -> torch.dtype | None:
    """The type of the factors in matrix products, None for float32.

    `precision`: "fp32", "bf16", "fp16", or "auto": on a GPU bf16, or fp16 if it has no bf16; fp32 elsewhere. Losses in
    fp16 must be scaled (`OptimizerStep`).
    """
    if precision == "auto" and device.type == "cuda":
        precision = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)


@contextmanager
def rounded_products() -> Iterator[None]:
    """While open, an NVIDIA GPU rounds the factors of float32 products to 10 bits (TF32), which is much faster."""
    setting = torch.backends.cuda.matmul
    before, setting.allow_tf32 = setting.allow_tf32, True
    try:
        yield
    finally:
        setting.allow_tf32 = before
