"""Where a prompt ends that is only written as the common beginning of chosen and rejected."""

from os.path import commonprefix

from dpo_notes.pairs.messages import Messages

TURN = "\n\nAssistant:"  # the end of a prompt in HH-RLHF, and in the data sets that follow it
OTHER_TURN = "\n\nHuman:"


def text_border(chosen: str, rejected: str) -> tuple[int, str]:
    """The number of characters that belong to the prompt, and where they end, in words for the reader.

    Right after the last "\\n\\nAssistant:" that the two texts share. Where they share none: before the last white space
    that they share (after it, where that is a line break). Where they share none either: 0. So no word is split, and a
    response keeps the space before its first word, as byte-level tokenizers write words. Words that both responses
    begin with do no harm: their log-probabilities are equal, and cancel in the DPO margin.

    Known value: "Is it? Yes" and "Is it? No" give the prompt "Is it?" and the responses " Yes" and " No".
    """
    shared = commonprefix([chosen, rejected])
    turn = shared.rfind(TURN)
    if turn >= 0:
        return turn + len(TURN), f"after the last {TURN!r}"
    space = next((index for index in range(len(shared) - 1, -1, -1) if shared[index].isspace()), None)
    cut = 0 if space is None else space + (shared[space] == "\n")
    return cut, "at a word border" if cut else "before the first word, so that it is empty,"


def message_border(chosen: Messages, rejected: Messages) -> tuple[int, str]:
    """The number of messages that both conversations begin with, which are the prompt, and where they end, in words."""
    return len(commonprefix([chosen, rejected])), "after the last message in common"
