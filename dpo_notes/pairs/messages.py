"""Chat messages: one form, checked roles, checked order."""

from collections.abc import Mapping
from typing import NamedTuple

from dpo_notes.maths.errors import InputError
from dpo_notes.pairs.wording import kind_of, listed

ROLES = ("system", "user", "assistant")


class Message(NamedTuple):
    """One turn of a chat, immutable and hashable. `role` is system, user or assistant; `content` is its text."""

    role: str
    content: str


Messages = tuple[Message, ...]


def as_text_or_messages(name: str, value: object) -> str | Messages:
    """`value` itself if it is text; a tuple of Message if it is a list of {"role", "content"} mappings.

    Other keys of a mapping are ignored. `name` is the value's name in errors.
    Raises InputError for anything else, for an unknown role, and for text with half a surrogate pair (a JSON file can
    spell one, and no tokenizer takes it).
    """
    if isinstance(value, str):
        _check_unicode(name, value)
        return value
    if isinstance(value, list | tuple):
        return tuple(_message(f"message {number} of {name}", item) for number, item in enumerate(value, start=1))
    raise InputError(f"{name} is {kind_of(value)}; expected text or a list of chat messages")


def check_one_form(**fields: str | Messages) -> None:
    """Raise InputError unless all fields are text, or all are chat messages."""
    forms = ["text" if isinstance(field, str) else "chat messages" for field in fields.values()]
    if len(set(forms)) > 1:
        came = ", ".join(f"{name} is {form}" for name, form in zip(fields, forms, strict=True))
        raise InputError(
            f"{came}; expected all as text or all as chat messages (whole conversations go without a prompt column)"
        )


def check_prompt(prompt: Messages) -> None:
    """Raise InputError unless the roles are: at most one system message, then user and assistant in turn, user last."""
    order = "expected at most one system message, then user and assistant in turn, user last"
    first_turn = 1 if prompt and prompt[0].role == "system" else 0
    for number, message in enumerate(prompt[first_turn:]):
        expected = ("user", "assistant")[number % 2]
        if message.role != expected:
            position = first_turn + number + 1
            raise InputError(f"message {position} of prompt is from {message.role}, not from {expected}; {order}")
    if not prompt or prompt[-1].role != "user":
        came = f"ends with a message from {prompt[-1].role}" if prompt else "has no messages"
        raise InputError(f"prompt {came}; {order}")


def check_response(name: str, response: Messages) -> None:
    """Raise InputError unless the response is one message, from the assistant."""
    if [message.role for message in response] != ["assistant"]:
        raise InputError(
            f"{name} has messages from: {listed(message.role for message in response)}; expected one, from assistant, "
            "that follows the prompt (whole conversations go without a prompt column)"
        )


def _message(name: str, item: object) -> Message:
    if isinstance(item, Message):
        item = item._asdict()
    if not isinstance(item, Mapping):
        raise InputError(f"{name} is {kind_of(item)}; expected an object with role and content")
    for key in ("role", "content"):
        if key not in item:
            raise InputError(f"{name} has no {key}; found: {listed(item)}; expected role and content")
        if not isinstance(item[key], str):
            raise InputError(f"the {key} of {name} is {kind_of(item[key])}; expected text")
    if item["role"] not in ROLES:
        raise InputError(f"{name} has the role {item['role']!r:.80}; expected one of {', '.join(ROLES)}")
    _check_unicode(name, item["content"])
    return Message(item["role"], item["content"])


def _check_unicode(name: str, text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        came = f"half a surrogate pair (U+{ord(text[error.start]):04X}, character {error.start + 1})"
        raise InputError(f"{name} holds {came}; expected whole Unicode characters") from error
