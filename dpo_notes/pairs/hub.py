"""A preference data set of the Hugging Face hub as rows."""

from collections.abc import Iterator

from dpo_notes.maths.errors import InputError
from dpo_notes.pairs.files import FileRow
from dpo_notes.pairs.wording import one_line

HUB_TIMEOUT = 5.0  # seconds to find out whether the hub answers at all; the libraries retry for half a minute


def hub_rows(name: str, split: str) -> Iterator[FileRow]:
    """The rows of one split of a hub data set, in order; their place is "NAME [SPLIT], row N", from 1.

    Read by `datasets`, only from its cache where HF_HUB_OFFLINE=1 is set. Code that comes with a data set is never run.
    Raises InputError, in one line, where `datasets` is missing, the hub does not answer, or no such data can be loaded.
    """
    try:
        import datasets
    except ImportError as error:
        raise InputError(f"{name}: hub names need datasets; install it with: pip install datasets") from error
    silence = None if datasets.config.HF_HUB_OFFLINE else why_hub_is_silent()
    if silence is not None:
        raise InputError(
            f"{name}: no such file or folder, and the Hugging Face hub does not answer ({silence}); expected a "
            "path, or a network connection (with HF_HUB_OFFLINE=1 a data set is taken from the cache)"
        )
    try:
        table = datasets.load_dataset(name, split=split)
    except Exception as error:  # of many kinds: no such name or split, gated, offline and not in the cache, a full disk
        raise InputError(
            f"{name}: no such file or folder, and the split {split!r} of a hub data set of this name cannot be loaded "
            f"({one_line(error)}); expected a path, or a hub name within reach or in the cache"
        ) from error
    for number, row in enumerate(table, start=1):
        yield FileRow(f"{name} [{split}], row {number}", row)


def why_hub_is_silent() -> str | None:
    """Why the hub does not answer, in one line, within HUB_TIMEOUT seconds; None if it answers."""
    import huggingface_hub

    try:
        huggingface_hub.get_session().head(huggingface_hub.constants.ENDPOINT, timeout=HUB_TIMEOUT)
    except Exception as error:  # noqa: BLE001 - its class belongs to whichever HTTP library the hub client uses
        return one_line(error)
    return None
