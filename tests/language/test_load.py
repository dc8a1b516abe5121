"""A model and its tokenizer from a folder or a hub name; what is broken or does not fit is reported in one line."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import pytest
import torch
from model_folders import Change, edit, write
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import nn
from transformers import GPT2LMHeadModel, LlavaConfig, MambaConfig, PreTrainedTokenizerFast
from transformers.utils import logging

from dpo_notes.language import load
from dpo_notes.language.load import check_tokenizer_fits, context_length, frozen_copy, load_model
from dpo_notes.maths.errors import InputError
from dpo_notes.pairs import embedded

TEXTS = ["Where is Paris? In France.", "Ünïcode 中文 👩🔬\n\t", ""]


@pytest.fixture
def folder(tmp_path, tiny_model, tiny_tokenizer) -> Path:
    """The tiny model and tokenizer in the layout of today: model.safetensors, config.json, tokenizer.json."""
    tiny_model.save_pretrained(tmp_path)
    tiny_tokenizer.save_pretrained(tmp_path)
    return tmp_path


def as_gpt2_wrote_it(folder: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    """vocab.json and merges.txt instead of tokenizer.json, and no words on special tokens."""
    tokenizer.backend_tokenizer.model.save(str(folder))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()


def edit_weights(change: Callable[[dict], object]) -> Change:
    def edit_file(folder: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        change(weights)
        save_file(weights, folder / "model.safetensors", {"format": "pt"})

    return edit_file


def cut(name: str, length: int) -> Change:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:length])


@pytest.mark.parametrize("layout", ["tokenizer.json", "vocab.json and merges.txt"])
def test_what_was_saved_comes_back(folder, tiny_model, tiny_tokenizer, layout):
    if layout != "tokenizer.json":
        as_gpt2_wrote_it(folder, tiny_tokenizer)
    for place in (folder, str(folder)):
        model, tokenizer = load_model(place)
        assert not model.training
        saved = tiny_model.state_dict()
        assert model.state_dict().keys() == saved.keys()
        assert all(torch.equal(weight, saved[name]) for name, weight in model.state_dict().items())
        assert tokenizer(TEXTS)["input_ids"] == tiny_tokenizer(TEXTS)["input_ids"]
        assert tokenizer.eos_token_id == tokenizer.pad_token_id == tiny_tokenizer.eos_token_id
    assert context_length(model) == 96


def saved_for_gradient(model: GPT2LMHeadModel) -> int:
    """How many tensors a forward pass keeps; the gradients are there afterwards."""
    kept = set()
    ids = torch.arange(20)[None]
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.add(tensor.data_ptr()) or tensor, lambda t: t):
        model(input_ids=ids).logits.sum().backward()
    return len(kept)


def test_the_activation_is_one_kernel_equal_to_the_one_of_transformers(folder):
    """Logits and gradients; fewer tensors kept; and the folder that it is saved to names the activation as before."""
    ours, (plain, kept) = load_model(folder)[0], (GPT2LMHeadModel.from_pretrained(folder).eval(), [])
    assert [type(block.mlp.act) for block in ours.transformer.h] == [nn.GELU] * ours.config.n_layer
    for model in (ours, plain):
        model.double()
        kept.append(saved_for_gradient(model))
    assert kept[0] == kept[1] - 3 * ours.config.n_layer
    for (name, weight), expected in zip(ours.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(weight.grad, expected.grad, rtol=1e-10, atol=1e-12, msg=name)
    ids = torch.arange(20)[None]
    torch.testing.assert_close(ours(input_ids=ids).logits, plain(input_ids=ids).logits, rtol=1e-12, atol=1e-12)
    ours.save_pretrained(folder / "again")
    assert json.loads((folder / "again" / "config.json").read_text())["activation_function"] == "gelu_new"


def test_half_precision_on_disk_is_float32_in_memory(folder, tiny_model):
    tiny_model.bfloat16().save_pretrained(folder)
    model, _ = load_model(folder)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_dropout_is_off_whatever_config_json_sets(folder):
    edit("config.json", attn_pdrop=0.5, embd_pdrop=0.5, resid_pdrop=0.5)(folder)
    model, _ = load_model(folder)
    ids = torch.arange(20)[None]
    assert torch.equal(model(input_ids=ids).logits, model(input_ids=ids).logits)


def test_a_tokenizer_without_padding_pads_with_end_of_text(folder, tiny_tokenizer):
    settings = {"eos_token": tiny_tokenizer.eos_token, "tokenizer_class": "PreTrainedTokenizerFast"}
    write("tokenizer_config.json", json.dumps(settings))(folder)
    _, tokenizer = load_model(folder)
    assert tokenizer.pad_token_id == tokenizer.eos_token_id == tiny_tokenizer.eos_token_id


@pytest.fixture
def verbose():
    """The library at its most verbose; restored afterwards."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_info()
    logging.enable_progress_bar()
    yield
    logging.set_verbosity(verbosity)
    (logging.enable_progress_bar if bars else logging.disable_progress_bar)()


def test_loading_is_silent_and_leaves_the_verbosity_of_the_library_as_it_was(folder, verbose, capfd, caplog):
    """A progress bar would differ between two executions of a notebook."""
    before = logging.get_verbosity()
    capfd.readouterr()
    caplog.clear()
    load_model(folder)
    with pytest.raises(InputError):
        load_model(folder / "nothing")
    assert capfd.readouterr() == ("", "") and caplog.records == []
    assert logging.get_verbosity() == before and logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    load_model(folder)
    assert not logging.is_progress_bar_enabled()


def remove(name: str) -> Change:
    return lambda folder: (folder / name).unlink()


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (remove("model.safetensors"), "cannot load a model from .*no file named model.safetensors"),
        (cut("model.safetensors", 50_000), "cannot load a model from .*not fully covered"),
        (cut("model.safetensors", 5), "cannot load a model from .*header too small"),
        (write("model.safetensors", "<html>not found</html>"), "cannot load a model from .*header too large"),
        (
            edit_weights(lambda weights: weights.pop("transformer.ln_f.bias")),
            "GPT2LMHeadModel: the weights lack transformer.ln_f.bias and perhaps more",
        ),
        (
            edit("config.json", n_embd=64),
            r"transformer.h.0.attn.c_attn.bias has shape \(96,\); expected \(192,\), as in config.json",
        ),
        (
            edit_weights(lambda weights: weights["transformer.ln_f.bias"][3:5].fill_(torch.nan)),
            "transformer.ln_f.bias has 2 entries that are NaN or infinite; expected finite numbers",
        ),
        (
            edit_weights(lambda weights: weights["transformer.wpe.weight"][0, 0].fill_(torch.inf)),
            "transformer.wpe.weight has 1 entries that are NaN or infinite; expected finite numbers",
        ),
        (remove("config.json"), "cannot load a model from .*config.json"),
        (write("config.json", "{"), "cannot load a model from .*not a valid JSON file"),
        (edit("config.json", model_type="nonesuch"), "cannot load a model from .*nonesuch"),
        (remove("tokenizer.json"), "cannot load a tokenizer from"),
        (write("tokenizer.json", "{"), "cannot load a tokenizer from"),
        (write("tokenizer.json", "{}"), "cannot load a tokenizer from"),
        (
            write("tokenizer.json", "[]"),
            r"tokenizer\.json: holds a list; expected an object, as transformers writes it",
        ),
    ],
    ids=lambda value: value[:50] if isinstance(value, str) else "",
)
def test_a_broken_folder_is_reported_in_one_line(folder, verbose, capfd, caplog, break_it, message):
    break_it(folder)
    capfd.readouterr()
    caplog.clear()
    with pytest.raises(InputError, match=message) as error:
        load_model(folder)
    assert str(folder) in str(error.value)
    assert "\n" not in str(error.value) and len(str(error.value)) < 600
    assert capfd.readouterr() == ("", "") and caplog.records == []


@pytest.mark.parametrize("missing", ["vocab.json", "merges.txt"])
def test_half_of_gpt2s_tokenizer_is_refused(folder, tiny_tokenizer, missing):
    as_gpt2_wrote_it(folder, tiny_tokenizer)
    (folder / missing).unlink()
    with pytest.raises(InputError, match="cannot load a tokenizer from .*vocab.*merges"):
        load_model(folder)


@pytest.mark.parametrize("written", [{}, {"vocab.json": "{}", "merges.txt": "#version: 0.2\n"}], ids=["no", "empty"])
def test_no_vocabulary_and_an_empty_one_are_refused(folder, tiny_tokenizer, written):
    """Some loaders return a tokenizer with no words, silently."""
    as_gpt2_wrote_it(folder, tiny_tokenizer)
    for name in ("vocab.json", "merges.txt"):
        (folder / name).unlink()
    for name, content in written.items():
        (folder / name).write_text(content)
    with pytest.raises(InputError, match="turns text into no tokens; expected tokenizer.json or vocab.json and merges"):
        load_model(folder)


class Bomb:
    """What a pickle may hold: unpickling it makes a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_pickle_is_never_opened(folder):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(folder / "opened")))
    with pytest.raises(InputError, match=r"no file named model\.safetensors"):
        load_model(folder)
    with pytest.raises(InputError, match=r"pytorch_model\.bin: a file; expected a folder in the Hugging Face layout"):
        load_model(folder / "pytorch_model.bin")
    assert not (folder / "opened").exists()


def test_code_in_a_folder_is_never_run_and_the_user_is_not_asked(folder, monkeypatch):
    (folder / "code.py").write_text(f"open({str(folder / 'opened')!r}, 'w')")
    auto_map = {"AutoConfig": "code.C", "AutoModelForCausalLM": "code.M"}
    edit("config.json", model_type="theirs", auto_map=auto_map)(folder)
    monkeypatch.setattr("builtins.input", lambda *words: "y")
    with pytest.raises(InputError, match="contains custom code"):
        load_model(folder)
    assert not (folder / "opened").exists()


def test_weights_without_use_are_counted_in_a_warning(folder):
    """A reward model's head would go unseen otherwise. GPT-2's own old mask, "attn.bias", is no weight."""
    edit_weights(lambda weights: weights.update({name: torch.ones(2) for name in ("score.weight", "h.0.attn.bias")}))(
        folder
    )
    with pytest.warns(UserWarning, match=r"GPT2LMHeadModel: unused weights in the file: 1, such as score\.weight"):
        load_model(folder)


def words(*vocabulary: tuple[str, int], **special: str) -> PreTrainedTokenizerFast:
    """A tokenizer of whole words, with these ids."""
    tokenizer = Tokenizer(models.WordLevel(dict(vocabulary), unk_token="a"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)


def test_a_tokenizer_must_fit_the_model(tiny_model, tiny_tokenizer):
    """400 embeddings hold the ids 0 to 399. Three words may have ids far above 3."""
    end = {"eos_token": "<e>"}
    check_tokenizer_fits(tiny_model, tiny_tokenizer, name="x")
    check_tokenizer_fits(tiny_model, words(("a", 0), ("b", 399), ("<e>", 1), **end), name="x")
    with pytest.raises(InputError, match="x: the tokenizer has ids up to 400 but the model embeds 400"):
        check_tokenizer_fits(tiny_model, words(("a", 0), ("b", 400), ("<e>", 1), **end), name="x")
    with pytest.raises(InputError, match="x: the tokenizer has no end-of-text token; expected eos_token to be set"):
        check_tokenizer_fits(tiny_model, words(("a", 0), ("b", 1)), name="x")
    tiny_model.resize_token_embeddings(399)
    with pytest.raises(InputError, match="ids up to 399 but the model embeds 399; they do not belong together"):
        check_tokenizer_fits(tiny_model, tiny_tokenizer, name="x")


@pytest.mark.parametrize(
    "name", ["gpt2", "someone/something", "runs/no/model", "./nothing", "", "a b", "x" * 5000, "\0"]
)
def test_a_name_that_is_no_folder_is_reported_in_one_line_where_the_hub_is_out_of_reach(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError, match="no such folder, and no hub name within reach") as error:
        load_model(name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("silent", [True, False])
def test_only_the_cache_is_asked_where_the_hub_is_silent(monkeypatch, silent):
    """The library itself would try the hub again and again for half a minute, though it has the model in its cache."""
    asked = {}

    def refuse(place: str, **options: object):
        asked[place] = options["local_files_only"]
        raise OSError("not here")

    monkeypatch.setattr(load, "why_hub_is_silent", lambda: "no network" if silent else None)
    monkeypatch.setattr(load.AutoModelForCausalLM, "from_pretrained", refuse)
    with pytest.raises(InputError):
        load_model("gpt2")
    assert asked == {"gpt2": silent}


def test_a_model_that_names_no_context_is_reported_in_one_line(tiny_model):
    """A picture-and-text model keeps it in a configuration within; one without any (as Mamba) is refused."""
    tiny_model.config = LlavaConfig()
    assert context_length(tiny_model) == tiny_model.config.text_config.max_position_embeddings
    tiny_model.config = MambaConfig()
    with pytest.raises(InputError, match="^GPT2LMHeadModel: no max_position_embeddings in its configuration"):
        context_length(tiny_model)


def test_a_frozen_copy_is_independent_and_asks_for_no_gradient(tiny_model):
    tiny_model.train()
    reference = frozen_copy(tiny_model)
    assert not reference.training and tiny_model.training
    before = {name: weight.clone() for name, weight in tiny_model.state_dict().items()}
    with torch.no_grad():
        for weight in tiny_model.parameters():
            weight.add_(1)
    assert all(torch.equal(weight, before[name]) for name, weight in reference.state_dict().items())
    assert not any(weight.requires_grad for weight in reference.parameters())
    assert all(weight.requires_grad for weight in tiny_model.parameters())
    assert reference.lm_head.weight is reference.transformer.wte.weight  # still tied


def test_embedded_is_the_models_name_in_the_repository_and_its_absence_is_reported(monkeypatch, tmp_path):
    monkeypatch.setattr(embedded, "DATA", tmp_path)
    with pytest.raises(InputError, match="no embedded model in .*; expected a clone of the repository"):
        load_model()


def test_the_embedded_model_has_4_layers_and_160_channels():
    model, tokenizer = load_model()
    assert (model.config.n_layer, model.config.n_embd) == (4, 160)
    assert len(tokenizer) == model.config.vocab_size
