"""What all jobs of a frontier share: the base model, the comparisons, and the prompts of the evaluation."""

from dataclasses import dataclass

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dpo_notes.experiments.frontier.plan import FrontierConfig
from dpo_notes.language.load import frozen_copy, load_model
from dpo_notes.maths.errors import InputError
from dpo_notes.pairs.load import PreferencePair, load_pairs
from dpo_notes.training.identity import data_digest, weights_digest
from dpo_notes.worlds.reviews import world as reviews
from dpo_notes.worlds.reviews.grammar import first_named

SHOWN = 3  # prompts of each kind (film, city) whose answers every point keeps as text


@dataclass(frozen=True)
class Setting:
    """Loaded anew for each job, so that `policy` is the job's own to train; `reference` is a frozen copy of it."""

    policy: PreTrainedModel
    reference: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    pairs: list[PreferencePair]
    eval_pairs: list[PreferencePair]

    @property
    def prompts(self) -> list[str]:
        """The held-out prompts: every policy answers each once."""
        return [pair.prompt for pair in self.eval_pairs]

    @property
    def shown_prompts(self) -> list[str]:
        """A few different ones of them, half about films and half about cities."""
        kinds: dict[bool, dict[str, None]] = {True: {}, False: {}}  # keys of a dict: in order, each once
        for prompt in self.prompts:
            kinds[first_named("city", prompt) is None][prompt] = None
        return [prompt for prompts in kinds.values() for prompt in list(prompts)[:SHOWN]]


def load_setting(config: FrontierConfig) -> Setting:
    """Load model and comparisons. Raises InputError if something does not load, or for prompts of another world."""
    policy, tokenizer = load_model(config.model)
    pairs = load_pairs(config.data, split="train")[: config.pairs]
    eval_pairs = load_pairs(config.data, split="test")[: config.prompts]
    for pair in [*pairs, *eval_pairs]:
        if not (pair.is_text and reviews.is_prompt(pair.prompt)):
            raise InputError(
                f"{config.data}: the prompt {pair.prompt!r:.80} is not from the review world; "
                "expected only such prompts, because we know no other true reward"
            )
    return Setting(policy, frozen_copy(policy), tokenizer, pairs, eval_pairs)


def setting_digests(config: FrontierConfig) -> dict[str, str]:
    """Digests of the weights and of the comparisons, which distinguish one setting from another."""
    setting = load_setting(config)
    return {
        "weights": weights_digest(setting.reference),
        "pairs": data_digest(setting.pairs),
        "eval_pairs": data_digest(setting.eval_pairs),
    }
