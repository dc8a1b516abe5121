"""What a reader does with an explorer: set its controls, press its buttons, wait, and look at the picture."""

import asyncio
import base64
import io
from collections.abc import Callable

import numpy as np
from PIL import Image

from dpo_notes.teaching.live import Explorer


def set_to(explorer: Explorer, **values: object) -> Explorer:
    """The explorer, with these controls set one after another."""
    for name, value in values.items():
        explorer.controls[name].value = value
    return explorer


def press(explorer: Explorer, words: str) -> None:
    """Click the button with these words on it."""
    parts = [part for row in explorer.children for part in getattr(row, "children", ())]
    (button,) = (part for part in parts if part.description == words)
    button.click()


async def until(condition: Callable[[], bool]) -> None:
    """Wait in the event loop for a condition, 20 seconds at most."""
    for _ in range(20_000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("the condition never came true")


def pixels(png: str) -> np.ndarray:
    """The pixels of a PNG in base64, [height, width, colours]."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(png)))).astype(int)
