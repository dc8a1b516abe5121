"""Chat messages: their order is checked, and a template's text is parted into prompt and response without loss."""

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from dpo_notes.maths.errors import InputError
from dpo_notes.pairs.chat import PLAIN_CHAT_TEMPLATE, chat_template, render
from dpo_notes.pairs.load import PreferencePair

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE like GPT-2's, trained here on two lines of text, with an end of text and no chat template."""
    model = Tokenizer(models.BPE())
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<|endoftext|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    model.train_from_iterator(["Where is Shanghai? In China.", "User: Assistant: System:"], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=model, eos_token="<|endoftext|>")


def chat(*turns: str) -> list[dict[str, str]]:
    """Messages from "u: text" and the like."""
    roles = {"s": "system", "u": "user", "a": "assistant"}
    return [{"role": roles[turn[0]], "content": turn[3:]} for turn in turns]


PAIR = PreferencePair(chat("u: Where is Shanghai?"), chat("a: In China."), chat("a: No idea."))
TALK = PreferencePair(chat("s: Be brief.", "u: Hi", "a: Hello", "u: Bye"), chat("a: Bye!"), chat("a: Stay"))


def test_a_pair_of_texts_is_rendered_as_it_is(tokenizer):
    tokenizer.chat_template = CHATML
    texts = ("", " In China.<|endoftext|>", "\n\n")
    assert render(tokenizer, PreferencePair(*texts)) == texts


def test_the_plain_template_by_hand(tokenizer):
    """Messages parted by an empty line; the prompt ends in "Assistant:"; a response begins with its space."""
    assert render(tokenizer, PAIR) == ("User: Where is Shanghai?\n\nAssistant:", " In China.", " No idea.")
    prompt = "System: Be brief.\n\nUser: Hi\n\nAssistant: Hello\n\nUser: Bye\n\nAssistant:"
    assert render(tokenizer, TALK) == (prompt, " Bye!", " Stay")


def test_with_the_plain_template_no_token_straddles_the_border(tokenizer):
    prompt, *responses = render(tokenizer, TALK)
    for response in responses:
        assert tokenizer.encode(prompt) + tokenizer.encode(response) == tokenizer.encode(prompt + response)


def test_rendering_leaves_the_tokenizer_as_it_was(tokenizer):
    assert chat_template(tokenizer) == PLAIN_CHAT_TEMPLATE
    render(tokenizer, PAIR)
    assert tokenizer.chat_template is None


def test_a_template_of_the_tokenizer_goes_first(tokenizer):
    tokenizer.chat_template = CHATML
    assert chat_template(tokenizer) == CHATML
    prompt, chosen, rejected = render(tokenizer, PAIR)
    assert prompt == "<|im_start|>user\nWhere is Shanghai?<|im_end|>\n<|im_start|>assistant\n"
    assert (chosen, rejected) == ("In China.<|im_end|>\n", "No idea.<|im_end|>\n")


def test_an_end_of_text_that_the_template_appends_is_left_off_once(tokenizer):
    """Here the end of a turn is the end of text: tokenizing appends it, and the line break is never generated."""
    tokenizer.chat_template, tokenizer.eos_token = CHATML, "<|im_end|>"
    assert render(tokenizer, PAIR)[1:] == ("In China.", "No idea.")
    spaced = PreferencePair(chat("u: q"), chat("a: yes \n"), chat("a: no<|im_end|>"))
    assert render(tokenizer, spaced)[1:] == ("yes \n", "no<|im_end|>")


@pytest.mark.parametrize("template", [CHATML, None], ids=["ChatML", "plain"])
def test_prompt_and_response_together_are_the_whole_chat(tokenizer, template):
    tokenizer.chat_template = template
    for pair in (PAIR, TALK):
        prompt, *responses = render(tokenizer, pair)
        for response, messages in zip(responses, (pair.chosen, pair.rejected), strict=True):
            whole = [message._asdict() for message in pair.prompt + messages]
            expected = tokenizer.apply_chat_template(whole, chat_template=chat_template(tokenizer), tokenize=False)
            assert prompt + response == expected


def test_a_template_that_rewrites_the_prompt_is_reported(tokenizer):
    """This one writes the number of messages first: 1 for the prompt, 2 with the response."""
    tokenizer.chat_template = "{{ messages | length }}" + CHATML
    with pytest.raises(InputError, match="writes the prompt differently when a response follows"):
        render(tokenizer, PAIR)


def test_a_template_that_refuses_the_messages_is_reported_in_one_line(tokenizer):
    tokenizer.chat_template = "{{ raise_exception('System role\nnot supported') }}"
    with pytest.raises(InputError, match=r"the chat template refuses the messages \(System role not supported\)"):
        render(tokenizer, TALK)


def test_several_templates_without_default_are_reported(tokenizer):
    tokenizer.chat_template = {"tool_use": CHATML, "rag": CHATML}
    with pytest.raises(InputError, match="the tokenizer has no default chat template"):
        render(tokenizer, PAIR)
    tokenizer.chat_template = {"tool_use": "", "default": CHATML}
    assert chat_template(tokenizer) == CHATML


ANSWER = chat("a: a")
ORDER = "expected at most one system message, then user and assistant in turn, user last"
ONE = "expected one, from assistant, that follows the prompt (whole conversations go without a prompt column)"
KEYS = "expected role and content"
BAD_CHATS = {
    "nothing": ([], ANSWER, f"prompt has no messages; {ORDER}"),
    "system alone": (chat("s: s"), ANSWER, f"prompt ends with a message from system; {ORDER}"),
    "system late": (chat("u: q", "s: s"), ANSWER, f"message 2 of prompt is from system, not from assistant; {ORDER}"),
    "system twice": (chat("s: s", "s: s"), ANSWER, f"message 2 of prompt is from system, not from user; {ORDER}"),
    "assistant first": (chat("a: a", "u: q"), ANSWER, f"message 1 of prompt is from assistant, not from user; {ORDER}"),
    "user twice": (chat("u: q", "u: q"), ANSWER, f"message 2 of prompt is from user, not from assistant; {ORDER}"),
    "assistant last": (chat("u: q", "a: a"), ANSWER, f"prompt ends with a message from assistant; {ORDER}"),
    "no response": (chat("u: q"), [], f"chosen has messages from: nothing; {ONE}"),
    "user responds": (chat("u: q"), chat("u: a"), f"chosen has messages from: 'user'; {ONE}"),
    "two responses": (chat("u: q"), chat("a: a", "u: q"), f"chosen has messages from: 'assistant', 'user'; {ONE}"),
    "unknown role": (
        [{"role": "human", "content": "q"}],
        ANSWER,
        "message 1 of prompt has the role 'human'; expected one of system, user, assistant",
    ),
    "no role": (
        [{"from": "a", "value": "q"}],
        ANSWER,
        f"message 1 of prompt has no role; found: 'from', 'value'; {KEYS}",
    ),
    "no content": (chat("u: q"), [{"role": "assistant"}], f"message 1 of chosen has no content; found: 'role'; {KEYS}"),
    "null": ([{"role": "user", "content": None}], ANSWER, "the content of message 1 of prompt is null; expected text"),
    "parts": ([{"role": "user", "content": []}], ANSWER, "the content of message 1 of prompt is a list; expected text"),
    "half a pair": (
        chat("u: \udc00"),
        ANSWER,
        "message 1 of prompt holds half a surrogate pair (U+DC00, character 1); expected whole Unicode characters",
    ),
}


@pytest.mark.parametrize(("prompt", "chosen", "message"), BAD_CHATS.values(), ids=BAD_CHATS)
def test_a_malformed_chat_is_reported(prompt, chosen, message):
    with pytest.raises(InputError) as error:
        PreferencePair(prompt, chosen, chat("a: b"))
    assert str(error.value) == message
