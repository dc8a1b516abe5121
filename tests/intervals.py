"""Does the mean of random samples agree with what theory says? One answer for every test that samples."""

import torch
from torch import Tensor


def deviations(samples: Tensor, expected: Tensor | float) -> Tensor:
    """How many standard errors the mean over axis 0 lies from `expected`; 0 where samples never vary and agree."""
    error = samples.mean(dim=0) - expected
    standard_error = samples.std(dim=0) / len(samples) ** 0.5
    return torch.where(error.abs() < 1e-12, 0.0, error / standard_error)
