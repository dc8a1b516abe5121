"""The explorer of the bug zoo: see what a faulty run looks like, name the fault, and learn which test finds it."""

from collections.abc import Sequence

import ipywidgets as W
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dpo_notes.lessons.computing_log_probabilities.zoo.faults import FAULTS
from dpo_notes.lessons.computing_log_probabilities.zoo.named_tests import NAMED_TESTS
from dpo_notes.lessons.computing_log_probabilities.zoo.pictures import FAILED, PASSED, in_words
from dpo_notes.lessons.computing_log_probabilities.zoo.runs import STEPS, Run
from dpo_notes.lessons.computing_log_probabilities.zoo.symptoms import run_of, specimens
from dpo_notes.lessons.computing_log_probabilities.zoo.table import fault_table, told_apart_by
from dpo_notes.plots.runs import CHOSEN, MARGIN, POLICY, REJECTED, open_axes
from dpo_notes.teaching.live import Explorer

NOT_YET = "not yet"
LOSS, MARGINS, LOGPS = (0, 0.8), (-4, 8), (-26, 4)  # limits of the axes
HEALTHY = "a run of the right code"
SMALL = {"fontsize": "small", "frameon": False}


class BugZoo(Explorer):
    """A specimen's short run beside that of the right code (dotted), its failed tests, and your diagnosis."""

    size = (12.6, 4.1)
    page_controls = ("specimen", "tests")

    def __init__(self):
        self.specimens, self.table = specimens(), fault_table()
        self.runs = {letter: run_of(fault) for letter, fault in self.specimens.items()}
        super().__init__()

    def make_controls(self) -> dict[str, W.ValueWidget]:
        titles = sorted(fault.title for fault in FAULTS)
        return {
            "specimen": W.SelectionSlider(options=list(self.specimens), description="specimen"),
            "diagnosis": W.Dropdown(options=[NOT_YET, *titles], description="your diagnosis"),
            "tests": W.Checkbox(value=False, description="show which tests it fails", indent=False),
        }

    def build(self, figure: Figure) -> Sequence[Artist]:
        loss, margin, logps, tests = figure.subplots(1, 4, width_ratios=[3, 3, 3, 1])
        right = run_of(None)
        (self.loss,) = _curves(loss, right, {"loss": ("the log", POLICY, "-")}, ylim=LOSS, title="loss (nats)")
        self.margin, self.true = _curves(
            margin,
            right,
            {"rewards/margins": ("the log", MARGIN, "-"), "true/margins": ("the right code", MARGIN, "--")},
            ylim=MARGINS,
            title="margin (nats)",
        )
        self.chosen, self.rejected = _curves(
            logps,
            right,
            {"logps/chosen": ("chosen", CHOSEN, "-"), "logps/rejected": ("rejected", REJECTED, "-")},
            ylim=LOGPS,
            title="log-probability (nats)",
        )
        (self.failed,) = tests.plot([], [], linestyle="", marker=FAILED, color=REJECTED, markersize=7)
        (self.passed,) = tests.plot([], [], linestyle="", marker=PASSED, color=POLICY, markersize=3)
        tests.set_yticks(range(len(NAMED_TESTS)), [in_words(test.__name__) for test in NAMED_TESTS], fontsize="small")
        tests.yaxis.tick_right()
        tests.set(xlim=(-1, 1), ylim=(len(NAMED_TESTS) - 0.5, -0.5), xticks=[], title="tests: × fails")
        tests.tick_params(length=0)
        tests.spines[:].set_visible(False)
        return self.loss, self.margin, self.true, self.chosen, self.rejected, self.failed, self.passed

    def move(self, *, specimen: str, diagnosis: str, tests: bool) -> None:
        rows = self.runs[specimen].rows
        shown = {
            "loss": self.loss,
            "rewards/margins": self.margin,
            "true/margins": self.true,
            "logps/chosen": self.chosen,
            "logps/rejected": self.rejected,
        }
        for name, line in shown.items():
            line.set_ydata([row[name] for row in rows])
        failed = self.table[self.specimens[specimen].title]
        for line, wanted in ((self.failed, True), (self.passed, False)):
            places = [place for place, test in enumerate(NAMED_TESTS) if (test.__name__ in failed) == wanted]
            line.set_data([0] * len(places) if tests else [], places if tests else [])

    def describe(self, *, specimen: str, diagnosis: str, tests: bool) -> str:
        first, last = self.runs[specimen].rows[0], self.runs[specimen].rows[-1]
        failed = len(self.table[self.specimens[specimen].title])
        return (
            f"Specimen {specimen}: the loss goes from {first['loss']:.3f} to {last['loss']:.3f}. At the end its log has a "
            f"margin of {last['rewards/margins']:+z.2f}, and the right code measures {last['true/margins']:+z.2f}. The first "
            f"gradient has norm {first['grad_norm']:.1f} (right code: {run_of(None).rows[0]['grad_norm']:.1f}). It fails {failed} "
            f"of {len(NAMED_TESTS)} tests. " + self._judge(specimen, diagnosis)
        )

    def _judge(self, specimen: str, diagnosis: str) -> str:
        """The reply to a diagnosis: right, with the line; or a test that tells the two faults apart."""
        fault = self.specimens[specimen]
        if diagnosis == NOT_YET:
            return "Which bug is it?"
        if diagnosis == fault.title:
            return f"“{diagnosis}” is right. {fault.wrong_line} should be {fault.right_line}. {fault.explanation}"
        test = told_apart_by(self.table, fault.title, diagnosis)[0]
        here = "fails" if test in self.table[fault.title] else "passes"
        there = "fails" if test in self.table[diagnosis] else "passes"
        return f"It is not “{diagnosis}”: that {there} “{in_words(test)}”, which this specimen {here}."


def _curves(ax: Axes, right: Run, curves: dict[str, tuple[str, str, str]], *, ylim: tuple, title: str) -> list[Artist]:
    """The right run's metrics, dotted, and a line that moves for each of `curves`: (label, colour, style) by metric."""
    steps, moving = range(STEPS + 1), []
    for name, (label, color, style) in curves.items():
        if name != "true/margins":  # for the right run both margins are equal
            ax.plot(
                steps, [row[name] for row in right.rows], ":", color=color, label="" if len(curves) > 1 else HEALTHY
            )
        moving += ax.plot(steps, [0] * len(steps), style, color=color, label=label)
    ax.set(ylim=ylim, xlabel="step", title=title)
    open_axes(ax)
    ax.legend(loc="lower left", **SMALL)
    return moving
