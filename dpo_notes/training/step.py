"""One optimizer step, shared by all loops: accumulate, clip, update, schedule, and transfer the metrics once."""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from accelerate import Accelerator
from jaxtyping import Bool, Float
from torch import Tensor

Share = Callable[[object], dict[str, Tensor]]
# In float16 small gradients become 0, so the loss is multiplied by `scale` and the update divides by it again
# (Micikevicius et al. 2018, arXiv 1710.03740). Where a gradient overflows the step is repeated with half the scale.
FIRST_SCALE, STEPS_TO_DOUBLE = 2.0**16, 2000


class TrainingDiverged(RuntimeError):
    """The loss or its gradient is not finite. The update was not made; the last checkpoint is intact."""


class OptimizerStep:
    """AdamW with warm-up and linear decay, on a model that Accelerate prepares (device, processes).

    `learning_rate` at its peak; `warmup_steps` and `total_steps` in optimizer steps; `weight_decay` on matrices only,
    never on biases and norms; `max_grad_norm` is the L2 norm to which gradients are clipped; `adam_betas` as in Kingma
    and Ba (2015). `speeds`: factors on the learning rate, by the beginning of a parameter's name; others have factor 1.
    `scaled`: whether the shares are computed in float16. Gradients that the model still holds from before are dropped.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        accelerator: Accelerator,
        *,
        learning_rate: float,
        total_steps: int,
        warmup_steps: int,
        weight_decay: float,
        max_grad_norm: float,
        adam_betas: tuple[float, float] = (0.9, 0.999),
        speeds: Mapping[str, float] | None = None,
        scaled: bool = False,
    ):
        model.zero_grad()
        groups: dict[tuple[bool, float], dict] = {}
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                matrix = parameter.dim() >= 2
                speed = next((speed for start, speed in (speeds or {}).items() if name.startswith(start)), 1.0)
                settings = {"params": [], "weight_decay": weight_decay if matrix else 0.0, "speed": speed}
                groups.setdefault((matrix, speed), settings)["params"].append(parameter)
        optimizer = torch.optim.AdamW(groups.values(), lr=learning_rate, betas=adam_betas, fused=True)
        self.model, self.optimizer = accelerator.prepare(model, optimizer)
        self.accelerator = accelerator
        self.learning_rate, self.max_grad_norm = learning_rate, max_grad_norm
        self.total_steps, self.warmup_steps = total_steps, warmup_steps
        self.scale = FIRST_SCALE if scaled else 1.0

    def __call__(self, step: int, microbatches: Sequence[object], share: Share) -> dict[str, float]:
        """Take step number `step` (from 1) and return its metrics with `loss`, `grad_norm` and `learning_rate`.

        `share(microbatch)` returns tensors that add up, over microbatches and processes, to the means over the whole
        step; we differentiate "loss". So splitting a batch changes only rounding.
        Raises TrainingDiverged if loss or gradient is not finite; the weights are then those before the step.
        """
        learning_rate = self.learning_rate_at(step)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate * group["speed"]
        metrics = self._try(microbatches, share)
        while self.scale > 1 and math.isfinite(metrics["loss"]) and not math.isfinite(metrics["grad_norm"]):
            self.scale /= 2
            metrics = self._try(microbatches, share)
        if not (math.isfinite(metrics["loss"]) and math.isfinite(metrics["grad_norm"])):
            came = f"loss {metrics['loss']}, gradient norm {metrics['grad_norm']}"
            raise TrainingDiverged(f"step {step}: {came}; the update was not made")
        if self.scale > 1 and step % STEPS_TO_DOUBLE == 0:
            self.scale *= 2
        return metrics | {"learning_rate": learning_rate}

    def learning_rate_at(self, step: int) -> float:
        """Learning rate of step `step` (from 1): rises to its peak over the warm-up, then falls in a line towards 0."""
        if step <= self.warmup_steps:
            return self.learning_rate * step / self.warmup_steps
        return self.learning_rate * (self.total_steps - step + 1) / (self.total_steps - self.warmup_steps)

    def _try(self, microbatches: Sequence[object], share: Share) -> dict[str, float]:
        """Take the step if loss and gradient are finite; its metrics with "grad_norm"."""
        shares = [self._backward(batch, share, last=batch is microbatches[-1]) for batch in microbatches]
        grads = [weight.grad for weight in self.model.parameters() if weight.grad is not None]
        grad_norm = torch.nn.utils.get_total_norm(grads) / self.scale
        names = list(shares[0])
        totals = self.accelerator.reduce(torch.stack([sum(s[name] for s in shares) for name in names]), "sum")
        self._update(grads, grad_norm, finite=torch.isfinite(totals[names.index("loss")] + grad_norm))
        *values, norm = torch.cat([totals, grad_norm.reshape(1).to(totals)]).tolist()  # the step's only transfer
        return dict(zip(names, values, strict=True)) | {"grad_norm": norm}

    def _update(self, grads: Sequence[Tensor], grad_norm: Float[Tensor, ""], *, finite: Bool[Tensor, ""]) -> None:
        """Change the weights where `finite`; else change nothing: weights, moments and count stay what they were."""
        # As torch.nn.utils.clip_grad_norm_, with the scale: gradients are divided by what they are too long.
        divisor = ((grad_norm + 1e-6) / self.max_grad_norm).clamp(min=1) * self.scale
        inner = self.optimizer.optimizer
        if self.accelerator.device.type in ("cpu", "cuda"):
            # The fused update divides by the one while it reads the gradients, and does nothing where the other is 1:
            # no pass of its own through memory, and no wait for the host.
            inner.grad_scale, inner.found_inf = divisor.float(), (~finite).float()
            self.optimizer.step()
        elif finite:  # Apple's fused update reads neither
            for grad in grads:
                grad /= divisor
            self.optimizer.step()
        self.optimizer.zero_grad()

    def _backward(self, microbatch: object, share: Share, *, last: bool) -> dict[str, Tensor]:
        processes = self.accelerator.num_processes
        with self.accelerator.accumulate(self.model) if last else self.accelerator.no_sync(self.model):
            metrics = share(microbatch)
            # processes average their gradients; we want the sum
            self.accelerator.backward(metrics["loss"] * (processes * self.scale))
        return {name: value.detach() for name, value in metrics.items()}
