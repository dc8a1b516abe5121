"""The reward head: where it reads, its first rewards, and who else can load it."""

import copy
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from model_folders import edit
from safetensors.torch import load_file, save_file
from tensors import seeded
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    CodeGenConfig,
    CodeGenForCausalLM,
    GPT2ForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
)

from dpo_notes.language.load import fuse_gelu
from dpo_notes.language.reward_head import last_token_rewards, load_reward_model, new_reward_model, reward_of
from dpo_notes.maths.errors import InputError
from dpo_notes.pairs.batches import collate
from dpo_notes.pairs.encode import encode_responses

PROMPTS = ["Where is Paris?", "Where is Rome?", "What do you think of The Silent Harbour?", "Where is Oslo? "]
RESPONSES = [" In France.", " It is in Italy, and I hope you enjoy your stay.", "", "In Norway."]
MOVED = [*RESPONSES[:3], " In Norway."]  # the space that ends the last prompt begins its response


@pytest.fixture
def reward(new_tiny_model, tiny_tokenizer):
    """(reward model, tokenizer) of the tiny model, with a head of random numbers."""
    model, tokenizer = new_reward_model(new_tiny_model(), tiny_tokenizer)
    with torch.no_grad():
        model.score.weight.normal_(generator=seeded())
    return model, tokenizer


def by_hand(model, tokenizer, prompt: str, response: str) -> float:
    """w · h: one sequence alone, its trunk's last hidden state, at the last token, which is end of text."""
    ids = [token for text in (prompt.rstrip(" "), response) for token in tokenizer(text)["input_ids"]]
    ids = torch.tensor([[*ids, tokenizer.eos_token_id]])
    with torch.no_grad():
        hidden = model.base_model(input_ids=ids).last_hidden_state[0, -1]
        return (model.score.weight[0] @ hidden).item()


def test_a_new_reward_model_gives_every_text_exactly_0(tiny_model, tiny_tokenizer):
    model, tokenizer = new_reward_model(tiny_model, tiny_tokenizer)
    assert reward_of(model, tokenizer, PROMPTS, RESPONSES).tolist() == [0, 0, 0, 0]


def test_the_reward_is_the_head_times_the_hidden_state_at_end_of_text(reward):
    expected = [by_hand(*reward, prompt, response) for prompt, response in zip(PROMPTS, MOVED, strict=True)]
    assert reward_of(*reward, PROMPTS, RESPONSES).tolist() == pytest.approx(expected, rel=1e-5)
    assert len(set(expected)) == 4


def test_the_order_of_texts_and_what_else_is_in_the_batch_changes_nothing(reward, tiny_pairs):
    """48 texts: two batches of like length, and each text alone."""
    prompts = [pair.prompt for pair in tiny_pairs] * 2
    responses = [pair.chosen for pair in tiny_pairs] + [pair.rejected for pair in tiny_pairs]
    together = reward_of(*reward, prompts, responses)
    alone = [reward_of(*reward, [p], [r]).item() for p, r in zip(prompts, responses, strict=True)]
    assert together.tolist() == pytest.approx(alone, rel=1e-4, abs=1e-5)
    backwards = reward_of(*reward, prompts[::-1], responses[::-1])
    torch.testing.assert_close(backwards.flip(0), together, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("pad_id", [0, 7, 400], ids=["end of text", "a word", "a token of its own"])
@pytest.mark.parametrize("filled_with", [0, 7, 400])
def test_the_last_real_token_is_read_whatever_pads_and_whatever_the_padding_id_is(reward, pad_id, filled_with):
    """Also where padding equals end of text or a token of the text: places come from lengths."""
    model, tokenizer = reward
    assert tokenizer.eos_token_id == 0
    encoded = encode_responses(tokenizer, PROMPTS, RESPONSES, max_length=96)
    batch = collate(*zip(*encoded, strict=True))
    lengths = torch.tensor([len(prompt) + len(response) for prompt, response in encoded])
    padding = torch.arange(batch.input_ids.shape[1]) >= lengths[:, None]
    assert padding.any()
    model.config.pad_token_id = pad_id
    with torch.no_grad():
        rewards = last_token_rewards(model, replace(batch, input_ids=batch.input_ids.masked_fill(padding, filled_with)))
    expected = [by_hand(model, tokenizer, *texts) for texts in zip(PROMPTS, MOVED, strict=True)]
    assert rewards.tolist() == pytest.approx(expected, rel=1e-5)


def test_a_response_that_was_cut_is_read_at_the_last_token_it_kept(reward):
    model, tokenizer = reward
    with pytest.warns(UserWarning, match="longer than 96 tokens"):
        [(prompt, response)] = encode_responses(tokenizer, ["Where?"], [" In France." * 60], max_length=96)
    assert len(prompt) + len(response) == 96 and response[-1] != tokenizer.eos_token_id
    with torch.no_grad():
        hidden = model.base_model(input_ids=torch.tensor([prompt + response])).last_hidden_state[0, -1]
    with pytest.warns(UserWarning, match="longer than 96 tokens"):
        rewards = reward_of(*reward, ["Where?"], [" In France." * 60])
    assert rewards.item() == pytest.approx((model.score.weight[0] @ hidden).item(), rel=1e-5)


def test_it_is_a_reward_fn_without_gradient_and_leaves_no_hook(reward):
    reward_fn = partial(reward_of, *reward)
    rewards = reward_fn(PROMPTS, RESPONSES)
    assert (rewards.shape, rewards.requires_grad) == ((4,), False)
    assert reward_fn([], []).shape == (0,)
    assert not reward[0].score._forward_pre_hooks


def test_the_language_model_and_its_tokenizer_are_copied_and_left_as_they_are(new_tiny_model, tiny_tokenizer):
    language_model, before = new_tiny_model(), new_tiny_model().state_dict()
    model, tokenizer = new_reward_model(language_model, tiny_tokenizer)
    trunk = model.base_model.state_dict()
    for name, weight in language_model.base_model.state_dict().items():
        assert torch.equal(trunk[name][: len(weight)], weight), name
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    assert all(torch.equal(weight, before[name]) for name, weight in language_model.state_dict().items())
    assert language_model.config.vocab_size == 400
    assert tiny_tokenizer.pad_token_id == tiny_tokenizer.eos_token_id
    assert tokenizer("Where is Paris?")["input_ids"] == tiny_tokenizer("Where is Paris?")["input_ids"]


def test_padding_gets_a_token_and_a_row_of_its_own_unless_it_has_one(new_tiny_model, tiny_tokenizer):
    model, tokenizer = new_reward_model(new_tiny_model(), tiny_tokenizer)
    assert model.get_input_embeddings().weight.shape == (401, 32)
    assert model.config.pad_token_id == tokenizer.pad_token_id == 400 == model.config.vocab_size - 1
    own = copy.deepcopy(tiny_tokenizer)
    own.pad_token = own.convert_ids_to_tokens(40)
    model, tokenizer = new_reward_model(new_tiny_model(), own)
    assert model.get_input_embeddings().weight.shape == (400, 32)
    assert model.config.pad_token_id == tokenizer.pad_token_id == 40


def test_other_architectures_get_a_head_too(tiny_tokenizer):
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlamaConfig(**sizes, vocab_size=448, max_position_embeddings=96)  # with rows to spare, as many have
    model, tokenizer = new_reward_model(LlamaForCausalLM(config).eval(), tiny_tokenizer)
    assert reward_of(model, tokenizer, PROMPTS, RESPONSES).tolist() == [0, 0, 0, 0]
    assert model.get_input_embeddings().weight.shape == (448, 32)
    with torch.no_grad():
        model.score.weight.normal_()
    rewards = reward_of(model, tokenizer, PROMPTS, RESPONSES)
    assert rewards[0].item() == pytest.approx(by_hand(model, tokenizer, PROMPTS[0], RESPONSES[0]), rel=1e-4)


def test_making_one_draws_no_random_numbers(tiny_model, tiny_tokenizer):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    models = [new_reward_model(tiny_model, tiny_tokenizer)[0].state_dict() for _ in range(2)]
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(weight, models[1][name]) for name, weight in models[0].items())


@pytest.fixture
def folder(reward, tmp_path) -> Path:
    """The reward model and its tokenizer, saved."""
    for part in reward:
        part.save_pretrained(tmp_path)
    return tmp_path


def test_transformers_loads_it_and_gives_the_same_rewards_to_padded_texts_one_by_one_and_together(reward, folder):
    """With its own code, which looks for the last token that is not the padding id, and its own loaders."""
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert isinstance(model, GPT2ForSequenceClassification)
    expected = reward_of(*reward, PROMPTS, RESPONSES)
    texts = [p.rstrip(" ") + r + tokenizer.eos_token for p, r in zip(PROMPTS, MOVED, strict=True)]
    padded = partial(tokenizer, padding="max_length", max_length=60, padding_side="right", return_tensors="pt")
    with torch.no_grad():
        together = model(**padded(texts)).logits.squeeze(1)
        alone = torch.cat([model(**padded([text])).logits.squeeze(1) for text in texts])
    torch.testing.assert_close(together, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(alone, expected, rtol=1e-5, atol=1e-5)


def test_what_was_saved_comes_back(reward, folder):
    model, tokenizer = load_reward_model(folder)
    assert not model.training
    fuse_gelu(reward[0])  # as loading does
    assert torch.equal(reward_of(model, tokenizer, PROMPTS, RESPONSES), reward_of(*reward, PROMPTS, RESPONSES))


def test_a_model_saved_elsewhere_without_a_padding_id_loads_and_works(reward, folder):
    edit("config.json", pad_token_id=None)(folder)
    fuse_gelu(reward[0])
    loaded = load_reward_model(folder)
    assert torch.equal(reward_of(*loaded, PROMPTS, RESPONSES), reward_of(*reward, PROMPTS, RESPONSES))


def test_a_folder_that_holds_no_reward_model_is_reported_in_one_line(folder, tiny_model, tiny_tokenizer, tmp_path):
    language_model = tmp_path / "language model"
    tiny_model.save_pretrained(language_model)
    tiny_tokenizer.save_pretrained(language_model)
    with pytest.raises(InputError, match="GPT2ForSequenceClassification: the weights lack score.weight"):
        load_reward_model(language_model)
    with pytest.raises(InputError, match="cannot load a model from nowhere/at/all: no such folder"):
        load_reward_model("nowhere/at/all")
    weights = load_file(folder / "model.safetensors")
    save_file(weights | {"score.weight": torch.zeros(2, 32)}, folder / "model.safetensors", {"format": "pt"})
    edit("config.json", id2label={"0": "bad", "1": "good"})(folder)
    with pytest.raises(InputError, match="the head of GPT2ForSequenceClassification gives 2 numbers; expected one"):
        load_reward_model(folder)
    (folder / "model.safetensors").write_bytes(b"\x80\x04not safetensors")
    with pytest.raises(InputError, match="cannot load a model from") as error:
        load_reward_model(folder)
    assert "\n" not in str(error.value)


def test_what_is_no_reward_model_or_no_response_is_refused(reward, tiny_model, tiny_tokenizer):
    with pytest.raises(InputError, match="GPT2LMHeadModel has no reward head; expected what new_reward_model"):
        reward_of(tiny_model, tiny_tokenizer, PROMPTS, RESPONSES)
    with pytest.raises(InputError, match="4 prompts and 3 responses"):
        reward_of(*reward, PROMPTS, RESPONSES[:3])
    with pytest.raises(InputError, match=r"response 1 holds <\|endoftext\|>"):
        reward_of(*reward, ["Where?"], [" In France.<|endoftext|>"])
    reward[0].config.pad_token_id = None
    with pytest.raises(InputError, match="no padding id, which transformers needs"):
        reward_of(*reward, PROMPTS, RESPONSES)


def test_a_language_model_that_transformers_cannot_give_a_head_is_refused_in_one_line(tiny_tokenizer):
    config = CodeGenConfig(vocab_size=400, n_positions=96, n_ctx=96, n_embd=32, n_layer=1, n_head=4, rotary_dim=4)
    with pytest.raises(InputError, match="CodeGenForCausalLM cannot become a reward model: ") as error:
        new_reward_model(CodeGenForCausalLM(config), tiny_tokenizer)
    assert "\n" not in str(error.value)
