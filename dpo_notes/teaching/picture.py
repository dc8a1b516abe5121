"""Figures as pictures with a sentence, for readers without a kernel and for screen readers."""

import base64
import struct
import zlib

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

DPI = 100


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches, at 100 pixels an inch. Pyplot does not know it, so none stays open."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def png_of(canvas: FigureCanvasAgg) -> str:
    """The canvas as it is now, as a PNG in base64.

    Written here because every move of a slider needs one. Most of a figure is one flat colour, so unfiltered rows,
    lightly compressed, take half the time of Pillow's filtered rows and are no larger.
    """
    pixels = np.asarray(canvas.buffer_rgba())
    height, width, _ = pixels.shape
    rows = np.zeros((height, 1 + 3 * width), dtype=np.uint8)  # each row begins with the number of its filter: 0, none
    for color in range(3):  # one after the other is faster than all at once
        rows[:, 1 + color :: 3] = pixels[..., color]
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8 bits a channel, 2 for red, green and blue
    parts = _chunk(b"IHDR", head), _chunk(b"IDAT", zlib.compress(rows, level=1)), _chunk(b"IEND", b"")
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"".join(parts)).decode()


class Picture:
    """A finished figure with a sentence that says what it shows; make it the last expression of a cell.

    The sentence is the picture's alternative text, and replaces it where pictures cannot be shown.
    """

    def __init__(self, figure: Figure, words: str):
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        self.png, self.words = png_of(canvas), words

    def _repr_mimebundle_(self, **kwargs):
        return picture_bundle(self.png, self.words)


def picture_bundle(png: str, words: str) -> tuple[dict, dict]:
    """(data, metadata) of a PNG with its alternative text, as notebooks store them."""
    return {"image/png": png, "text/plain": words}, {"image/png": {"alt": words}}


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
