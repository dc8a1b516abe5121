"""Load a causal language model and its tokenizer from a folder or the hub, and freeze a copy as the reference."""

import copy
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.activations import NewGELUActivation
from transformers.utils import cached_file, logging

from dpo_notes.language.model_folder import check_folder, check_size
from dpo_notes.maths.errors import InputError
from dpo_notes.pairs.bounded import OverLimit, run_native
from dpo_notes.pairs.embedded import EMBEDDED, data_folder
from dpo_notes.pairs.hub import why_hub_is_silent
from dpo_notes.pairs.tokenizing import texts_of, token_ids
from dpo_notes.pairs.wording import kind_of, one_line

SECONDS_TO_LOAD_TOKENIZER = 120.0  # most take less than one, those of tens of megabytes a few
_QUIETLY = {f"_raise_exceptions_for_{kind}": False for kind in ("missing_entries", "gated_repo", "connection_errors")}


def load_model(name_or_path: str | Path = EMBEDDED) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """(model, tokenizer) in float32 and in evaluation mode: dropout would add noise to the log-ratios of DPO.

    `name_or_path`: "embedded" for the repository's small GPT-2, a folder in the Hugging Face layout, or a hub name
    such as "gpt2". Weights are read from safetensors only, and code in a folder is never run. If the hub does not
    answer, only its cache is used. A tokenizer without padding gets end of text as padding: padding is masked by
    length, so its id does not matter. The model is the one of transformers, except for `fuse_gelu`.
    Raises InputError, in one line, for a folder that asks for too much (see `check_folder` and `check_size`), for
    missing weights, for weights that are not finite, and for a tokenizer that does not fit.
    Known value: the embedded model has 4 layers and 160 channels.
    """
    return load_as(AutoModelForCausalLM, data_folder() / "gpt2-embedded" if name_or_path == EMBEDDED else name_or_path)


def load_as(auto_class: type, place: str | Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """(model, tokenizer) as in `load_model`, with the model that this auto class of transformers makes."""
    if os.path.isfile(place):
        raise InputError(f"{place}: a file; expected a folder in the Hugging Face layout, or a hub name")
    options = {"trust_remote_code": False, "local_files_only": os.path.isdir(place) or why_hub_is_silent() is not None}
    with _loading("model", place):
        folder = _folder_of(place, options)
        if folder is not None:
            check_folder(folder)
            check_size(auto_class, folder)
        model, report = auto_class.from_pretrained(
            place,
            dtype="float32",
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are in the report, which is checked below
            **options,
        )
    _check_weights(report, name=f"{place}: {type(model).__name__}")
    _check_finite(model, name=str(place))
    fuse_gelu(model)
    with _loading("tokenizer", place):
        read = partial(AutoTokenizer.from_pretrained, place, **options)
        tokenizer = run_native(read, seconds=SECONDS_TO_LOAD_TOKENIZER)
    check_tokenizer_fits(model, tokenizer, name=str(place))
    _check_it_runs(model, tokenizer, name=str(place))
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return model.eval(), tokenizer


def frozen_copy(model: PreTrainedModel) -> PreTrainedModel:
    """A reference policy: an independent copy whose weights never change and need no gradient."""
    return copy.deepcopy(model).eval().requires_grad_(False)


def fuse_gelu(model: PreTrainedModel) -> None:
    """Compute GPT-2's activation, "gelu_new", in one PyTorch kernel instead of the eight operations of transformers.

    Both compute 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) (Hendrycks and Gimpel, 2016) and differ by rounding.
    The kernel keeps one tensor for the gradient, the eight operations four. The configuration still says "gelu_new".
    """
    for module in model.modules():
        for name, child in module.named_children():
            if isinstance(child, NewGELUActivation):
                setattr(module, name, nn.GELU(approximate="tanh"))


def check_tokenizer_fits(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, name: str) -> None:
    """Raise InputError for an empty vocabulary, ids beyond the embedding, or no end-of-text token."""
    rows = model.get_input_embeddings().weight.shape[0]
    # Some loaders silently return a tokenizer without words, which turns every text into no tokens.
    [ids] = token_ids(tokenizer, ["a b"])
    if not ids:
        files = "tokenizer.json or vocab.json and merges.txt"
        raise InputError(f"{name}: the tokenizer turns text into no tokens; expected {files}")
    highest = max(tokenizer.get_vocab().values())  # may exceed the number of tokens, as there may be gaps
    if highest >= rows:
        came = f"the tokenizer has ids up to {highest} but the model embeds {rows}"
        raise InputError(f"{name}: {came}; they do not belong together")
    if tokenizer.eos_token_id is None:
        raise InputError(f"{name}: the tokenizer has no end-of-text token; expected eos_token to be set")
    if not tokenizer.eos_token or not isinstance(tokenizer.eos_token, str):
        raise InputError(f"{name}: the end-of-text token is {tokenizer.eos_token!r:.40}; expected text")
    texts_of(tokenizer, [ids])


def context_length(model: PreTrainedModel) -> int:
    """The longest sequence the model can take, in tokens (1024 for GPT-2). Raises InputError where it does not say."""
    length = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if length is None:
        raise InputError(f"{type(model).__name__}: no max_position_embeddings in its configuration; expected a context")
    if not isinstance(length, int) or length < 2:
        came = length if isinstance(length, int | float) else kind_of(length)
        raise InputError(f"{type(model).__name__}: max_position_embeddings is {came}; expected at least 2 tokens")
    return length


def _folder_of(place: str | Path, options: dict) -> Path | None:
    """The folder itself, or the one where the hub's cache keeps config.json of that name; None if there is none."""
    if os.path.isdir(place):
        return Path(place)
    for name in ("tokenizer.json", "config.json"):  # the first so that it is there when the folder is checked
        found = cached_file(place, name, local_files_only=options["local_files_only"], **_QUIETLY)
    return None if found is None else Path(found).parent


@torch.no_grad()
def _check_it_runs(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, name: str) -> None:
    """Run one token through the model: some wrong numbers in config.json only show when something is computed."""
    with _loading("model", name):
        scores = model.eval()(input_ids=torch.tensor([[tokenizer.eos_token_id]]), use_cache=False).logits
    if not scores.isfinite().all():
        raise InputError(
            f"{name}: the model gives {tokenizer.eos_token!r:.40} scores that are NaN or infinite; expected finite "
            "numbers (do the epsilon and the scales in config.json belong to these weights?)"
        )


def _check_weights(report: dict, *, name: str) -> None:
    if report["missing_keys"]:
        raise InputError(f"{name}: the weights lack {min(report['missing_keys'])} and perhaps more")
    if report["mismatched_keys"]:
        weight, came, expected = min(report["mismatched_keys"])
        raise InputError(f"{name}: {weight} has shape {tuple(came)}; expected {tuple(expected)}, as in config.json")
    if report["unexpected_keys"]:
        first, count = min(report["unexpected_keys"]), len(report["unexpected_keys"])
        warnings.warn(f"{name}: unused weights in the file: {count}, such as {first}", stacklevel=3)


def _check_finite(model: PreTrainedModel, *, name: str) -> None:
    """The model of a run that diverged would load without complaint, and all its losses would be NaN."""
    for weight, parameter in model.named_parameters():
        bad = parameter.numel() - int(parameter.isfinite().sum())
        if bad:
            raise InputError(f"{name}: {weight} has {bad} entries that are NaN or infinite; expected finite numbers")


@contextmanager
def _loading(what: str, place: str | Path) -> Iterator[None]:
    """Turns any error into one line, and hides the progress bar, which differs from run to run, and other output."""
    verbosity, had_bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    except InputError:
        raise
    except OverLimit:
        raise InputError(f"cannot load a {what} from {place}: it takes too long; expected an ordinary one") from None
    except Exception as error:  # libraries raise many kinds: OSError, SafetensorError, KeyError, a bare Exception
        absent = "" if os.path.isdir(place) else "no such folder, and no hub name within reach: "
        raise InputError(f"cannot load a {what} from {place}: {absent}{one_line(error)}") from error
    finally:
        logging.set_verbosity(verbosity)
        if had_bar:
            logging.enable_progress_bar()
