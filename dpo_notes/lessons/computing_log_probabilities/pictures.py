"""The pictures of notebook 09: one answer scored column by column, the attention mask, and what passes the head."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch, Rectangle
from torch import Tensor

from dpo_notes.pairs.batches import Batch
from dpo_notes.plots.runs import POLICY, REFERENCE, TRUTH, open_axes

PROMPT_FILL, RESPONSE_FILL, EMPTY_FILL = "#D0D0D0", "#B5E3D3", "#FFFFFF"  # light, for black text on them
ROWS = ("the model reads", "and says: logits", "token to be found", "logps", "response_mask", "counted")
READ, SAYS, TARGET, LOGPS, MASK, COUNTED = range(len(ROWS))
TOLD_STYLES = (("-", REFERENCE), ("--", TRUTH), (":", POLICY))  # nothing, a mask, all: in the order of padded.TOLD
HIGH, WIDE = 0.62, 0.9  # of a cell of 1 × 1
PROMPT, RESPONSE, PADDING = range(3)


def scoring_table(ax: Axes, words: Sequence[str], logps: Sequence[float], response_mask: Sequence[bool]) -> Axes:
    """How a response is scored: each column's logits score the token of the next one; the mask picks what is summed."""
    last = len(words) - 1
    for t, (word, logp, counts) in enumerate(zip(words, logps, response_mask, strict=True)):
        fill = RESPONSE_FILL if counts else PROMPT_FILL
        _cell(ax, t, READ, word, fill)
        _cell(ax, t, SAYS, f"$z_{{{t}}}$", EMPTY_FILL, linestyle=":" if t == last else "-")
        _cell(ax, t, TARGET, word, fill if t else EMPTY_FILL)
        _cell(ax, t, LOGPS, f"{logp:z.2f}", EMPTY_FILL)
        _cell(ax, t, MASK, str(bool(counts)), fill)
        if counts:
            _cell(ax, t, COUNTED, f"{logp:z.2f}", RESPONSE_FILL)
        if t < last:
            ends = {"xytext": (t, SAYS + HIGH / 2), "xy": (t + 1, TARGET - HIGH / 2)}
            ax.annotate(
                "", **ends, arrowprops={"arrowstyle": "-|>", "color": POLICY if response_mask[t + 1] else REFERENCE}
            )
    total = sum(logp for logp, counts in zip(logps, response_mask, strict=True) if counts)
    ax.text(last + 0.6, COUNTED, f"sum {total:z.2f}", va="center", weight="bold")
    ax.set(xlim=(-0.55, last + 1.7), ylim=(len(ROWS) - 0.6, -0.9), yticks=range(len(ROWS)), yticklabels=ROWS)
    ax.set(xticks=range(len(words)), xticklabels=[f"t = {t}" for t in range(len(words))])
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return ax


def attention_grid(
    ax: Axes, words: Sequence[str], sees: Bool[Tensor, "time time"], predicts: Sequence[tuple[int, int]]
) -> Axes:
    """The attention mask (grey), and the column whose token each row's logits must predict (green frame)."""
    ax.imshow(sees.float().numpy(), cmap=ListedColormap([EMPTY_FILL, PROMPT_FILL]), vmin=0, vmax=1)
    for row, column in predicts:
        ax.add_patch(Rectangle((column - 0.44, row - 0.44), 0.88, 0.88, fill=False, edgecolor=POLICY, linewidth=2))
    places = range(len(words))
    ax.set(xticks=places, yticks=places, yticklabels=words, ylabel="this position …")
    ax.set_xticklabels(words, rotation=60, ha="right", rotation_mode="anchor")
    ax.set_xlabel("… looks at (grey), and has to foretell (green frame)")
    for edge in range(len(words) + 1):
        ax.axhline(edge - 0.5, color="white", linewidth=1)
        ax.axvline(edge - 0.5, color="white", linewidth=1)
    ax.tick_params(length=0)
    return ax


def head_map(ax: Axes, batch: Batch, *, only_responses: bool) -> Axes:
    """The positions of a batch, with a dot where they pass through the output head: all of them, or the useful ones."""
    mask = batch.response_mask
    started = mask.long().cumsum(dim=1) > 0
    kinds = torch.where(mask, RESPONSE, torch.where(started, PADDING, PROMPT))
    colours = ListedColormap([PROMPT_FILL, RESPONSE_FILL, EMPTY_FILL])
    ax.imshow(kinds.numpy(), cmap=colours, vmin=0, vmax=2, aspect="auto", interpolation="nearest")
    through = torch.zeros_like(mask)
    through.view(-1)[batch.response_index - 1 if only_responses else slice(None)] = True
    rows, columns = through.nonzero(as_tuple=True)
    ax.plot(columns.numpy(), rows.numpy(), ".", color=POLICY, markersize=3)
    ax.set(xlabel="position", ylabel="row of the batch", yticks=range(0, len(mask), 5))
    ax.set(title=f"{len(rows)} positions pass through the head")
    return ax


def kinds_legend(ax: Axes) -> Axes:
    """What the fills of `head_map` mean, below the axes."""
    named = {"prompt": PROMPT_FILL, "response": RESPONSE_FILL, "padding": EMPTY_FILL}
    patches = [Patch(facecolor=fill, edgecolor=REFERENCE, label=name) for name, fill in named.items()]
    ax.legend(handles=patches, ncols=3, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.2))
    return ax


def share_bars(ax: Axes, words: Sequence[str], shares: Float[Tensor, " time"], *, color: str, title: str) -> Axes:
    """Each token's share of the implicit reward, with the sum in the title."""
    ax.bar(range(len(words)), shares.tolist(), 0.7, color=color)
    ax.axhline(0, color=REFERENCE, linewidth=0.8)
    ax.set(xticks=range(len(words)), ylabel="share of the reward (nats)")
    ax.set_xticklabels(words, rotation=60, ha="right", rotation_mode="anchor")
    ax.set_title(f"{title}: sum {shares.sum().item():+.3f}", fontsize="medium")
    open_axes(ax)
    return ax


def padding_curves(ax: Axes, counts: Sequence[int], off: Mapping[str, Sequence[float]]) -> Axes:
    """The error of a log-probability (above 0) over the number of padding tokens, by what the model is told."""
    for (told, errors), (style, color) in zip(off.items(), TOLD_STYLES, strict=True):
        ax.plot(counts, errors, style, color=color, linewidth=2, label=f"told: {told}")
    ax.set(xlabel="padding tokens", ylabel="off by (nats)", yscale="log")
    open_axes(ax)
    return ax


def _cell(ax: Axes, column: float, row: float, text: str, fill: str, *, linestyle: str = "-") -> None:
    corner = (column - WIDE / 2, row - HIGH / 2)
    ax.add_patch(Rectangle(corner, WIDE, HIGH, facecolor=fill, edgecolor=REFERENCE, linestyle=linestyle, linewidth=0.8))
    ax.text(column, row, text, ha="center", va="center", fontsize="small", parse_math=text.startswith("$z"))
