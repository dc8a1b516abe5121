"""The reader as a rater: two responses side by side, compared by a button or a single key."""

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import ipywidgets as W
import torch

from dpo_notes.pairs.load import PreferencePair
from dpo_notes.teaching.labels import MY_COMPARISONS, add_comparison, agreement, drop_last_comparison, my_comparisons


@dataclass(frozen=True)
class Comparison:
    """A prompt and two responses, not yet compared."""

    prompt: str
    left: str
    right: str

    @property
    def key(self) -> tuple[str, frozenset[str]]:
        """Equal for the same prompt and responses, whichever is on the left."""
        return self.prompt, frozenset((self.left, self.right))


def unlabelled(pairs: Sequence[PreferencePair], *, generator: torch.Generator) -> list[Comparison]:
    """The pairs without their labels; the side of the chosen response is drawn at random."""
    swap = torch.randint(2, (len(pairs),), generator=generator).tolist()
    sides = [(p.rejected, p.chosen) if s else (p.chosen, p.rejected) for p, s in zip(pairs, swap, strict=True)]
    return [Comparison(pair.prompt, *side) for pair, side in zip(pairs, sides, strict=True)]


class Labeller(W.VBox):
    """Shows one comparison after another and saves each choice at once, as a line of the file at `path`.

    Comparisons that are already in the file are not asked again. Keys work while the box "Keys" has the focus: f left,
    j right, s skip, u undo, which takes back the last choice made here. A button shows how the choices agree with the
    true reward. Without a kernel, the first comparison remains as a table.
    """

    def __init__(self, comparisons: Sequence[Comparison], *, path: Path = MY_COMPARISONS):
        self.comparisons, self.path = list(comparisons), path
        known = {(pair.prompt, frozenset((pair.chosen, pair.rejected))) for pair in my_comparisons(path)}
        self.queue = [comparison for comparison in self.comparisons if comparison.key not in known]
        self.done: list[Comparison] = []  # labelled here, in order
        self.revealed = False
        actions = {
            "f": ("Left is better (f)", lambda: self.choose("left")),
            "j": ("Right is better (j)", lambda: self.choose("right")),
            "s": ("Skip (s)", self.skip),
            "u": ("Undo (u)", self.undo),
        }
        self.actions = {key: act for key, (_, act) in actions.items()}
        self.buttons = {key: _button(words, act) for key, (words, act) in actions.items()}
        self.reveal_button = _button("Show my agreement with the true reward", self.reveal)
        self.key_box = W.Text(description="Keys", placeholder="type f, j, s or u here", layout={"width": "18em"})
        self.key_box.observe(self._typed, "value")
        self.view = W.HTML(layout={"min_height": "15em"})  # room for long responses, so that the buttons stay
        self.status = W.HTML()
        rows = [W.HBox(list(self.buttons.values())), W.HBox([self.key_box, self.reveal_button])]
        super().__init__([self.view, *rows, self.status])
        self.refresh()

    @property
    def current(self) -> Comparison | None:
        """The comparison on display; None when all are labelled."""
        return self.queue[0] if self.queue else None

    def choose(self, side: str) -> None:
        """Save the current comparison with this side ("left" or "right") as the chosen one, and show the next."""
        comparison = self.current
        if comparison is None:
            return
        left_wins = side == "left"
        chosen, rejected = (comparison.left, comparison.right)[:: 1 if left_wins else -1]
        if self._wrote(lambda: add_comparison(PreferencePair(comparison.prompt, chosen, rejected), self.path)):
            self.done.append(self.queue.pop(0))
            self.refresh()

    def skip(self) -> None:
        """Show the next comparison; this one comes back at the end."""
        self.queue = self.queue[1:] + self.queue[:1]
        self.refresh()

    def undo(self) -> None:
        """Take back the last choice made here and show its comparison again."""
        if self.done and self._wrote(lambda: drop_last_comparison(self.path)):
            self.queue.insert(0, self.done.pop())
            self.refresh()

    def reveal(self) -> None:
        """From now on, show how the saved choices agree with the true reward."""
        self.revealed = True
        self.refresh()

    def refresh(self) -> None:
        """Show the current comparison and the reader's progress."""
        kept = my_comparisons(self.path)
        self.view.value = _table(self.current) if self.current else "<p>All comparisons are labelled. Thank you.</p>"
        words = f"{len(kept)} kept in {self.path.parent.name}/{self.path.name}, {len(self.queue)} to go."
        self._say(words + (" " + agreement_words(kept) if self.revealed else ""))

    def _wrote(self, write: Callable[[], None]) -> bool:
        """Whether the file could be written; if not, the status line says why."""
        try:
            write()
        except OSError as error:
            self._say(f"Not kept: {self.path.parent.name}/{self.path.name} cannot be written ({error.strerror}).")
            return False
        return True

    def _say(self, words: str) -> None:
        self.words = words
        self.status.value = f'<p role="status">{html.escape(words)}</p>'

    def _typed(self, change) -> None:
        """Act on the last key and empty the box for the next one. Other keys do nothing."""
        if change.new:
            act = self.actions.get(change.new[-1].lower())
            self.key_box.value = ""
            if act is not None:
                act()

    def _repr_mimebundle_(self, **kwargs):
        data = super()._repr_mimebundle_(**kwargs)
        if not self.comparisons:
            return data
        first, count = self.comparisons[0], len(self.comparisons)  # not the current one: the output is always the same
        words = (
            f"{count} comparisons to label. The first: {first.prompt!r}, left {first.left!r} or right {first.right!r}?"
        )
        note = f"<p>The first of {count} comparisons. With a kernel you choose by a button or by the keys f and j.</p>"
        return {**data, "text/plain": words, "text/html": _table(first) + note}


def agreement_words(pairs: Sequence[PreferencePair]) -> str:
    """One or two sentences: how often labels agree with the true reward, and how often the world's raters would."""
    seen = agreement(pairs)
    ties = f" ({seen.ties} ties aside)" if seen.ties else ""
    if not seen.decided:
        return f"There is no comparison yet that the true reward decides{ties}."
    share = seen.agreed / seen.decided
    return (
        f"You chose the response with the higher true reward in {seen.agreed} of {seen.decided} comparisons, "
        f"{share:.0%}{ties}. The world's own raters would in {seen.raters:.0%} on average: they, too, waver."
    )


def _table(comparison: Comparison) -> str:
    """The prompt over its two responses. The texts may come from a model or a file, so they are escaped."""
    prompt, left, right = (html.escape(text) for text in (comparison.prompt, comparison.left, comparison.right))
    head, cell = "text-align:left; width:50%", "text-align:left; vertical-align:top; white-space:normal; width:50%"
    return (
        f'<p>Prompt: <b>{prompt}</b></p><table style="width:100%; table-layout:fixed">'
        f'<tr><th scope="col" style="{head}">Left</th><th scope="col" style="{head}">Right</th></tr>'
        f'<tr><td style="{cell}">{left}</td><td style="{cell}">{right}</td></tr></table>'
    )


def _button(words: str, act: Callable[[], None]) -> W.Button:
    button = W.Button(description=words, layout={"width": "auto"})
    button.on_click(lambda _: act())
    return button
