"""A frontier that takes seconds: a tiny model in a folder, a few comparisons, one or two steps of each loop."""

from pathlib import Path

import torch
from runs import save, write_pairs

from dpo_notes.experiments.frontier.plan import FrontierConfig, jobs_of
from dpo_notes.experiments.frontier.run import run_job
from dpo_notes.experiments.frontier.setting import setting_digests
from dpo_notes.training.config import DPOConfig
from dpo_notes.training.output_folder import take_folder
from dpo_notes.training.ppo import PPOConfig
from dpo_notes.training.reward_model import RewardModelConfig
from dpo_notes.training.sft import SFTConfig


def write_start(folder: Path, model, tokenizer, pairs) -> Path:
    """Write model and comparisons into the folder, for `small_config`."""
    save(model, tokenizer, folder / "model")
    (folder / "data").mkdir()
    write_pairs(folder / "data/train.jsonl", pairs[:8])
    write_pairs(folder / "data/test.jsonl", pairs[8:16])
    return folder


def small_config(folder: Path, **changes) -> FrontierConfig:
    """An experiment on what `write_start` wrote."""
    loop = {"batch_size": 8, "learning_rate": 1e-3, "max_length": 96}
    settings = {
        "model": str(folder / "model"),
        "data": str(folder / "data"),
        "seeds": (0,),
        "dpo_betas": (0.5,),
        "ppo_betas": (0.5,),
        "sft_epochs": (1,),
        "draws": (2,),
        "optimum_betas": (1.0, 1000.0),
        "pairs": 8,
        "prompts": 6,
        "pool": 12,
        "max_new_tokens": 8,
        "dpo": DPOConfig(**loop, eval_samples=0),
        "sft": SFTConfig(**loop, eval_samples=0),
        "reward_model": RewardModelConfig(**loop),
        "ppo": PPOConfig(steps=1, batch_size=4, minibatch_size=4, max_new_tokens=8),
    }
    return FrontierConfig(**settings | changes)


def run_here(config: FrontierConfig, folder: Path) -> None:
    """`run_frontier` within this process: its jobs one after the other."""
    digests = setting_digests(config)
    take_folder(folder, maker="frontier")
    for job in jobs_of(config):
        on_one_thread(run_job, config, folder, digests, job.name)


def on_one_thread(function, *arguments) -> None:
    """Call the function with one thread, as a worker process does: then sums have the order that they have there."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    function(*arguments)
    torch.set_num_threads(threads)
