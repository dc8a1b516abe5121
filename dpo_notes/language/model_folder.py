"""What a model folder may hold and ask for, checked before anything is built from it."""

import json
import math
import re
import stat
from pathlib import Path

import torch
from torch import nn
from transformers import AutoConfig
from transformers.initialization import no_init_weights

from dpo_notes.language.tokenizer_file import check_tokenizer_file
from dpo_notes.maths.errors import InputError
from dpo_notes.pairs.bounded import OverLimit, run_python
from dpo_notes.pairs.wording import kind_of, one_line

TEXT_BYTES = 64 * 2**20  # of a file other than weights; tokenizers of 250,000 words have half of that
NESTING = 50  # objects within objects; real files have a few
WHOLE_NUMBER = 10**15  # the largest size of any
COUNTS = {  # the largest whole number in config.json by the end of its name; in brackets what large models have
    "layers": 1_000,  # (126)
    "layer": 1_000,
    "heads": 10_000,  # (128)
    "head": 10_000,
    "experts": 10_000,  # (2,048)
    "labels": 100_000,  # (one for each word, 30,000)
    "vocab_size": 10_000_000,  # (256,000)
    "hidden_size": 1_000_000,  # (16,384)
    "n_embd": 1_000_000,
    "intermediate_size": 10_000_000,  # (65,536)
    "n_inner": 10_000_000,
    "positions": 100_000_000,  # (10,485,760)
    "position_embeddings": 100_000_000,
}
MUST_BE_ABOVE_0 = {"n_layer", "n_head", "n_embd", "n_positions", "vocab_size", "hidden_size", "num_hidden_layers"}
MUST_BE_ABOVE_0 |= {"num_attention_heads", "max_position_embeddings"}
PARAMETERS_A_BYTE = 4  # on disk; the smallest known weights have two bits, so four fit into a byte
PARAMETERS_ANYWAY = 10_000_000  # they take 40 MB, so a damaged file is left to the library that reads it
BUFFER_BYTES = 2**30  # for what a model builds besides its weights, such as tables of positions
SECONDS_TO_BUILD, BYTES_TO_BUILD = 20.0, 4 * 2**30  # for the model without numbers; 1,000 layers of GPT-2 take 2 s
EXPECTED = "expected sizes that match the weights"
INDEX = "model.safetensors.index.json"
READ = re.compile(  # the files that the libraries read; corpora and data beside them may be of any size
    r"(config|generation_config|special_tokens_map|added_tokens|vocab|tokenizer\w*)\.json|(vocab|merges)\.txt"
    r"|chat_template\.\w+|.*\.model|.*\.safetensors(\.index\.json)?"
)


def check_folder(folder: Path) -> None:
    """Raise InputError, in one line, for what could make the libraries hang or run out of memory.

    These are huge files; pipes and devices; JSON nested too deep; numbers in config.json that no model has; an index
    that takes shards from elsewhere; a tokenizer that multiplies texts. Missing files, and what the libraries refuse
    themselves, are left to them.
    """
    for path in sorted(folder.iterdir()):
        if READ.fullmatch(path.name):
            _check_file(path)
    for name in ("generation_config.json", "tokenizer_config.json", "special_tokens_map.json"):
        if (folder / name).is_file():
            _object(folder / name)
    path = folder / "config.json"
    if path.is_file():
        _check_numbers(_object(path), path)
    if (folder / INDEX).is_file():
        _check_index(folder / INDEX)
    path = folder / "tokenizer.json"
    if path.is_file():
        check_tokenizer_file(_object(path), name=str(path))


def check_size(auto_class: type, folder: Path) -> None:
    """Raise InputError if config.json asks for a larger model than the weight files can hold.

    The model is built without numbers, on PyTorch's meta device, and its parameters are counted. Missing weights would
    be refused anyway, but only after memory was taken for them. Errors of the library pass through unchanged.
    """
    path = folder / "config.json"

    def build() -> nn.Module:
        with torch.device("meta"), no_init_weights():
            return auto_class.from_config(AutoConfig.from_pretrained(folder, trust_remote_code=False))

    try:
        model = run_python(build, seconds=SECONDS_TO_BUILD, extra_bytes=BYTES_TO_BUILD)
    except OverLimit:
        raise InputError(
            f"{path}: building its model takes more than {SECONDS_TO_BUILD:g} seconds; {EXPECTED}"
        ) from None
    except MemoryError:
        raise InputError(f"{path}: building its model takes more than {BYTES_TO_BUILD >> 30} GiB; {EXPECTED}") from None
    on_disk = sum(file.stat().st_size for file in _weight_files(folder))
    parameters = sum(parameter.numel() for parameter in model.parameters())  # tied ones twice
    if on_disk and parameters > PARAMETERS_A_BYTE * on_disk + PARAMETERS_ANYWAY:
        raise InputError(
            f"{path}: asks for a model of {parameters:,} parameters, but the weight files have {on_disk:,} bytes; "
            "expected the config.json that belongs to the weights"
        )
    made = sum(buffer.numel() * buffer.element_size() for buffer in model.buffers())
    if made > max(BUFFER_BYTES, on_disk):
        raise InputError(f"{path}: asks for tables of {made:,} bytes besides the weights; {EXPECTED}")


def _weight_files(folder: Path) -> list[Path]:
    """The files that the weights are read from: one, or those of the index, or none."""
    if (folder / "model.safetensors").is_file():
        return [folder / "model.safetensors"]
    names = _object(folder / INDEX)["weight_map"].values() if (folder / INDEX).is_file() else ()
    return [folder / name for name in sorted(set(names))]


def _check_file(path: Path) -> None:
    try:
        found = path.stat()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({one_line(error)}); expected a readable file") from error
    if not stat.S_ISREG(found.st_mode):
        raise InputError(f"{path}: not a regular file; expected one, not a pipe or a device")
    if path.suffix != ".safetensors" and found.st_size > TEXT_BYTES:
        raise InputError(f"{path}: {found.st_size:,} bytes; expected at most {TEXT_BYTES:,}")


def _object(path: Path) -> dict:
    """What a JSON file holds. One that is cut off, or not text, counts as empty, because the library will refuse it."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        content, depth = None, NESTING + 1
    except ValueError:
        return {}
    else:
        depth = _depth(content)
    if depth > NESTING:
        raise InputError(f"{path}: nested more than {NESTING} deep; expected a file as transformers writes it")
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds {kind_of(content)}; expected an object, as transformers writes it")
    return content


def _check_numbers(content: object, path: Path, name: str = "") -> None:
    if isinstance(content, dict):
        for key, value in content.items():
            _check_numbers(value, path, key)
    elif isinstance(content, list):
        for value in content:
            _check_numbers(value, path, name)
    elif isinstance(content, float) and math.isnan(content):
        raise InputError(f"{path}: {name} is NaN; expected a number")
    elif isinstance(content, int) and not isinstance(content, bool):
        most = next((COUNTS[end] for end in COUNTS if re.search(rf"(^|_){end}$", name)), WHOLE_NUMBER)
        least = 1 if name in MUST_BE_ABOVE_0 else -WHOLE_NUMBER
        if not least <= content <= most:
            shown = content if abs(content) < 10**20 else f"a number of {len(str(abs(content)))} digits"
            raise InputError(f"{path}: {name} is {shown}; expected {least} to {most}")


def _check_index(path: Path) -> None:
    """Shards must be in the folder itself, under a plain name: `../../x.safetensors` is somebody else's file."""
    shards = _object(path).get("weight_map")
    if not isinstance(shards, dict) or not shards or not all(isinstance(name, str) for name in shards.values()):
        raise InputError(f"{path}: no weight_map of weights to files; expected one, as transformers writes it")
    for name in sorted(set(shards.values())):
        if not re.fullmatch(r"[\w.-]+\.safetensors", name) or not (path.parent / name).is_file():
            raise InputError(
                f"{path}: names the shard {name!r:.100}, which is not a .safetensors file in this folder; expected "
                "plain names of files in it"
            )


def _depth(content: object) -> int:
    """How deep objects and lists are nested. It stops counting at one more than NESTING."""
    level, depth = [content], 0
    while level and depth <= NESTING:
        level = [
            inner
            for value in level
            if isinstance(value, dict | list)
            for inner in (value.values() if isinstance(value, dict) else value)
        ]
        depth += 1
    return depth
