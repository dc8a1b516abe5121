"""The plan of the comparison: methods, strengths and seeds, and the list of independent jobs that follows from them."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

from dpo_notes.maths.checks import check_positive
from dpo_notes.maths.errors import InputError
from dpo_notes.pairs.embedded import EMBEDDED
from dpo_notes.training.config import SEEDS, DPOConfig
from dpo_notes.training.ppo import PPOConfig
from dpo_notes.training.reward_model import RewardModelConfig
from dpo_notes.training.sft import SFTConfig

BASE, REWARD_MODEL, OPTIMUM = "base", "reward-model", "optimum"
DPO, SFT, PPO_TRUE, PPO_LEARNT = "dpo", "sft", "ppo-true", "ppo-learnt"
BEST_OF_N, BEST_OF_N_LEARNT = "best-of-n", "best-of-n-learnt"
KNOBS = {DPO: "beta", PPO_TRUE: "beta", PPO_LEARNT: "beta", SFT: "epochs", BEST_OF_N: "n", BEST_OF_N_LEARNT: "n"}

# Learning rates were chosen on held-out comparisons; DPO's is that of `dpo-notes train` (see dpo_learning_rate). DPO
# and the reward model take two epochs. PPO draws 3,072 responses of its own, and learns from each once.
DPO_SETTINGS = DPOConfig(learning_rate=2e-4, batch_size=32, epochs=2, max_length=128, eval_samples=0)
SFT_SETTINGS = SFTConfig(learning_rate=1e-4, max_length=128, eval_samples=0)
REWARD_MODEL_SETTINGS = RewardModelConfig(learning_rate=6e-4, batch_size=32, epochs=2, max_length=128)
PPO_SETTINGS = PPOConfig(learning_rate=5e-4, steps=48, epochs=1, max_new_tokens=96)


@dataclass(frozen=True)
class FrontierConfig:
    """The whole experiment, with settings for the embedded model on two cores.

    Raises InputError for values out of range, and for lists that are empty or hold a value twice.
    The settings of the four loops apply to all strengths and seeds; their own beta, epochs and seed are replaced.
    """

    model: str = EMBEDDED  # all methods start from it, and the KL is measured from it
    data: str = EMBEDDED  # train and test comparisons of the review world
    seeds: tuple[int, ...] = (0, 1, 2)
    dpo_betas: tuple[float, ...] = (
        0.1,
        0.25,
        0.5,
        1.0,
        2.0,
        4.0,
    )  # more than the others, for notebook 00's slider
    ppo_betas: tuple[float, ...] = (0.1, 0.25, 0.5, 1.0)  # price of a nat of KL, in nats of reward
    sft_epochs: tuple[int, ...] = (1, 2, 3, 5)  # fine-tuning has no beta: it gets stronger by training longer
    draws: tuple[int, ...] = (2, 4, 8, 16)  # the n of best-of-n
    optimum_betas: tuple[float, ...] = (4.0, 2.8, 2.0, 1.4, 1.0, 0.7, 0.5, 0.35, 0.25, 0.18, 0.12)
    pairs: int = 3000  # comparisons to train on, the first of the file; the same for every method
    prompts: int = 500  # held-out prompts, the first of the file; every policy answers each once
    pool: int = 32  # answers of the base model per prompt and seed, for best-of-n and the optimum
    max_new_tokens: int = 96  # as when the comparisons were drawn; the embedded model's answers are much shorter
    dpo: DPOConfig = DPO_SETTINGS
    sft: SFTConfig = SFT_SETTINGS
    reward_model: RewardModelConfig = REWARD_MODEL_SETTINGS
    ppo: PPOConfig = PPO_SETTINGS

    def __post_init__(self):
        for name in ("seeds", "dpo_betas", "ppo_betas", "sft_epochs", "draws", "optimum_betas"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise InputError(f"{name} is {values!r}; expected one value or more, all different")
        for name in ("dpo_betas", "ppo_betas", "optimum_betas"):
            for beta in getattr(self, name):
                check_positive(f"a beta of {name}", beta)
        if not all(type(seed) is int and 0 <= seed < SEEDS for seed in self.seeds):
            raise InputError(f"seeds is {self.seeds!r}; expected whole numbers from 0 up to, not including, {SEEDS}")
        for name, least in (("pairs", 1), ("prompts", 2), ("pool", max(self.draws)), ("max_new_tokens", 1)):
            if getattr(self, name) < least:
                raise InputError(f"{name} is {getattr(self, name)}; expected at least {least}")

    def dpo_learning_rate(self, beta: float) -> float:
        """A fair learning rate for every beta: that of `dpo`, divided by sqrt(beta).

        With a smaller beta the optimum lies further away, in proportion to 1 / beta.
        """
        return self.dpo.learning_rate / beta**0.5


@dataclass(frozen=True)
class Job:
    """One task that can run in any process. `value`: beta, or for fine-tuning the number of epochs."""

    method: str
    value: float | None = None
    seed: int | None = None
    needs: tuple[str, ...] = ()  # jobs that must have finished first

    @property
    def name(self) -> str:
        """A name for the job and its file, such as dpo-0.25-seed0."""
        value = "" if self.value is None else f"-{self.value:g}"
        return self.method + value + ("" if self.seed is None else f"-seed{self.seed}")


FULL = FrontierConfig()
QUICK = FrontierConfig(  # a minute and a half on two cores: less of everything, with higher learning rates
    seeds=(0,),
    dpo_betas=(0.25, 1.0),
    ppo_betas=(0.25, 1.0),
    sft_epochs=(2,),
    draws=(2, 4, 8),
    pairs=600,
    prompts=120,
    pool=16,
    dpo=replace(DPO_SETTINGS, learning_rate=4e-4, batch_size=16),
    reward_model=replace(REWARD_MODEL_SETTINGS, batch_size=16),
    ppo=replace(PPO_SETTINGS, learning_rate=1e-3, steps=14),
)


def jobs_of(config: FrontierConfig) -> Iterator[Job]:
    """Every job of the experiment, long ones first, each after the jobs that it needs."""
    yield Job(BASE)
    for seed in config.seeds:
        yield Job(REWARD_MODEL, seed=seed, needs=(BASE,))
    for seed in config.seeds:
        yield from (Job(PPO_TRUE, beta, seed, (BASE,)) for beta in config.ppo_betas)
    for seed in config.seeds:
        learnt = (BASE, f"{REWARD_MODEL}-seed{seed}")
        yield from (Job(PPO_LEARNT, beta, seed, learnt) for beta in config.ppo_betas)
        yield Job(BEST_OF_N, seed=seed, needs=learnt)
    for seed in config.seeds:
        yield from (Job(DPO, beta, seed, (BASE,)) for beta in config.dpo_betas)
        yield from (Job(SFT, epochs, seed, (BASE,)) for epochs in sorted(config.sft_epochs, reverse=True))
    yield Job(OPTIMUM, needs=tuple(f"{BEST_OF_N}-seed{seed}" for seed in config.seeds))


def identity_of(config: FrontierConfig, job: Job, digests: dict[str, str]) -> dict[str, object]:
    """What a job's result depends on: the job, the settings, and the digests of weights and comparisons.

    Not the other jobs, so that you can add seeds and strengths later.
    """
    settings = asdict(config)
    for name in ("seeds", "dpo_betas", "ppo_betas", "sft_epochs"):
        del settings[name]
    return {"job": asdict(job), "settings": settings, **digests}
