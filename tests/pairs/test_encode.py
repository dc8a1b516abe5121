"""Comparisons as tokens: a clean border, end of text, and what is cut when a pair is too long."""

import copy
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import processors

from dpo_notes.maths.errors import InputError
from dpo_notes.pairs import encode as encode_module
from dpo_notes.pairs.encode import EncodedPair, encode_pairs, encode_prompts, encode_responses
from dpo_notes.pairs.load import PreferencePair
from dpo_notes.training.pretrain import train_tokenizer

END = "<|endoftext|>"


@pytest.fixture(scope="module")
def letters():
    """A tokenizer for which every letter is a token, so that lengths can be counted by eye."""
    return train_tokenizer(["a"], vocabulary_size=257)


@pytest.fixture
def silence():
    """Within the test, a warning is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def spelled(tokenizer, pair: EncodedPair) -> tuple[str, str, str]:
    """The pair's tokens as text, with "." for the end of text."""
    return tuple(tokenizer.decode(ids).replace(END, ".") for ids in (pair.prompt, pair.chosen, pair.rejected))


def test_prompt_and_responses_are_tokenized_apart_and_end_of_text_is_appended(tiny_tokenizer, silence):
    [pair] = encode_pairs(tiny_tokenizer, [PreferencePair("Where is Paris?", " In France.", "")], max_length=50)
    prompt, response = tiny_tokenizer(["Where is Paris?", " In France."])["input_ids"]
    assert pair == EncodedPair(tuple(prompt), (*response, tiny_tokenizer.eos_token_id), (tiny_tokenizer.eos_token_id,))
    assert len(pair) == len(prompt) + len(response) + 1


def test_spaces_that_end_a_prompt_go_to_its_responses(tiny_tokenizer, silence):
    moved = [
        PreferencePair("Where is Paris? ", "In France.", "Paris."),
        PreferencePair("Where is Paris?  \n ", "No.", " No."),
    ]
    plain = [
        PreferencePair("Where is Paris?", " In France.", " Paris."),
        PreferencePair("Where is Paris?  \n", " No.", "  No."),
    ]
    assert encode_pairs(tiny_tokenizer, moved, max_length=50) == encode_pairs(tiny_tokenizer, plain, max_length=50)


def test_a_token_that_would_straddle_the_border_is_cut_there_and_counted_in_one_warning(tiny_tokenizer):
    """ "The" is one token in "The film", so "Th" and "e film" part it; " a film" does not. Three of six responses."""
    pairs = [
        PreferencePair("Th", "e film", "."),
        PreferencePair("Th", "e film", "e end"),
        PreferencePair("Th", " a film", "?"),
    ]
    with pytest.warns(UserWarning) as warned:
        encoded = encode_pairs(tiny_tokenizer, pairs, max_length=50)
    assert [str(one.message).split(":")[0] for one in warned] == ["3 of 6 responses"]
    assert spelled(tiny_tokenizer, encoded[0]) == ("Th", "e film.", "..")


@pytest.mark.parametrize("prompt", ["", " ", "   "])
def test_an_empty_prompt_becomes_the_beginning_of_text_and_its_spaces_are_kept(tiny_tokenizer, silence, prompt):
    [pair] = encode_pairs(tiny_tokenizer, [PreferencePair(prompt, "Paris", "Rome")], max_length=50)
    assert pair.prompt == (tiny_tokenizer.bos_token_id,)
    assert tiny_tokenizer.decode(pair.chosen) == prompt + "Paris" + END


def test_beginning_of_text_is_end_of_text_where_the_tokenizer_has_none_of_its_own(tiny_tokenizer):
    other = copy.deepcopy(tiny_tokenizer)
    other.add_special_tokens({"bos_token": "<s>"})
    assert encode_pairs(other, [PreferencePair("", "a", "b")], max_length=50)[0].prompt == (
        other.convert_tokens_to_ids("<s>"),
    )
    other.bos_token = None
    assert encode_pairs(other, [PreferencePair("", "a", "b")], max_length=50)[0].prompt == (other.eos_token_id,)
    assert encode_prompts(other, [""], max_length=50) == [(other.eos_token_id,)]


@pytest.fixture
def beginner(tiny_tokenizer):
    """A tokenizer that begins every text with <s>, as Llama's does."""
    other = copy.deepcopy(tiny_tokenizer)
    other.add_special_tokens({"bos_token": "<s>"})
    begin = ("<s>", other.bos_token_id)
    other.backend_tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[begin])
    return other


def test_a_prompt_begins_as_its_tokenizer_begins_a_text_once(beginner, silence):
    """Not so the responses, which follow it; nor a second time after a chat template that writes it itself."""
    begin = beginner.bos_token_id
    [pair] = encode_pairs(beginner, [PreferencePair("Where is Paris?", " In France.", " In Spain.")], max_length=50)
    assert list(pair.prompt) == beginner("Where is Paris?")["input_ids"] == [begin, *pair.prompt[1:]]
    assert begin not in pair.chosen + pair.rejected
    assert encode_prompts(beginner, ["Where is Paris?", ""], max_length=50) == [pair.prompt, (begin,)]
    beginner.chat_template = "<s>{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    turns = ([{"role": role, "content": role}] for role in ("user", "assistant", "assistant"))
    [chat] = encode_pairs(beginner, [PreferencePair(*turns)], max_length=50)
    assert chat.prompt[0] == begin and begin not in chat.prompt[1:]


@pytest.mark.parametrize(
    ("max_length", "pair", "kept", "cut"),
    [
        (8, ("abc", "wxyz", "w"), ("abc", "wxyz.", "w."), None),  # 3 + 5 = 8: fits
        (8, ("abcdef", "yz", "y"), ("bcdef", "yz.", "y."), (1, 0)),  # 6 + 3 = 9: the prompt loses 1
        (8, ("abcdef", "y", "yz"), ("bcdef", "y.", "yz."), (1, 0)),  # the longer response counts, on either side
        (8, ("abcd", "wxyz", "w"), ("abcd", "wxyz", "w."), (0, 1)),  # 4 + 5: the prompt is down to half already
        (8, ("abcdef", "vwxyz", "v"), ("cdef", "vwxy", "v."), (1, 1)),  # 6 + 6: prompt down to 8 / 2 = 4, response to 4
        (8, ("abcdef", "vwx", "vwxyz"), ("cdef", "vwx.", "vwxy"), (1, 1)),  # the shorter response keeps its end
        (8, ("abcd", "vwxyz", "uvwxyz"), ("abcd", "vwxy", "uvwx"), (0, 2)),  # the prompt has 4 already
        (8, ("ab", "uvwxyz", "u"), ("ab", "uvwxyz", "u."), (0, 1)),  # 2 + 7: a short prompt stays whole
        (8, ("", "tuvwxyz", "u"), (".", "tuvwxyz", "u."), (0, 1)),  # and so does the beginning of text: 1 + 8
        (7, ("abcd", "wxyz", "w"), ("bcd", "wxyz", "w."), (1, 1)),  # an odd 7: the prompt keeps 3, the response 4
        (2, ("ab", "yz", ""), ("b", "y", "."), (1, 1)),
    ],
)
def test_what_is_too_long_is_cut_by_the_rule(letters, max_length, pair, kept, cut):
    """Each letter is a token, and so is end of text, here "."."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        encoded = encode_pairs(letters, [PreferencePair(*pair)], max_length=max_length)
    assert spelled(letters, encoded[0]) == kept
    lost = "longer than {} tokens: {} of 1 prompts lost their beginning and {} of 2 responses their end."
    assert [str(one.message) for one in warned] == ([] if cut is None else [lost.format(max_length, *cut)])


def test_one_warning_counts_all_cuts(letters):
    pairs = [
        PreferencePair("abcdef", "vwxyz", "v"),
        PreferencePair("a", "b", "c"),
        PreferencePair("abcd", "vwxyz", "uvwxyz"),
    ]
    with pytest.warns(
        UserWarning, match="8 tokens: 1 of 3 prompts lost their beginning and 3 of 6 responses"
    ) as warned:
        encode_pairs(letters, pairs, max_length=8)
    assert len(warned) == 1


LETTERS = st.text("abcdefgh", max_size=20)


@given(st.tuples(LETTERS, LETTERS, LETTERS), st.integers(2, 24))
@pytest.mark.filterwarnings("ignore:longer than")
def test_a_cut_pair_obeys_the_rule_at_any_length(letters, fields, max_length):
    """The prompt loses its beginning; the responses lose their end, only if the prompt is at half; nothing in vain."""
    [whole] = encode_pairs(letters, [PreferencePair(*fields)], max_length=99)
    [cut] = encode_pairs(letters, [PreferencePair(*fields)], max_length=max_length)
    assert cut.prompt == whole.prompt[len(whole.prompt) - len(cut.prompt) :] and cut.prompt
    assert cut.chosen == whole.chosen[: len(cut.chosen)] and cut.rejected == whole.rejected[: len(cut.rejected)]
    assert len(cut) == min(len(whole), max_length)
    if (cut.chosen, cut.rejected) != (whole.chosen, whole.rejected):
        assert len(cut.prompt) == min(len(whole.prompt), max_length // 2)


def test_megabytes_are_cut_before_they_are_tokenized_and_nothing_else_changes(tiny_tokenizer, monkeypatch):
    """Were each text of ten thousand letters tokenized whole, the tokens and the counts would be the same."""
    long, seen = "Where is Paris? " * 2000 + "No.", []
    pairs = [
        PreferencePair(long, " In France.", " No."),
        PreferencePair("Where?", f" {long}", " No."),
        PreferencePair(long, f" {long}", long),
    ]

    def encoded() -> tuple[list[EncodedPair], list[tuple[int, ...]], list[str]]:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            tokens = encode_pairs(tiny_tokenizer, pairs, max_length=64)
            prompts = encode_prompts(tiny_tokenizer, [long, "Where?"], max_length=64)
        return tokens, prompts, [str(one.message) for one in warned]

    tokenize = encode_module.token_ids

    def look(tokenizer, texts, **options):
        seen.extend(map(len, texts))
        return tokenize(tokenizer, texts, **options)

    monkeypatch.setattr(encode_module, "token_ids", look)
    shortened = encoded()
    assert max(seen) < 4000
    monkeypatch.setattr(encode_module, "MANY_CHARACTERS", len(long) + 2)
    assert encoded() == shortened
    assert max(seen) > 2 * len(long)


@given(st.text(), st.text(), st.text())
@pytest.mark.filterwarnings("ignore:.*would straddle")
def test_any_unicode_text_comes_back_from_its_tokens(tiny_tokenizer, prompt, chosen, rejected):
    [pair] = encode_pairs(tiny_tokenizer, [PreferencePair(prompt, chosen, rejected)], max_length=10_000)
    start = tiny_tokenizer.decode(pair.prompt).removeprefix("" if prompt.strip(" ") else END)
    texts = [start + tiny_tokenizer.decode(ids) for ids in (pair.chosen, pair.rejected)]
    assert texts == [prompt + chosen + END, prompt + rejected + END]


@pytest.mark.parametrize("name", ["prompt", "chosen", "rejected"])
def test_end_of_text_within_a_text_or_message_is_refused_with_the_pairs_number(tiny_tokenizer, name):
    fields = {"prompt": "a", "chosen": "b", "rejected": "c"}
    bad = fields | {name: f"x{END}y"}
    roles = {"prompt": "user", "chosen": "assistant", "rejected": "assistant"}
    chat = {column: [{"role": roles[column], "content": content}] for column, content in bad.items()}
    for pair in (PreferencePair(**bad), PreferencePair(**chat)):
        with pytest.raises(InputError, match=rf"pair 2: {name} holds <\|endoftext\|>; expected text without it"):
            encode_pairs(tiny_tokenizer, [PreferencePair(**fields), pair], max_length=50)


def test_a_chat_template_may_end_each_turn_with_end_of_text(tiny_tokenizer):
    """It ends the response once, not twice, and stays in the prompt, which the model has seen so."""
    tokenizer = copy.deepcopy(tiny_tokenizer)
    tokenizer.chat_template = "{% for m in messages %}{{ m.role[0] + ':' + m.content + eos_token }}{% endfor %}"
    tokenizer.chat_template += "{% if add_generation_prompt %}{{ 'a:' }}{% endif %}"
    pair = PreferencePair(*([{"role": role, "content": role}] for role in ("user", "assistant", "assistant")))
    [encoded] = encode_pairs(tokenizer, [pair], max_length=50)
    assert tokenizer.decode(encoded.prompt) == f"u:user{END}a:"
    assert tokenizer.decode(encoded.chosen) == f"assistant{END}"


def test_two_tokens_are_the_least_room(letters):
    with pytest.raises(InputError, match="max_length is 1; expected at least 2 tokens"):
        encode_pairs(letters, [PreferencePair("a", "b", "c")], max_length=1)


def test_no_pairs_and_no_prompts_are_no_tokens(letters, silence):
    assert encode_pairs(letters, [], max_length=8) == []
    assert encode_prompts(letters, [], max_length=8) == []


def test_prompts_for_sampling_are_encoded_as_those_of_pairs(tiny_tokenizer, tiny_pairs, silence):
    prompts = [*(pair.prompt for pair in tiny_pairs), "", "  ", "Where is Rome? "]
    pairs = encode_pairs(tiny_tokenizer, [PreferencePair(prompt, "a", "b") for prompt in prompts], max_length=90)
    assert encode_prompts(tiny_tokenizer, prompts, max_length=90) == [pair.prompt for pair in pairs]


def test_a_long_prompt_for_sampling_loses_its_beginning_and_is_counted(letters):
    with pytest.warns(UserWarning, match="longer than 4 tokens: 1 of 2 prompts lost their beginning"):
        encoded = encode_prompts(letters, ["abcd", "abcdef"], max_length=4)
    assert [letters.decode(ids) for ids in encoded] == ["abcd", "cdef"]


def test_single_responses_are_encoded_as_those_of_pairs(tiny_tokenizer, tiny_pairs, silence):
    pairs = [*tiny_pairs, PreferencePair("", "Paris", "b"), PreferencePair("Where is Rome?  ", "In Italy.", "b")]
    encoded = encode_responses(tiny_tokenizer, [p.prompt for p in pairs], [p.chosen for p in pairs], max_length=99)
    assert encoded == [(pair.prompt, pair.chosen) for pair in encode_pairs(tiny_tokenizer, pairs, max_length=99)]
    assert encode_responses(tiny_tokenizer, [], [], max_length=99) == []


def test_a_single_response_is_cut_by_the_rule_without_regard_to_others(letters):
    """8 tokens: 6 + 3 cost the prompt 1; 6 + 7 cost the prompt 2 and the response its last 3, with end of text."""
    with pytest.warns(UserWarning, match="8 tokens: 2 of 2 prompts lost their beginning and 1 of 2 responses"):
        encoded = encode_responses(letters, ["abcdef", "abcdef"], ["yz", "uvwxyz"], max_length=8)
    spelt = [(letters.decode(prompt), letters.decode(response).replace(END, ".")) for prompt, response in encoded]
    assert spelt == [("bcdef", "yz."), ("cdef", "uvwx")]


def test_end_of_text_within_a_single_response_or_another_number_of_them_is_refused(letters):
    with pytest.raises(InputError, match=r"response 2 holds <\|endoftext\|>; expected text without it"):
        encode_responses(letters, ["a", "a"], ["b", f"b{END}"], max_length=8)
    with pytest.raises(InputError, match="1 prompts and 2 responses; expected as many of each"):
        encode_responses(letters, ["a"], ["b", "c"], max_length=8)
