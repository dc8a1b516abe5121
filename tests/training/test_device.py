"""Where a run computes: bfloat16 only where the chip has it, and no sharding behind the back of what is saved."""

from functools import partial

import pytest
import torch

from dpo_notes.maths.errors import InputError
from dpo_notes.training.device import autocast, process_state


@pytest.mark.parametrize("own", [True, False])
def test_auto_is_bfloat16_where_the_chip_has_it_not_where_it_is_emulated(monkeypatch, own):
    """A T4 only emulates bfloat16, slowly, and says so if asked. Without a GPU, the context is one of the CPU."""
    on_cpu = partial(torch.autocast, "cpu")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or own)
    monkeypatch.setattr(torch, "autocast", lambda device, kind, enabled: on_cpu(kind, enabled=enabled))
    assert autocast(torch.device("cuda"), "auto")._enabled == own
    assert not autocast(torch.device("cpu"), "auto")._enabled
    assert autocast(torch.device("cpu"), "bf16")._enabled


@pytest.mark.parametrize("kind", ["FSDP", "DEEPSPEED"])
def test_a_launcher_that_would_split_the_model_is_refused_in_one_line(monkeypatch, kind):
    monkeypatch.setenv(f"ACCELERATE_USE_{kind}", "true")
    with pytest.raises(InputError, match=f"^accelerate is configured for {kind}; expected plain data parallelism"):
        process_state()
