"""The table of the zoo as a picture."""

from matplotlib.axes import Axes

from dpo_notes.lessons.computing_log_probabilities.zoo.named_tests import NAMED_TESTS
from dpo_notes.lessons.computing_log_probabilities.zoo.table import Table
from dpo_notes.plots.runs import POLICY, REJECTED

PASSED, FAILED = "o", "X"


def in_words(name: str) -> str:
    """A test's name in words."""
    return name.replace("_", " ")


def fault_table_panel(ax: Axes, table: Table) -> Axes:
    """A row a pipeline, a column a test: a cross where it fails, a dot where it passes."""
    tests = [test.__name__ for test in NAMED_TESTS]
    cells = [(x, y, test in table[title]) for y, title in enumerate(table) for x, test in enumerate(tests)]
    looks = ((True, "fails", FAILED, REJECTED, 60), (False, "passes", PASSED, POLICY, 6))
    for failed, label, marker, color, size in looks:
        places = [(x, y) for x, y, fails in cells if fails == failed]
        ax.scatter(*zip(*places, strict=True), s=size, marker=marker, color=color, label=label)
    ax.set_xticks(range(len(tests)), [in_words(name) for name in tests], rotation=40, ha="left", rotation_mode="anchor")
    ax.set_yticks(range(len(table)), list(table))
    ax.xaxis.tick_top()
    ax.set(xlim=(-0.6, len(tests) - 0.4), ylim=(len(table) - 0.5, -0.5))
    ax.hlines([row + 0.5 for row in range(len(table) - 1)], -0.6, len(tests) - 0.4, color="#dddddd", linewidth=0.6)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.01), ncols=2, frameon=False)
    return ax
