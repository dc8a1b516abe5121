"""Predict, then run: a guess is saved before the answer is known, and shown beside it afterwards."""

import html

import ipywidgets as W

KEPT: dict[str, float | str] = {}  # guesses by question; running a cell again keeps them


class Prediction(W.VBox):
    """A question with a place for a guess. `beside(answer)` prints both once the answer is known."""

    def __init__(self, question: str, *, options: tuple[str, ...], low: float, high: float, unit: str):
        self.question, self.options = question, tuple(options)
        self.low, self.high, self.unit = low, high, unit
        looks = {"description": "I guess", "style": {"description_width": "initial"}}
        kept = KEPT.get(question)
        if options:
            self.choice = W.RadioButtons(options=options, value=kept if kept in options else None, **looks)
        else:
            start = kept if isinstance(kept, float) else (low + high) / 2
            self.choice = W.BoundedFloatText(value=start, min=low, max=high, step=(high - low) / 100, **looks)
        button = W.Button(description="Keep my guess", layout={"width": "auto"})
        button.on_click(lambda _: self.keep())
        self.status = W.HTML()
        words = W.HTML(f"<b>{html.escape(question)}</b>" + (f" ({html.escape(unit)})" if unit else ""))
        super().__init__([words, W.HBox([self.choice, button]), self.status])
        self._say()

    def keep(self) -> None:
        """Save the current choice as the guess."""
        if self.choice.value is not None:
            KEPT[self.question] = self.choice.value
        self._say()

    def beside(self, answer: float | str) -> None:
        """Print the answer beside the saved guess."""
        guess = "nothing yet" if self.question not in KEPT else self._in_words(KEPT[self.question])
        print(f"{self.question}\n  you guessed: {guess}\n  it is:       {self._in_words(answer)}")

    def _in_words(self, value: float | str) -> str:
        return value if isinstance(value, str) else f"{value:.4g} {self.unit}".rstrip()

    def _say(self) -> None:
        kept = f"Kept: {self._in_words(KEPT[self.question])}" if self.question in KEPT else ""
        self.status.value = f'<p role="status">{html.escape(kept)}</p>'

    def _repr_mimebundle_(self, **kwargs):
        data = super()._repr_mimebundle_(**kwargs)
        choices = " / ".join(self.options) or f"from {self.low:g} to {self.high:g} {self.unit}".rstrip()
        return {**data, "text/plain": f"Make a guess: {self.question} ({choices})"}


def predict(
    question: str, *, options: tuple[str, ...] = (), low: float = 0.0, high: float = 1.0, unit: str = ""
) -> Prediction:
    """A place to guess the answer to `question`; show it as the last expression of a cell, before the answer is known.

    options: the words to choose from. Without them the guess is a number from `low` to `high`, of the given `unit`.
    """
    return Prediction(question, options=options, low=low, high=high, unit=unit)
