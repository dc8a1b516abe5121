"""The cat's kitchen as a picture: drawings made of patches, values as numbers and colours, moves as arrowheads."""

from collections.abc import Iterable
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PatchCollection, PolyCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import Circle, Ellipse, Patch, PathPatch, Polygon, Rectangle
from matplotlib.path import Path
from matplotlib.textpath import TextPath
from matplotlib.transforms import Affine2D
from torch import Tensor

from dpo_notes.plots.runs import TRUTH
from dpo_notes.worlds.kitchen.gridworld import BATHTUB, BROOM, CAT, MEAT, MOVES, GridWorld

Moves = Float[Tensor, "states actions"] | Bool[Tensor, "states actions"]  # probabilities, or which moves are best
WARMTH = LinearSegmentedColormap.from_list("warmth", ["#FFFFFF", "#FBE3B5", "#E69F00"])  # readable under black numbers
INK = "#333333"
NOTHING = Path(np.empty((0, 2)))
LEGEND = {CAT: "the cat", BROOM: "broom\n−1", BATHTUB: "bathtub\n−10, the end", MEAT: "meat\n+100, the end"}
DIGIT = 0.13  # height of a digit in cells
SMALLEST = 0.03  # a move with a smaller probability gets no arrowhead


class Kitchen:
    """A grid world drawn on `ax`. `show` updates its artists; `artists` holds them in drawing order.

    ax: gets an equal aspect, fixed limits and no axes. color: of arrowheads and path. high: the value of full warmth.
    legend: whether a row below the grid says what the drawings are and what they earn.
    """

    def __init__(self, ax: Axes, world: GridWorld, *, color: str = TRUTH, high: float = 100.0, legend: bool = True):
        self.world = world
        height, width = len(world.rows), len(world.rows[0])
        self.centres = np.array([centre(world, state) for state in range(height * width)])
        ax.set(xlim=(-0.04, width + 0.04), ylim=(-0.75 if legend else -0.04, height + 0.04), aspect="equal")
        ax.axis("off")
        grid = [[(0, y), (width, y)] for y in range(height + 1)] + [[(x, 0), (x, height)] for x in range(width + 1)]
        edges = [np.arange(width + 1), np.arange(height + 1)]
        self.heat = ax.pcolormesh(*edges, np.zeros((height, width)), cmap=WARMTH, vmin=0, vmax=high)
        (self.path,) = ax.plot([], [], color=color, alpha=0.25, linewidth=7, solid_capstyle="round")
        self.arrows = ax.add_collection(PolyCollection([], facecolor=color, edgecolor="none"))
        things = [patch for state in range(height * width) for patch in self._thing(state)]
        self.things = ax.add_collection(PatchCollection(things, match_original=True))
        self.lines = ax.add_collection(LineCollection(grid, color="#999999", linewidth=0.8))
        self.numbers = ax.add_patch(PathPatch(NOTHING, facecolor="black", edgecolor="none"))
        self.cat_place = Affine2D()
        self.cat = ax.add_collection(PatchCollection(cat_patches(), match_original=True))
        self.cat.set_transform(self.cat_place + ax.transData)
        self.artists = [self.heat, self.path, self.arrows, self.things, self.lines, self.numbers, self.cat]
        for order, artist in enumerate(self.artists):
            artist.set_zorder(1 + order)
        if legend:
            draw_legend(ax, width)
        self.show()

    def show(
        self,
        values: Float[Tensor, " states"] | None = None,
        *,
        moves: Moves | None = None,
        path: Iterable[int] = (),
        cat: int | None = None,
    ) -> None:
        """Update the artists; anything left out is hidden, except the cat, which is then at its start.

        values: of each state (reward). moves: for each state and action the probability, from 0 to 1, that an
        arrowhead shows, or True for the best moves. path: states joined by a band. cat: the state of the cat.
        """
        ends = self.world.terminal.tolist()
        warmth = np.zeros(len(ends)) if values is None else values.numpy()
        self.heat.set_array(warmth.reshape(len(self.world.rows), -1)[::-1])  # its rows go up, the map's down
        written = [] if values is None else zip(self.centres, ends, values.tolist(), strict=True)
        texts = [number_path(short(value), *place - (0, 0.2)) for place, end, value in written if not end]
        self.numbers.set_path(Path.make_compound_path(*texts) if texts else NOTHING)
        self.arrows.set_verts([] if moves is None else self._arrowheads(moves.double().numpy()))
        places = self.centres[list(path)]
        self.path.set_data(places[:, 0], places[:, 1])
        self.cat_place.clear().translate(*self.centres[self.world.start if cat is None else cat] + (0, 0.12))
        self.cat.stale = True

    def _arrowheads(self, moves: np.ndarray) -> np.ndarray:
        """Triangles that point out of their cell, [arrows 3 2]; their size is the square root of the probability."""
        directions = np.array([(right, -down) for down, right in MOVES.values()], dtype=float)
        states, actions = np.nonzero((moves > SMALLEST) & ~self.world.terminal.numpy()[:, None])
        out, size = directions[actions], np.sqrt(moves[states, actions])[:, None]
        tip = self.centres[states] + 0.47 * out
        back, side = tip - 0.13 * size * out, 0.1 * size * out[:, ::-1]
        return np.stack([tip, back + side, back - side], axis=1)

    def _thing(self, state: int) -> list[Patch]:
        letter = "".join(self.world.rows)[state]
        drawing = DRAWINGS.get(letter)
        return [] if drawing is None else [moved(patch, *self.centres[state] + (0, 0.12)) for patch in drawing()]


def path_of(world: GridWorld, moves: Moves) -> list[int]:
    """The states on the cat's way from its start by its likeliest moves (the first of equals), to an end or a repeat.

    moves: as for `Kitchen.show`. Known value: [0, 1] in "CM" where right is the largest.
    """
    likeliest = moves.double().argmax(dim=1)
    state, path = world.start, [world.start]
    while not world.terminal[state]:
        state = world.next_state[state, likeliest[state]].item()
        if state in path:
            break
        path.append(state)
    return path


def centre(world: GridWorld, state: int) -> tuple[float, float]:
    """The middle of a state's cell in the picture: x to the right, y up."""
    row, column = divmod(state, len(world.rows[0]))
    return column + 0.5, len(world.rows) - row - 0.5


def short(value: float) -> str:
    """A value in few characters: 100, 64.6, 0.81, 0.002, −1.00, and 0 if its size is below 0.0005."""
    size = abs(value)
    digits = 0 if size < 0.0005 or size >= 99.95 else 1 if size >= 9.995 else 2 if size >= 0.0995 else 3
    return f"{value if size >= 0.0005 else 0:.{digits}f}".replace("-", "−")


def number_path(text: str, x: float, y: float) -> Path:
    """A number as one shape, 0.13 high, with its middle at (x, y); much faster to draw than a text."""
    glyphs, width = [], 0.0
    for character in text:
        glyph, advance = _glyph(character)
        glyphs.append(Affine2D().translate(width, 0).transform_path(glyph))
        width += advance
    return Affine2D().translate(x - width / 2, y - DIGIT / 2).transform_path(Path.make_compound_path(*glyphs))


@lru_cache
def _glyph(character: str) -> tuple[Path, float]:
    """The shape of one character and its advance width, with digits DIGIT high and all equally wide."""
    scale = DIGIT / TextPath((0, 0), "0", size=10).get_extents().height
    pair, one = (TextPath((0, 0), text, size=10).get_extents() for text in (character + "0", "0"))
    shape = Affine2D().scale(scale).transform_path(TextPath((0, 0), character, size=10))
    return shape, scale * (pair.x1 - one.x1)


def draw_legend(ax: Axes, width: int) -> Axes:
    """A row below the grid with each drawing, its name and the reward of entering its cell."""
    drawings = {CAT: cat_patches, **DRAWINGS}
    patches = []
    for place, (letter, drawing) in zip((0.04, 0.25, 0.45, 0.74), drawings.items(), strict=True):
        x = width * place
        patches += [moved(patch, x, -0.4, scale=0.62) for patch in drawing()]
        ax.text(x + 0.26, -0.4, LEGEND[letter], va="center", fontsize=8, linespacing=1.3)
    ax.add_collection(PatchCollection(patches, match_original=True))
    return ax


def moved(patch: Patch, x: float, y: float, *, scale: float = 1.0) -> PathPatch:
    """A copy of a patch drawn around (0, 0), at (x, y)."""
    path = patch.get_path()
    path = path if isinstance(patch, PathPatch) else patch.get_transform().transform_path(path)
    shape = PathPatch(Affine2D().scale(scale).translate(x, y).transform_path(path))
    shape.update_from(patch)
    shape.set_transform(Affine2D())
    return shape


def cat_patches() -> list[Patch]:
    """A cat's face, 0.5 wide, around (0, 0)."""
    fur = {"facecolor": "#8C8C8C", "edgecolor": INK, "linewidth": 1}
    ears = [Polygon([(s * 0.2, 0.02), (s * 0.2, 0.27), (s * 0.04, 0.16)], **fur) for s in (-1, 1)]
    eyes = [Ellipse((s * 0.085, 0.03), 0.06, 0.08, facecolor="white", edgecolor=INK, linewidth=0.8) for s in (-1, 1)]
    pupils = [Ellipse((s * 0.085, 0.03), 0.022, 0.06, facecolor="black", edgecolor="none") for s in (-1, 1)]
    nose = Polygon([(-0.03, -0.045), (0.03, -0.045), (0, -0.085)], facecolor="black", edgecolor="none")
    whiskers = [_stroke((s * 0.07, y), (s * 0.27, y + d)) for s in (-1, 1) for y, d in ((-0.06, 0.03), (-0.09, -0.02))]
    return [*ears, Ellipse((0, 0), 0.42, 0.36, **fur), *eyes, *pupils, nose, *whiskers]


def broom_patches() -> list[Patch]:
    """A broom that leans: a stick, a band, and bristles."""
    stick = Polygon([(0.17, 0.3), (0.21, 0.28), (0.03, -0.04), (-0.01, -0.02)], facecolor="#A0703C", edgecolor=INK)
    bristles = Polygon(
        [(-0.06, -0.01), (0.07, -0.08), (0.06, -0.24), (-0.22, -0.1)], facecolor="#F0E442", edgecolor=INK
    )
    strands = [_stroke((-0.03, -0.04), (-0.15, -0.14)), _stroke((0, -0.05), (-0.07, -0.18))]
    strands.append(_stroke((0.04, -0.07), (0.01, -0.21)))
    return [stick, bristles, *strands]


def bathtub_patches() -> list[Patch]:
    """A bathtub with water, a tap and two feet."""
    feet = [Circle((s * 0.17, -0.2), 0.035, facecolor="#BBBBBB", edgecolor=INK, linewidth=0.8) for s in (-1, 1)]
    water = Ellipse((0, 0.02), 0.5, 0.09, facecolor="#56B4E9", edgecolor="none")
    foam = [Circle((x, y), r, facecolor="white", edgecolor="#56B4E9") for x, y, r in BUBBLES]
    curve = Path(
        [(-0.28, 0.01), (-0.28, -0.2), (-0.14, -0.2), (0.14, -0.2), (0.28, -0.2), (0.28, 0.01), (-0.28, 0.01)],
        [Path.MOVETO, Path.CURVE3, Path.CURVE3, Path.LINETO, Path.CURVE3, Path.CURVE3, Path.CLOSEPOLY],
    )
    tub = PathPatch(curve, facecolor="white", edgecolor=INK, linewidth=1.2)
    rim = Rectangle((-0.31, -0.01), 0.62, 0.045, facecolor="white", edgecolor=INK, linewidth=1.2)
    tap = [_stroke((0.25, 0.04), (0.25, 0.2)), _stroke((0.25, 0.2), (0.14, 0.2)), _stroke((0.14, 0.2), (0.14, 0.14))]
    for part in tap:
        part.set_linewidth(2)
    return [*feet, water, *foam, tub, rim, *tap]


BUBBLES = ((-0.16, 0.08, 0.05), (-0.07, 0.11, 0.06), (0.03, 0.07, 0.045))


def meat_patches() -> list[Patch]:
    """A leg of meat: a bone with two knobs, and the meat around it."""
    bone = {"facecolor": "white", "edgecolor": INK, "linewidth": 1}
    shaft = Polygon([(0.04, -0.01), (0.21, -0.16), (0.17, -0.21), (0, -0.06)], **bone)
    knobs = [Circle((0.23, -0.15), 0.045, **bone), Circle((0.17, -0.21), 0.045, **bone)]
    flesh = Ellipse((-0.06, 0.07), 0.4, 0.28, angle=-42, facecolor="#B5543C", edgecolor=INK, linewidth=1)
    shine = Ellipse((-0.12, 0.14), 0.13, 0.05, angle=-42, facecolor="#E7A08C", edgecolor="none")
    return [shaft, *knobs, flesh, shine]


DRAWINGS = {BROOM: broom_patches, BATHTUB: bathtub_patches, MEAT: meat_patches}


def _stroke(start: tuple[float, float], end: tuple[float, float]) -> PathPatch:
    return PathPatch(Path([start, end]), facecolor="none", edgecolor=INK, linewidth=0.9)
