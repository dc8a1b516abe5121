"""python -m dpo_notes.experiments.leash_runs    record again how far the embedded GPT-2 climbs its reward at each beta

One REINFORCE run for each beta, all with the same prompts and seed, evaluated every few steps. Writes
data/recorded/reinforce-leash/runs.json, which notebook 04 shows; `read_record(FILE)` reads it: "rows" as `record`
yields them, the "prompts" of their texts, and how they were "recorded". About ten minutes on two cores.
"""

from collections.abc import Iterator
from dataclasses import asdict

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dpo_notes.experiments.frontier.record import circumstances, write_record
from dpo_notes.language.load import frozen_copy, load_model
from dpo_notes.pairs.embedded import DATA
from dpo_notes.training.evaluate import mean_and_error, respond, response_kl
from dpo_notes.training.reinforce import ReinforceConfig, train_reinforce
from dpo_notes.worlds.reviews import world as reviews
from dpo_notes.worlds.reviews.text_metrics import response_metrics

FILE = DATA / "recorded" / "reinforce-leash" / "runs.json"
COMMAND = "python -m dpo_notes.experiments.leash_runs"
BETAS = (0.0, 0.1, 0.3, 1.0)
EVERY = 10  # steps between evaluations
SHOWN = ["Where is Shanghai?", "Review of The Silent Harbour:"]  # we keep the text of their answers
CONFIG = ReinforceConfig(steps=120, batch_size=32, learning_rate=1e-3, max_new_tokens=40, rows_per_forward=32)


def record(beta: float, *, config: ReinforceConfig = CONFIG, listeners: int = 200) -> Iterator[dict[str, object]]:
    """One run of the embedded GPT-2: a row before the first step, after every `EVERY` steps and after the last.

    Rows hold "beta", "step", the `response_metrics` of answers to SHOWN and to `listeners` more prompts, "kl" and
    "kl_error" (nats per response), and "texts": one answer to each prompt of SHOWN.
    """
    model, tokenizer = load_model()
    policy = frozen_copy(model).requires_grad_()
    prompts = reviews.sample_prompts(2000 + listeners, generator=torch.Generator().manual_seed(config.seed))
    training, asked = prompts[:-listeners], SHOWN + prompts[-listeners:]
    settings = ReinforceConfig(**asdict(config) | {"beta": beta})
    yield {"beta": beta, "step": 0, **listen(policy, model, tokenizer, asked, config)}
    for row in train_reinforce(policy, model, reviews.reward, training, tokenizer, settings):
        if row["step"] % EVERY == 0 or row["step"] == config.steps:
            yield {"beta": beta, "step": row["step"], **listen(policy, model, tokenizer, asked, config)}


def listen(
    policy: PreTrainedModel,
    reference: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: list[str],
    config: ReinforceConfig,
) -> dict[str, object]:
    """Metrics of one answer to each prompt, always with the same random numbers, and the first answers as text."""
    generator = torch.Generator().manual_seed(config.seed)
    answers = respond(policy, tokenizer, prompts, max_new_tokens=config.max_new_tokens, generator=generator)
    kl, error = mean_and_error(response_kl(policy, reference, answers.prompt_ids, answers.response_ids))
    numbers = {**response_metrics(prompts, answers.texts), "kl": kl, "kl_error": error}
    return {name: round(value, 4) for name, value in numbers.items()} | {"texts": answers.texts[: len(SHOWN)]}


def main() -> None:
    rows = []
    for beta in BETAS:
        for row in record(beta):
            rows.append(row)
            print({name: value for name, value in row.items() if name != "texts"}, flush=True)
    settings = {name: value for name, value in asdict(CONFIG).items() if name != "beta"}
    write_record(FILE, {"recorded": circumstances(COMMAND), "settings": settings, "prompts": SHOWN, "rows": rows})


if __name__ == "__main__":
    main()
