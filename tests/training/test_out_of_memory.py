"""Out of memory, on a GPU or the CPU: one line with the settings to change, and the last checkpoint kept."""

import pytest
import torch

from dpo_notes.language.load import frozen_copy
from dpo_notes.training.config import DPOConfig
from dpo_notes.training.dpo import train_dpo
from dpo_notes.training.out_of_memory import OutOfMemory, memory_in_one_line

TOO_MUCH = {
    "CUDA": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has …"),
    "Linux": RuntimeError(
        "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: …"
    ),
    "Windows": RuntimeError("[enforce fail at alloc_cpu.cpp:115] data. DefaultCPUAllocator: not enough memory: …"),
    "Python": MemoryError(),
}
ADVICE = (
    "does not fit into memory; halve batch_size and double accumulation_steps, which makes the same steps, or lower "
    "max_length"
)


@pytest.mark.parametrize("error", TOO_MUCH.values(), ids=TOO_MUCH)
def test_whatever_says_it_becomes_one_line(error):
    with pytest.raises(OutOfMemory) as raised, memory_in_one_line("step 7"):
        raise error
    assert str(raised.value) == f"step 7 {ADVICE}"


def test_a_tensor_that_is_really_too_large_is_such_a_case():
    with pytest.raises(OutOfMemory), memory_in_one_line("this"):
        torch.empty(2**58)


def test_another_error_stays_what_it_is():
    with pytest.raises(RuntimeError, match="^shapes$"), memory_in_one_line("step 7"):
        raise RuntimeError("shapes")


def test_a_run_out_of_memory_says_at_which_step_and_keeps_its_checkpoint(
    tiny_model, tiny_tokenizer, tiny_pairs, tmp_path, monkeypatch
):
    config = DPOConfig(batch_size=4, checkpoint_every=2, eval_samples=0)
    rows = train_dpo(tiny_model, frozen_copy(tiny_model), tiny_pairs, tiny_tokenizer, config, output_dir=tmp_path / "r")
    assert [next(rows)["step"] for _ in range(3)] == [1, 2, 3]

    def fails(*_, **__):
        raise TOO_MUCH["CUDA"]

    monkeypatch.setattr("dpo_notes.training.dpo.laid_out_logps", fails)
    with pytest.raises(OutOfMemory, match=f"^step 4 {ADVICE}$"):
        next(rows)
    assert [folder.name for folder in (tmp_path / "r" / "checkpoint").iterdir()] == ["step-00000002"]
