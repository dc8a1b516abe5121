"""Where the prompt ends, when it is only given as the common beginning of chosen and rejected."""

from os.path import commonprefix

from dpo_notes.pairs.messages import Messages

TURN = "\n\nAssistant:"  # the end of a prompt in HH-RLHF, and in the data sets that follow it
OTHER_TURN = "\n\nHuman:"


def text_border(chosen: str, rejected: str) -> tuple[int, str]:
    """The number of characters that belong to the prompt, and a description of where they end.

    The prompt ends right after the last "\\n\\nAssistant:" that the two texts share. If they share none, it ends before
    the last white space that they share (after it, if that is a line break). If they share none of that either, it is
    empty. So no word is split, and a response keeps the space before its first word, as byte-level tokenizers write
    words. Words at the start of both responses do no harm: their log-probabilities cancel in the DPO margin.

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
    """The number of messages that both conversations begin with, which are the prompt, and where they end."""
    return len(commonprefix([chosen, rejected])), "after the last message in common"
