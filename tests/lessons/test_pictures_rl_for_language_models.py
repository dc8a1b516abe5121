"""The pictures of notebook 04: what was drawn is read back."""

from dpo_notes.lessons.rl_for_language_models.pictures import PANELS, speech_curves
from dpo_notes.plots.runs import POLICY

ROWS = [{"step": step, "reward": 2.0 * step, "grammatical": 1.0, "distinct": 0.5, "kl": 0.1 * step} for step in (1, 2)]


def test_every_run_has_its_line_in_every_panel_and_the_last_one_is_the_policys():
    figure = speech_curves({"free": ROWS[:1], "held": ROWS}, steps=50)
    for ax, name in zip(figure.axes, PANELS, strict=True):
        free, held = ax.get_lines()
        assert [line.get_label() for line in (free, held)] == ["free", "held"]
        assert list(held.get_ydata()) == [row[name] for row in ROWS]
        assert held.get_color() == POLICY != free.get_color()
        assert ax.get_xlim() == (0, 50)


def test_runs_can_be_told_apart_without_colour():
    figure = speech_curves(dict.fromkeys("abcd", ROWS), steps=2)
    assert len({line.get_linestyle() for line in figure.axes[0].get_lines()}) == 4
