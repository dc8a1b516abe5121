"""Short names for what nearly every test of numbers needs."""

import torch
from torch import Tensor


def doubles(*values: float | list) -> Tensor:
    """These numbers, or rows of numbers, in float64."""
    return torch.tensor(values, dtype=torch.float64)


def seeded(seed: int = 0) -> torch.Generator:
    """A new source of random numbers."""
    return torch.Generator().manual_seed(seed)
