"""Figures as pictures with words: what a reader sees without a kernel, and hears without the picture."""

import base64
import struct
import zlib

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

DPI = 100


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches, at 100 pixels an inch. It lives outside pyplot: nothing is left open."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def png_of(canvas: FigureCanvasAgg) -> str:
    """What stands on the canvas now, as PNG in base64.

    Written here because it is drawn at every move of a slider: most of a figure is one flat colour, so that rows as they
    are, lightly compressed, come out in half the time of Pillow's filtered rows, and no larger.
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
    """A finished figure with one sentence that says what it shows; make it the last expression of a cell.

    The sentence is the picture's alternative text, and what stands where pictures cannot.
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
