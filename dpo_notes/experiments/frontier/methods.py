"""What each job does: train with its method, or draw a pool, and measure the result."""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from dpo_notes.experiments.frontier import plan
from dpo_notes.experiments.frontier.folder import JobFolder, Result
from dpo_notes.experiments.frontier.measure import ANSWERS_SHOWN, Point, figures, measure_policy, rounded, show_answers
from dpo_notes.experiments.frontier.plan import FrontierConfig, Job
from dpo_notes.experiments.frontier.pool import BestOfN, Pool, best_of_n, draw_pool, optimum
from dpo_notes.experiments.frontier.setting import Setting
from dpo_notes.language.reward_head import load_reward_model, new_reward_model, reward_of
from dpo_notes.maths.win_rate import win_scores
from dpo_notes.training.dpo import train_dpo
from dpo_notes.training.evaluate import mean_and_error, respond
from dpo_notes.training.output_folder import atomic_folder
from dpo_notes.training.ppo import train_ppo
from dpo_notes.training.reward_model import train_reward_model
from dpo_notes.training.rollout import RewardFunction, stream
from dpo_notes.training.sft import train_sft
from dpo_notes.worlds.reviews import world as reviews

MODEL = "a frontier's reward model"  # the maker of its folder, which is always replaced as a whole

Method = Callable[[Setting, FrontierConfig, Job, JobFolder], Result]


def run_base(setting: Setting, config: FrontierConfig, job: Job, folder: JobFolder) -> Result:
    """The base model, and its answers to the held-out prompts, the opponents of all other methods' answers."""
    opponent = respond(
        setting.reference,
        setting.tokenizer,
        setting.prompts,
        max_new_tokens=config.max_new_tokens,
        generator=stream(0, "opponent", 0),
    )
    rewards = reviews.reward(opponent.prompts, opponent.texts)
    how = {"seed": 0, "max_new_tokens": config.max_new_tokens}
    point, _ = measure_policy(setting.reference, setting, rewards, **how)
    point = _named(job) | point | {"samples": show_answers(setting.reference, setting, **how)}
    return {"points": [point], "texts": list(opponent.texts), "rewards": rewards.tolist()}


def run_dpo(setting: Setting, config: FrontierConfig, job: Job, folder: JobFolder) -> Result:
    """DPO at one beta, with margin (nats) and accuracy of its implicit reward on the held-out comparisons."""
    own = replace(config.dpo, beta=job.value, learning_rate=config.dpo_learning_rate(job.value), seed=job.seed)
    held_out = {"eval_pairs": setting.eval_pairs}
    row = _last(train_dpo(setting.policy, setting.reference, setting.pairs, setting.tokenizer, own, **held_out))
    implicit = {"margin": row["eval/rewards/margins"], "accuracy": row["eval/rewards/accuracies"]}
    return {"points": [_measure(setting, config, job, folder, extras=rounded(implicit))]}


def run_sft(setting: Setting, config: FrontierConfig, job: Job, folder: JobFolder) -> Result:
    """Supervised fine-tuning on the chosen responses, for some epochs."""
    own = replace(config.sft, epochs=job.value, seed=job.seed)
    _last(train_sft(setting.policy, setting.pairs, setting.tokenizer, own))
    return {"points": [_measure(setting, config, job, folder)]}


def run_ppo_true(setting: Setting, config: FrontierConfig, job: Job, folder: JobFolder) -> Result:
    """PPO on the true reward, which is known only in a world like this one."""
    _train_ppo(setting, config, job, reviews.reward)
    return {"points": [_measure(setting, config, job, folder)]}


def run_reward_model(setting: Setting, config: FrontierConfig, job: Job, folder: JobFolder) -> Result:
    """Train a reward model and save it for other jobs; returns its metrics on the held-out comparisons."""
    own = replace(config.reward_model, seed=job.seed)
    model, tokenizer = new_reward_model(setting.policy, setting.tokenizer)
    row = _last(train_reward_model(model, setting.pairs, tokenizer, own, eval_pairs=setting.eval_pairs))
    with atomic_folder(folder.model_path(job.name), maker=MODEL) as aside:
        model.save_pretrained(aside)
        tokenizer.save_pretrained(aside)
    names = {"loss": "eval/loss", "accuracy": "eval/rewards/accuracies", "calibration": "eval/calibration"}
    return {"points": [], "reward_model": rounded({ours: row[theirs] for ours, theirs in names.items()})}


def run_ppo_learnt(setting: Setting, config: FrontierConfig, job: Job, folder: JobFolder) -> Result:
    """PPO on the reward model's score."""
    score = _learnt_reward(job, folder)
    _train_ppo(setting, config, job, score)
    return {"points": [_measure(setting, config, job, folder, score=score)]}


def run_best_of_n(setting: Setting, config: FrontierConfig, job: Job, folder: JobFolder) -> Result:
    """Best-of-n for every n, by the true and by the learnt reward, all from one pool of the base model's answers."""
    pool = draw_pool(
        setting.reference,
        setting.tokenizer,
        setting.prompts,
        samples=config.pool,
        max_new_tokens=config.max_new_tokens,
        generator=stream(job.seed, "pool", 0),
    )
    score = _learnt_reward(job, folder)
    learnt = score(pool.responses.prompts, pool.responses.texts).to(pool.rewards).view_as(pool.rewards)
    theirs = folder.read(plan.BASE)
    gains = learnt - score(setting.prompts, theirs["texts"]).to(learnt)[:, None]
    wins = win_scores(pool.rewards, _rewards_of(theirs)[:, None].expand_as(pool.rewards))
    points = []
    for method, scores in ((plan.BEST_OF_N, pool.rewards), (plan.BEST_OF_N_LEARNT, learnt)):
        for n in config.draws:
            best = best_of_n(scores, n=n)
            kl, kl_error = mean_and_error(best.kl)
            point = {"method": method, "knob": "n", "value": n, "seed": job.seed}
            point |= rounded({"kl": kl, "kl_error": kl_error})
            point |= figures(*map(best.mean, (pool.rewards, pool.grammatical, pool.lengths, wins)))
            point |= rounded({"learnt_gain": best.mean(gains).mean().item()})
            points.append(point | {"samples": _draw_shown(setting, pool, best, job.seed)})
    return {"points": points, "pool_rewards": pool.rewards.tolist()}


def run_optimum(setting: Setting, config: FrontierConfig, job: Job, folder: JobFolder) -> Result:
    """The optimal policy at each beta, from all pools together; we omit betas for which the pools are too small."""
    pools = [folder.read(name)["pool_rewards"] for name in job.needs]
    rewards = torch.cat([torch.tensor(pool, dtype=torch.float64) for pool in pools], dim=1)
    found = {beta: optimum(rewards, beta=beta) for beta in sorted(config.optimum_betas, reverse=True)}
    curve = [{"beta": beta, **rounded(point)} for beta, point in found.items() if point is not None]
    return {"points": [], "optimum": curve, "samples_per_prompt": rewards.shape[1]}


METHODS: dict[str, Method] = {
    plan.BASE: run_base,
    plan.REWARD_MODEL: run_reward_model,
    plan.DPO: run_dpo,
    plan.SFT: run_sft,
    plan.PPO_TRUE: run_ppo_true,
    plan.PPO_LEARNT: run_ppo_learnt,
    plan.BEST_OF_N: run_best_of_n,
    plan.OPTIMUM: run_optimum,
}


def _named(job: Job) -> Point:
    return {"method": job.method, "knob": plan.KNOBS.get(job.method), "value": job.value, "seed": job.seed}


def _measure(
    setting: Setting,
    config: FrontierConfig,
    job: Job,
    folder: JobFolder,
    *,
    score: RewardFunction | None = None,
    extras: Point | None = None,
) -> Point:
    """The point of a job that has trained `setting.policy`, with the extras.

    With `score`, a learnt reward, also learnt_gain: by how much it prefers the policy's answers to the base model's, in
    nats, as a mean of differences per prompt, because only those are identified.
    """
    theirs = folder.read(plan.BASE)
    how = {"seed": job.seed, "max_new_tokens": config.max_new_tokens}
    point, answers = measure_policy(setting.policy, setting, _rewards_of(theirs), **how)
    point |= extras or {}
    if score is not None:
        gains = score(answers.prompts, answers.texts) - score(answers.prompts, theirs["texts"])
        point |= rounded({"learnt_gain": gains.mean().item()})
    return _named(job) | point | {"samples": show_answers(setting.policy, setting, **how)}


def _rewards_of(base: Result) -> Float[Tensor, " prompts"]:
    """True rewards of the base model's answers, the opponents of all others."""
    return torch.tensor(base["rewards"], dtype=torch.float64)


def _train_ppo(setting: Setting, config: FrontierConfig, job: Job, reward_fn: RewardFunction) -> None:
    own = replace(config.ppo, beta=job.value, seed=job.seed)
    prompts = [pair.prompt for pair in setting.pairs]  # the same as for the other methods
    _last(train_ppo(setting.policy, setting.reference, reward_fn, prompts, setting.tokenizer, own))


def _learnt_reward(job: Job, folder: JobFolder) -> RewardFunction:
    return partial(reward_of, *load_reward_model(folder.model_path(f"{plan.REWARD_MODEL}-seed{job.seed}")))


def _draw_shown(setting: Setting, pool: Pool, best: BestOfN, seed: int) -> list[str]:
    """Answers of best-of-n to the shown prompts, in the order of `measure_policy`'s samples."""
    generator = stream(seed, "shown prompts", 0)
    rows = [setting.prompts.index(prompt) for prompt in setting.shown_prompts]
    drawn = {row: best.draw(row, count=ANSWERS_SHOWN, generator=generator).tolist() for row in rows}
    return [pool.text(row, sample) for row, samples in drawn.items() for sample in samples]


def _last(rows: Iterable[dict[str, float]]) -> dict[str, float]:
    """Run a training loop to its end; returns its last row."""
    return deque(rows, maxlen=1).pop()
