"""Load a causal language model and its tokenizer: the embedded one, `gpt2`, or any path or hub name; freeze a reference."""

import copy
from pathlib import Path

from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from dpo_notes.language.embedded import EMBEDDED, data_folder
from dpo_notes.maths.errors import InputError


def load_model(name_or_path: str | Path = EMBEDDED) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """(model, tokenizer) in float32 and in evaluation mode, so that dropout is off: in DPO it would be noise in a difference.

    `name_or_path`: "embedded" for the repository's small GPT-2, a folder in the Hugging Face layout, or a hub name
    such as "gpt2". Weights are read from safetensors only. A tokenizer without padding gets end of text as padding:
    padding is masked by length, so its id does not matter.
    Raises InputError, in one line, for a folder without a whole set of weights and for a tokenizer that does not fit.
    Known value: the embedded model has 4 layers and 160 channels.
    """
    if name_or_path == EMBEDDED:
        name_or_path = data_folder() / "gpt2-embedded"
    try:
        model, report = AutoModelForCausalLM.from_pretrained(
            name_or_path, dtype="float32", use_safetensors=True, output_loading_info=True
        )
        tokenizer = AutoTokenizer.from_pretrained(name_or_path)
    except (OSError, ValueError, SafetensorError) as error:
        raise InputError(f"cannot load a model from {name_or_path}: {_first_line(error)}") from error
    if report["missing_keys"]:
        raise InputError(f"{name_or_path}: weights lack {min(report['missing_keys'])} and perhaps more")
    check_tokenizer_fits(model, tokenizer, name=str(name_or_path))
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return model.eval(), tokenizer


def frozen_copy(model: PreTrainedModel) -> PreTrainedModel:
    """A reference policy: an independent copy whose weights never change and never ask for a gradient."""
    return copy.deepcopy(model).eval().requires_grad_(False)


def check_tokenizer_fits(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, name: str) -> None:
    """Raise InputError for an empty vocabulary, ids beyond the embedding, or no end-of-text token."""
    rows = model.get_input_embeddings().weight.shape[0]
    # Some loaders return a tokenizer with no words, silently: every text becomes no tokens.
    if len(tokenizer.encode("a b", add_special_tokens=False)) == 0:
        raise InputError(
            f"{name}: the tokenizer turns text into no tokens; expected tokenizer.json or vocab.json and merges.txt"
        )
    if len(tokenizer) > rows:
        raise InputError(
            f"{name}: the tokenizer has {len(tokenizer)} tokens but the model embeds {rows}; they do not belong together"
        )
    if tokenizer.eos_token_id is None:
        raise InputError(f"{name}: the tokenizer has no end-of-text token; expected eos_token to be set")


def context_length(model: PreTrainedModel) -> int:
    """The longest sequence the model can take, in tokens (1024 for GPT-2)."""
    return model.config.max_position_embeddings


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
