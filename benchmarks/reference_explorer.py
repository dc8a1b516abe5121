"""A plain explorer with three panels and one slider, which benchmarks/widget_latency.py measures beside every other.

Blitted Matplotlib artists, sent as a PNG from Pillow in one ipywidgets.HTML; uses nothing of dpo_notes.
"""

import base64
import html
import io

import ipywidgets as W
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image


class Reference(W.VBox):
    """The logistic function, its loss and its slope at a margin."""

    def __init__(self):
        self.canvas = FigureCanvasAgg(Figure(figsize=(10, 3), dpi=100))
        self.margin = W.FloatSlider(value=0, min=-4, max=4, step=0.05, readout=False)
        box = W.BoundedFloatText(description="margin", min=-4, max=4, step=0.05, layout={"width": "11em"})
        self.moving = self.build(self.canvas.figure)
        for artist in self.moving:
            artist.set_animated(True)
        self.canvas.draw()
        self.still = self.canvas.copy_from_bbox(self.canvas.figure.bbox)
        self.view, self.status = W.HTML(), W.HTML()
        W.link((self.margin, "value"), (box, "value"))
        self.margin.observe(self.refresh, "value")
        super().__init__([W.HBox([box, self.margin]), self.view, self.status])
        self.refresh()

    def build(self, figure):
        x = np.linspace(-4, 4, 200)
        curves = {"probability": 1 / (1 + np.exp(-x)), "loss": np.log1p(np.exp(-x)), "slope": -1 / (1 + np.exp(x))}
        self.points, self.texts = [], []
        for ax, (name, y) in zip(figure.subplots(1, 3), curves.items(), strict=True):
            ax.plot(x, y)
            ax.set(title=name, xlabel="margin")
            self.points += ax.plot([0], [0], "o")
            self.texts.append(ax.text(0.05, 0.9, "", transform=ax.transAxes))
        return [*self.points, *self.texts]

    def refresh(self, change=None):
        margin = self.margin.value
        heights = 1 / (1 + np.exp(-margin)), np.log1p(np.exp(-margin)), -1 / (1 + np.exp(margin))
        for point, text, height in zip(self.points, self.texts, heights, strict=True):
            point.set_data([margin], [height])
            text.set_text(f"{height:.3f}")
        self.canvas.restore_region(self.still)
        for artist in self.moving:
            artist.axes.draw_artist(artist)
        buffer = io.BytesIO()
        Image.fromarray(np.asarray(self.canvas.buffer_rgba())[..., :3]).save(buffer, "png", compress_level=1)
        png = base64.b64encode(buffer.getvalue()).decode()
        words = html.escape(f"At margin {margin:.2f} the loss is {heights[1]:.3f} nats.", quote=True)
        self.view.value = f'<img style="max-width:100%" alt="{words}" src="data:image/png;base64,{png}">'
        self.status.value = f'<p role="status">{words}</p>'
