"""Sampling: tokens come with their probabilities, and neither padding nor the cache changes these."""

import math
from functools import partial
from itertools import chain

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from intervals import deviations
from tensors import doubles, seeded
from torch import Tensor
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    Lfm2Config,
    Lfm2ForCausalLM,
    PreTrainedModel,
)

from dpo_notes.language import generate
from dpo_notes.language.generate import next_token_probs, sample, sample_ids
from dpo_notes.maths.errors import InputError
from dpo_notes.pairs.encode import encode_prompts

PROMPTS = ["Where is Paris?", "", "Is The Silent Harbour worth seeing? The Silent Harbour is a", "Tell me"]


@pytest.fixture
def four_words() -> PreTrainedModel:
    """A GPT-2 of four tokens, 0 the end of text, so that all its responses of three tokens can be listed."""
    config = GPT2Config(vocab_size=4, n_positions=8, n_embd=16, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0)
    with torch.random.fork_rng():
        torch.manual_seed(4)
        model = GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for matrix in (parameter for parameter in model.parameters() if parameter.ndim > 1):
            matrix.mul_(8)
    return model


def favour(model: GPT2LMHeadModel, token: int) -> None:
    """Make `token` all but certain everywhere: what reaches the head is always its own embedding, magnified."""
    with torch.no_grad():
        model.transformer.ln_f.weight.zero_()
        model.transformer.ln_f.bias.copy_(100 * model.lm_head.weight[token])


@torch.no_grad()
def logits_after(model: PreTrainedModel, ids: list[int]) -> Tensor:
    """The logits after these tokens, in a row of their own, without cache or padding."""
    return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1]


def all_responses(model: PreTrainedModel, prompt: list[int], length: int) -> dict[tuple[int, ...], float]:
    """Each response of up to `length` tokens, ended by 0 or cut, with its probability by the chain rule."""
    if length == 0:
        return {(): 1.0}
    found = {}
    for token, p in enumerate(logits_after(model, prompt).softmax(-1).tolist()):
        rest = {(): 1.0} if token == 0 else all_responses(model, [*prompt, token], length - 1)
        found |= {(token, *more): p * q for more, q in rest.items()}
    return found


def test_a_response_comes_with_its_probability(four_words):
    """10,000 samples of 40 possible responses (1 + 3 + 9 end in time, 27 are cut): each share is within 4 sigma."""
    prompt = [2, 3]
    expected = all_responses(four_words, prompt, 3)
    assert len(expected) == 40 and sum(expected.values()) == pytest.approx(1)
    drawn = sample_ids(four_words, [prompt] * 10_000, eos_id=0, generator=seeded(), max_new_tokens=3)
    hits = doubles(*([tuple(ids) == response for response in expected] for ids in drawn))
    assert hits.sum() == 10_000
    assert deviations(hits, torch.tensor(list(expected.values()), dtype=torch.float64)).abs().max() < 4
    # A sharper claim than 40 separate ones: Pearson's statistic, with mean 39 and standard deviation sqrt(78).
    counts, wanted = hits.sum(0), 10_000 * torch.tensor(list(expected.values()))
    assert abs(((counts - wanted) ** 2 / wanted).sum() - 39) < 4 * 78**0.5


def test_first_tokens_follow_temperature_top_k_and_top_p(four_words):
    """p = softmax(logits / 2), the three likeliest renormalised, then the fewest of these that hold 0.6."""
    p = (logits_after(four_words, [2, 3]).double() / 2).softmax(-1)
    p[p.argmin()] = 0
    p /= p.sum()
    best, second, third = p.sort(descending=True)[0][:3].tolist()
    assert best < 0.6 < best + second and third > 0.1  # or there would be nothing to see
    p[p == third] = 0
    p /= p.sum()
    drawn = sample_ids(
        four_words, [[2, 3]] * 4000, eos_id=0, generator=seeded(), max_new_tokens=1, temperature=2, top_k=3, top_p=0.6
    )
    hits = torch.nn.functional.one_hot(torch.tensor(drawn).flatten(), 4).double()
    assert deviations(hits, p).abs().max() < 4


def fractions(*parts: float) -> list[float]:
    return [part / sum(parts) for part in parts]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [1 / 2, 1 / 4, 1 / 8, 1 / 8]),
        ({"temperature": 0.5}, fractions(16, 4, 1, 1)),  # squares
        ({"temperature": 2}, fractions(math.sqrt(4), math.sqrt(2), 1, 1)),  # square roots
        ({"temperature": 0}, [1, 0, 0, 0]),
        ({"temperature": 1e-38}, [1, 0, 0, 0]),
        ({"temperature": 1e30}, [1 / 4] * 4),
        ({"top_k": 1}, [1, 0, 0, 0]),
        ({"top_k": 2}, fractions(2, 1, 0, 0)),
        ({"top_k": 3}, fractions(4, 2, 1, 0)),  # of the two equal ones the first stays
        ({"top_k": 9}, [1 / 2, 1 / 4, 1 / 8, 1 / 8]),
        ({"top_p": 0.5}, [1, 0, 0, 0]),  # 1/2 is enough
        ({"top_p": 0.51}, fractions(2, 1, 0, 0)),
        ({"top_p": 0.75}, fractions(2, 1, 0, 0)),
        ({"top_p": 0.76}, fractions(4, 2, 1, 0)),
        ({"top_p": 1e-9}, [1, 0, 0, 0]),
        ({"top_k": 3, "top_p": 0.85}, fractions(2, 1, 0, 0)),  # two hold 6/7 of the three; of all four it takes three
        ({"temperature": 0.5, "top_p": 0.75}, fractions(16, 4, 0, 0)),  # after temperature the first holds 16/22 only
    ],
)
def test_the_distribution_by_hand(settings, expected):
    """Probabilities 1/2, 1/4, 1/8, 1/8, as logits with some constant added; in another order they are the same."""
    logits, row = torch.tensor([[4.0, 2.0, 1.0, 1.0]]).log() + 3, torch.tensor([expected], dtype=torch.float32)
    for order in ([0, 1, 2, 3], [2, 0, 3, 1]):
        probs = next_token_probs(logits[:, order], **settings)
        torch.testing.assert_close(probs, row[:, order], rtol=1e-5, atol=1e-7)


def test_of_many_equally_likely_tokens_those_with_the_lowest_ids_stay():
    probs = next_token_probs(torch.zeros(1, 5000), top_k=3)
    assert probs[0].nonzero().flatten().tolist() == [0, 1, 2]


def test_nothing_is_cut_away_at_top_p_1():
    """The tail after a token of nearly all probability is lost in the rounding of a running sum, but stays."""
    probs = next_token_probs(torch.tensor([[20.0, *[0.0] * 50]]), top_k=50, top_p=1.0)
    assert (probs > 0).sum() == 50


@given(
    st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=12),
    st.sampled_from([0.0, 1e-3, 0.5, 1.0, 3.0, 1e4]),
    st.integers(0, 13),
    st.floats(0.01, 1),
)
def test_whatever_the_settings_it_is_a_distribution_over_the_fewest_likeliest_tokens(logits, temperature, top_k, top_p):
    row = torch.tensor([logits])
    probs = next_token_probs(row, temperature=temperature, top_k=top_k, top_p=top_p)[0]
    assert (probs >= 0).all() and probs.sum().item() == pytest.approx(1, abs=1e-5)
    kept = probs > 0
    assert kept[row[0].argmax()]
    if temperature > 0:
        plain = ((row[0].double() - row.max()) / temperature).softmax(-1)
        allowed = plain.sort(descending=True)[0][: top_k or None]
        allowed = allowed / allowed.sum()
        mass = allowed.cumsum(0)
        fewest = int((mass < top_p - 1e-5).sum()) + 1
        most = int((mass < top_p + 1e-5).sum()) + 1
        likely = int((allowed > 1e-30).sum())  # smaller ones are 0 in float32
        assert min(fewest, likely) <= kept.sum() <= most
        assert plain[kept].min() >= (plain[~kept].max() if (~kept).any() else 0) * (1 - 1e-4)


def windowed(tiny: PreTrainedModel) -> PreTrainedModel:
    """Another kind: rotary positions, and layers that see only the last 8 tokens."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        sizes = {"vocab_size": 400, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "head_dim": 16}
        heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 96}
        return Gemma2ForCausalLM(Gemma2Config(**sizes, **heads, sliding_window=8, initializer_range=0.2)).eval()


@pytest.mark.parametrize("kind", [lambda tiny: tiny, windowed], ids=["gpt2", "gemma2"])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_with_padding_and_cache_the_logits_are_those_of_each_text_read_alone(
    tiny_model, tiny_tokenizer, monkeypatch, kind, temperature
):
    """Prompts of 7, 1, 20 and 3 tokens or so in one batch; at every step, for every row that has not ended."""
    model, steps = kind(tiny_model), []

    def spy(logits: Tensor, **settings: float) -> Tensor:
        steps.append(logits)
        return next_token_probs(logits, **settings)

    monkeypatch.setattr(generate, "next_token_probs", spy)
    prompts = encode_prompts(tiny_tokenizer, PROMPTS, max_length=50)
    assert len({len(prompt) for prompt in prompts}) == 4
    drawn = sample_ids(model, prompts, eos_id=0, generator=seeded(), temperature=temperature, max_new_tokens=12)
    for row, (prompt, response) in enumerate(zip(prompts, drawn, strict=True)):
        for step in range(len(response)):
            alone = logits_after(model, [*prompt, *response[:step]])
            going_on = [number for number, ids in enumerate(drawn) if len(ids) > step]
            torch.testing.assert_close(steps[step][going_on.index(row)], alone, rtol=1e-5, atol=1e-5)
            if temperature == 0:
                assert response[step] == alone.argmax()


def test_a_batch_of_any_size_gives_each_prompt_its_own_greedy_answer_in_order(tiny_model, tiny_tokenizer, monkeypatch):
    settings = {"temperature": 0, "max_new_tokens": 6}
    whole = sample(tiny_model, tiny_tokenizer, PROMPTS, generator=seeded(), **settings)
    alone = [sample(tiny_model, tiny_tokenizer, [prompt], generator=seeded(), **settings) for prompt in PROMPTS]
    monkeypatch.setattr(generate, "PROMPTS_PER_FORWARD", 3)
    parts = sample(tiny_model, tiny_tokenizer, PROMPTS, generator=seeded(), **settings)
    assert whole == list(chain(*alone)) == parts
    assert len(set(whole)) == 4


def test_a_model_whose_layers_remember_more_than_keys_and_values_answers_too():
    """LFM2 mixes short convolutions with attention; a row that has ended leaves their memory as well."""
    shape = {"vocab_size": 40, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    shape |= {"intermediate_size": 32, "num_key_value_heads": 2, "layer_types": ["conv", "full_attention"]}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Lfm2ForCausalLM(Lfm2Config(**shape, initializer_range=0.5)).eval()
    prompts = [(5, 6, 7), (8, 9, 10), (11, 12, 13), (14, 15, 16)]
    ask = partial(sample_ids, model, eos_id=0, max_new_tokens=12)
    eos = ask(prompts[:1], generator=seeded(), temperature=0)[0][3]  # what the first one says fourth ends all
    ask = partial(sample_ids, model, eos_id=eos, max_new_tokens=12)
    together = ask(prompts, generator=seeded(), temperature=0)
    assert together == [ask([prompt], generator=seeded(), temperature=0)[0] for prompt in prompts]
    assert len(set(map(len, together))) > 1


def test_the_generator_is_the_only_source_of_chance(tiny_model, tiny_tokenizer):
    before = torch.get_rng_state()

    def draw(generator: torch.Generator) -> list[str]:
        return sample(tiny_model, tiny_tokenizer, PROMPTS, generator=generator, max_new_tokens=8)

    generator = seeded(1)
    first, second = draw(generator), draw(generator)
    assert draw(seeded(1)) == first != second != draw(seeded(2))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_response_ends_at_end_of_text_which_is_not_in_the_text_and_then_nothing_is_computed(
    tiny_model, tiny_tokenizer
):
    steps = []
    tiny_model.register_forward_hook(lambda model, inputs, output: steps.append(1))
    favour(tiny_model, 0)
    prompts = encode_prompts(tiny_tokenizer, PROMPTS, max_length=50)
    assert sample_ids(tiny_model, prompts, eos_id=0, generator=seeded(), max_new_tokens=40) == [[0]] * 4
    assert sample(tiny_model, tiny_tokenizer, PROMPTS, generator=seeded(), max_new_tokens=40) == [""] * 4
    assert len(steps) == 2  # one for each call


def test_rows_end_each_at_its_own_end_of_text(four_words):
    drawn = sample_ids(four_words, [[1]] * 200, eos_id=0, generator=seeded(), max_new_tokens=5)
    assert all(0 not in ids[:-1] and (ids[-1] == 0 or len(ids) == 5) for ids in drawn)
    assert {len(ids) for ids in drawn} == {1, 2, 3, 4, 5}


def test_nothing_is_computed_for_a_row_that_has_ended(four_words):
    """The rows of each forward pass are the responses that have a token from it."""
    rows = []
    four_words.register_forward_hook(lambda model, inputs, output: rows.append(len(output.logits)))
    drawn = sample_ids(four_words, [[1]] * 100, eos_id=0, generator=seeded(), max_new_tokens=5)
    assert rows == [100] + [sum(len(ids) > step for ids in drawn) for step in range(1, 5)]
    assert rows[4] < rows[1] < 100


def test_no_response_depends_on_when_the_others_end(four_words, monkeypatch):
    """The same prompts after others: the same responses, though the others end at other times."""
    monkeypatch.setattr(generate, "PROMPTS_PER_FORWARD", 400)
    ours, others = [[1, 2], [3, 3]] * 100, ([[2, 2]] * 200, [[3, 1]] * 200)
    settings = {"eos_id": 0, "max_new_tokens": 5}
    one, two = (sample_ids(four_words, more + ours, generator=seeded(), **settings) for more in others)
    assert one[200:] == two[200:]
    assert one[:200] != two[:200]


def test_a_number_draws_the_token_it_falls_upon_and_never_one_of_probability_0():
    """Probabilities 0, 1/2, 0, 1/4, 1/4, 0 side by side, the first at the top: 1 - number reaches 1/2, 3/4 and 1."""
    numbers = doubles(1 - 2**-53, 0.5, 0.5 - 2**-53, 0.25, 0.25 - 2**-53, 0.0)
    probs = torch.tensor([[0, 1 / 2, 0, 1 / 4, 1 / 4, 0]]).expand(6, -1)
    assert generate._draw(probs, numbers).tolist() == [1, 1, 3, 3, 4, 4]


def test_no_probability_is_too_small_to_be_drawn():
    """1e-9 next to 1 is lost in a float32 sum. The number must fall into a gap that small."""
    probs = torch.tensor([[1.0, 1e-9, 1e-9]])
    assert [generate._draw(probs, doubles(number)).item() for number in (3e-9, 1.5e-9, 0.5e-9)] == [0, 1, 2]


@pytest.mark.parametrize("settings", [{}, {"top_k": 3}, {"top_p": 0.9}])
def test_a_model_that_predicts_nan_is_reported(four_words, settings):
    with torch.no_grad():
        four_words.transformer.ln_f.bias.fill_(math.nan)
    with pytest.raises(InputError, match="the model predicts NaN"):
        sample_ids(four_words, [[1], [2, 3]], eos_id=0, generator=seeded(), max_new_tokens=5, **settings)


def test_a_response_without_end_is_cut(tiny_model, tiny_tokenizer):
    [token] = tiny_tokenizer.encode("a")
    favour(tiny_model, token)
    assert sample(tiny_model, tiny_tokenizer, ["A", ""], generator=seeded(), max_new_tokens=3) == ["aaa"] * 2
    assert sample(tiny_model, tiny_tokenizer, [""], generator=seeded(), max_new_tokens=95) == ["a" * 95]


def test_a_prompt_too_long_for_the_context_loses_its_beginning_and_is_counted(tiny_model, tiny_tokenizer):
    """96 tokens of context minus 90 new ones leave 6 for the prompt."""
    long = "Where is Paris? " * 3
    ids = tiny_tokenizer.encode(long.rstrip())[-6:]
    settings = {"generator": seeded(), "temperature": 0, "max_new_tokens": 90}
    with pytest.warns(UserWarning, match="longer than 6 tokens: 1 of 1 prompts lost their beginning"):
        [answer] = sample(tiny_model, tiny_tokenizer, [long], **settings)
    [expected] = sample_ids(tiny_model, [ids], eos_id=0, **settings)
    assert answer == tiny_tokenizer.decode(expected, skip_special_tokens=True)


def test_no_prompts_give_no_responses(tiny_model, tiny_tokenizer):
    assert sample(tiny_model, tiny_tokenizer, [], generator=seeded(), max_new_tokens=3) == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"max_new_tokens": 96}, "max_new_tokens is 96; expected 1 to 95"),
        ({"max_new_tokens": 0}, "max_new_tokens is 0; expected 1 to 95"),
        ({"temperature": -0.1}, "temperature is -0.1, top_k 0, top_p 1.0; expected at least 0"),
        ({"temperature": math.nan}, "temperature is nan"),
        ({"top_k": -1}, "top_k -1"),
        ({"top_p": 0.0}, "top_p 0.0; expected at least 0, at least 0, above 0 to 1"),
        ({"top_p": 1.1}, "top_p 1.1"),
        ({"top_p": math.nan}, "top_p nan"),
        ({"prompts": "Where is Paris?"}, "prompts is the text 'Where is Paris[?]'; expected a list of texts"),
    ],
)
def test_settings_out_of_range_are_reported(tiny_model, tiny_tokenizer, wrong, message):
    given_ = {"prompts": PROMPTS, "max_new_tokens": 3} | wrong
    with pytest.raises(InputError, match=message):
        sample(tiny_model, tiny_tokenizer, generator=seeded(), **given_)
