"""Where a run computes: in a precision that the chip has, and no sharding behind the back of what is saved."""

import pytest
import torch

from dpo_notes.maths.errors import InputError
from dpo_notes.training.device import autocast, half_precision, new_accelerator, process_state, rounded_products


@pytest.mark.parametrize(("own", "expected"), [(True, torch.bfloat16), (False, torch.float16)])
def test_auto_is_bfloat16_where_the_chip_has_it_and_float16_where_it_is_emulated(monkeypatch, own, expected):
    """A T4 only emulates bfloat16, slowly, and says so if asked."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or own)
    assert half_precision(torch.device("cuda"), "auto") == expected
    assert half_precision(torch.device("cuda"), "fp32") is None
    assert half_precision(torch.device("cpu"), "auto") is None


@pytest.mark.parametrize(
    ("precision", "expected"), [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)]
)
def test_under_autocast_matrices_are_multiplied_in_that_precision(precision, expected):
    with autocast(torch.device("cpu"), precision):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == expected


def test_products_are_rounded_only_while_asked_to_be_also_after_an_error():
    setting = torch.backends.cuda.matmul
    before = setting.allow_tf32
    with pytest.raises(ZeroDivisionError), rounded_products():
        assert setting.allow_tf32
        _ = 1 / 0
    assert setting.allow_tf32 == before is False


def test_an_accelerator_never_uses_the_attention_that_plans_for_every_shape():
    new_accelerator()
    assert not torch.backends.cuda.cudnn_sdp_enabled()


@pytest.mark.parametrize("kind", ["FSDP", "DEEPSPEED"])
def test_a_launcher_that_would_split_the_model_is_refused_in_one_line(monkeypatch, kind):
    monkeypatch.setenv(f"ACCELERATE_USE_{kind}", "true")
    with pytest.raises(InputError, match=f"^accelerate is configured for {kind}; expected plain data parallelism"):
        process_state()
