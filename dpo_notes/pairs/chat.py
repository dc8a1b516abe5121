"""Chat messages to text, by the tokenizer's own template or a plain one."""

from collections.abc import Callable

from transformers import PreTrainedTokenizerBase

from dpo_notes.maths.errors import InputError
from dpo_notes.pairs.bounded import OverLimit, run_python
from dpo_notes.pairs.load import PreferencePair
from dpo_notes.pairs.messages import Messages
from dpo_notes.pairs.wording import kind_of, one_line

# "System: …", "User: …" and "Assistant: …", with an empty line between messages. The prompt ends in "Assistant:" and
# the response begins with its space, as byte-level tokenizers write words. Only end of text ends a turn.
PLAIN_CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if not loop.first %}{{ '\n\n' }}{% endif %}"
    "{{ message['role'] | capitalize }}: {{ message['content'] }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '\n\nAssistant:' }}{% endif %}"
)
# A template writes the messages out, in less than a millisecond and with a few thousand characters of its own.
SECONDS_A_PAIR = 2.0
BYTES_A_PAIR = 2**30
TEMPLATE_CHARACTERS = 1_000_000  # real ones have a few thousand
OWN_CHARACTERS = 100_000  # that a template may add to the messages


def chat_template(tokenizer: PreTrainedTokenizerBase) -> str:
    """The Jinja template that `render` uses: the tokenizer's own where it has one, else PLAIN_CHAT_TEMPLATE.

    The tokenizer is not changed. Raises InputError where it has several templates and none is its default.
    """
    if not tokenizer.chat_template:
        return PLAIN_CHAT_TEMPLATE
    try:
        template = tokenizer.get_chat_template()
    except Exception as error:  # several without a default; a template that is not text
        raise InputError(f"the tokenizer has no default chat template ({one_line(error)}); expected one") from error
    if not isinstance(template, str) or len(template) > TEMPLATE_CHARACTERS:
        came = f"text of {len(template)} characters" if isinstance(template, str) else kind_of(template)
        raise InputError(f"the chat template is {came}; expected text of at most {TEMPLATE_CHARACTERS} characters")
    return template


def render(tokenizer: PreTrainedTokenizerBase, pair: PreferencePair) -> tuple[str, str, str]:
    """(prompt, chosen, rejected) as text. A pair of texts comes back as it is.

    For chat messages, the prompt is what the template makes of them with its generation prompt (such as "Assistant:"),
    and a response is what the template appends to that. Where it appends the tokenizer's end-of-text token, that token
    and white space after it are removed, because tokenizing a response appends end of text. A prompt may begin with
    the special tokens of the template, so tokenize it with add_special_tokens=False.

    Raises InputError where the template refuses the messages (some allow no system role), fails, takes longer than
    SECONDS_A_PAIR, asks for more than BYTES_A_PAIR or writes more than OWN_CHARACTERS of its own; and where it writes
    the prompt differently when a response follows, so that the two cannot be told apart.
    Known value: with the plain template, user "Hi" and assistant "Hello" give "User: Hi\\n\\nAssistant:" and " Hello".
    """
    if pair.is_text:
        return pair.prompt, pair.chosen, pair.rejected
    template = chat_template(tokenizer)

    def texts() -> tuple[str, str, str]:
        prompt = _apply(tokenizer, template, pair.prompt, add_generation_prompt=True)
        chosen, rejected = (_response(tokenizer, template, prompt, pair, side) for side in (pair.chosen, pair.rejected))
        if chosen == rejected and pair.chosen != pair.rejected:
            raise InputError(
                "the chat template gives chosen and rejected the same text, which teaches nothing; expected a template "
                "that writes the messages out"
            )
        return prompt, chosen, rejected

    return _guarded(texts)


def _guarded(render_pair: Callable[[], tuple[str, str, str]]) -> tuple[str, str, str]:
    """The one place where a template runs. Every error of a template becomes an InputError."""
    expected = "expected a template that only writes the messages out"
    try:
        return run_python(render_pair, seconds=SECONDS_A_PAIR, extra_bytes=BYTES_A_PAIR)
    except InputError:
        raise
    except OverLimit:
        raise InputError(f"the chat template does not finish within {SECONDS_A_PAIR:g} seconds; {expected}") from None
    except MemoryError:
        raise InputError(f"the chat template asks for more than {BYTES_A_PAIR / 2**30:g} GiB; {expected}") from None
    except Exception as error:  # of any kind: a template may divide by zero
        raise InputError(
            f"the chat template refuses the messages ({one_line(error)}); expected roles it knows, and {expected[9:]}"
        ) from error


def _response(
    tokenizer: PreTrainedTokenizerBase, template: str, prompt: str, pair: PreferencePair, response: Messages
) -> str:
    whole = _apply(tokenizer, template, pair.prompt + response, add_generation_prompt=False)
    if not whole.startswith(prompt):
        raise InputError(
            f"the chat template writes the prompt differently when a response follows (alone it ends in "
            f"{prompt[-40:]!r}); expected a template that only appends the response"
        )
    text = whole.removeprefix(prompt)
    end = tokenizer.eos_token
    if end and text.rstrip().endswith(end):
        return text.rstrip().removesuffix(end)
    return text


def _apply(
    tokenizer: PreTrainedTokenizerBase, template: str, messages: Messages, *, add_generation_prompt: bool
) -> str:
    chat = [message._asdict() for message in messages]
    text = tokenizer.apply_chat_template(
        chat, chat_template=template, tokenize=False, add_generation_prompt=add_generation_prompt
    )
    most = OWN_CHARACTERS + 10 * sum(len(message.content) for message in messages)  # it may escape a few characters
    if len(text) > most:
        came = f"turns the messages into {len(text)} characters; expected at most {most}"
        raise InputError(f"the chat template {came}, from a template that only writes the messages out")
    return text
