"""Chat messages to text, by the tokenizer's own template or a plain one."""

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from dpo_notes.language.messages import Messages
from dpo_notes.language.pairs import PreferencePair
from dpo_notes.language.wording import one_line
from dpo_notes.maths.errors import InputError

# "System: …", "User: …" and "Assistant: …", with an empty line between messages. The prompt ends in "Assistant:" and
# the response begins with its space, as byte-level tokenizers write words. Nothing ends a turn but the end of text.
PLAIN_CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if not loop.first %}{{ '\n\n' }}{% endif %}"
    "{{ message['role'] | capitalize }}: {{ message['content'] }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '\n\nAssistant:' }}{% endif %}"
)


def chat_template(tokenizer: PreTrainedTokenizerBase) -> str:
    """The Jinja template that `render` uses: the tokenizer's own where it has one, else PLAIN_CHAT_TEMPLATE.

    The tokenizer is not changed. Raises InputError where it has several templates and none is its default.
    """
    if not tokenizer.chat_template:
        return PLAIN_CHAT_TEMPLATE
    try:
        return tokenizer.get_chat_template()
    except ValueError as error:
        raise InputError(f"the tokenizer has no default chat template ({one_line(error)}); expected one") from error


def render(tokenizer: PreTrainedTokenizerBase, pair: PreferencePair) -> tuple[str, str, str]:
    """(prompt, chosen, rejected) as text. A pair of texts comes back as it is.

    Of chat messages, the prompt is what the template makes of them with its generation prompt (such as "Assistant:"),
    and a response is what the template appends to that. Where it appends the tokenizer's end-of-text token, that token
    and white space after it are left off: whoever tokenizes a response appends end of text, once. A prompt may begin
    with the special tokens of the template, so tokenize it with add_special_tokens=False.

    Raises InputError where the template refuses the messages (some know no system role), or writes the prompt
    differently once the response is there, so that no border between the two can be drawn.
    Known value: with the plain template, user "Hi" and assistant "Hello" give "User: Hi\\n\\nAssistant:" and " Hello".
    """
    if pair.is_text:
        return pair.prompt, pair.chosen, pair.rejected
    template = chat_template(tokenizer)
    prompt = _apply(tokenizer, template, pair.prompt, add_generation_prompt=True)
    return prompt, *(_response(tokenizer, template, prompt, pair, side) for side in (pair.chosen, pair.rejected))


def _response(
    tokenizer: PreTrainedTokenizerBase, template: str, prompt: str, pair: PreferencePair, response: Messages
) -> str:
    whole = _apply(tokenizer, template, pair.prompt + response, add_generation_prompt=False)
    if not whole.startswith(prompt):
        raise InputError(
            f"the chat template writes the prompt in another way once the response follows (alone it ends in "
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
    try:
        return tokenizer.apply_chat_template(
            chat, chat_template=template, tokenize=False, add_generation_prompt=add_generation_prompt
        )
    except TemplateError as error:
        raise InputError(
            f"the chat template refuses the messages ({one_line(error)}); expected roles it knows"
        ) from error
