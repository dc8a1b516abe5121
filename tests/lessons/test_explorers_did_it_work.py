"""The explorers and pictures of notebook 11, with the recorded frontier: set the controls, read artists and words."""

import pytest
from hands_on import set_to
from matplotlib.figure import Figure

from dpo_notes.experiments.frontier.record import read_record
from dpo_notes.lessons.did_it_work.explorers import ANSWERS, BestOfMany, FrontierPoints, HowSure
from dpo_notes.lessons.did_it_work.pictures import curve, mean_of, points_of, promise_panel, strengths
from dpo_notes.maths.best_of_n import best_of_n_kl_bound
from dpo_notes.pairs.embedded import data_folder
from dpo_notes.plots.frontier import METHODS, seed_means

pytestmark = pytest.mark.notebooks


@pytest.fixture(scope="module")
def record():
    return read_record(data_folder() / "recorded" / "frontier" / "frontier.json")


def test_means_are_those_of_the_frontier_plots(record):
    for mean in seed_means(record["points"], "dpo"):
        ours = mean_of(record, "dpo", mean["value"])
        assert [ours[name] for name in ("kl", "reward", "grammatical")] == pytest.approx(
            [mean[name] for name in ("kl", "reward", "grammatical")]
        )


def test_strengths_go_away_from_the_base_model_and_curves_begin_there(record):
    assert strengths(record, "dpo") == [4.0, 2.0, 1.0, 0.5, 0.25, 0.1]
    assert strengths(record, "best-of-n") == [2, 4, 8, 16]
    for method in METHODS:
        kls, rewards = curve(record, method, "reward")
        assert kls == sorted(kls)
        assert (kls[0], rewards[0]) == (0, points_of(record, "base")[0]["reward"])


def test_promises_are_drawn_against_what_was_kept(record):
    (line, *_) = promise_panel(Figure().subplots(), record).get_lines()
    boldest = mean_of(record, "ppo-learnt", 0.1)
    assert line.get_xdata()[-1] == boldest["learnt_gain"]
    assert line.get_ydata()[-1] == pytest.approx(boldest["reward"] - mean_of(record, "base", None)["reward"])


def test_the_large_mark_stands_on_the_chosen_run_and_the_words_tell_its_figures(record):
    explorer = set_to(FrontierPoints(record), method="dpo", step=6, seed=0, prompt=record["prompts"][1])
    (run,) = (point for point in points_of(record, "dpo", value=0.1) if point["seed"] == 0)
    for dot, place in zip(explorer.dots, (("kl", "reward"), ("kl", "grammatical")), strict=False):
        assert [dot.get_xdata()[0], dot.get_ydata()[0]] == [run[name] for name in place]
    assert list(explorer.interval.get_ydata()) == [run["win_low"], run["win_high"]]
    assert "beta 0.1" in explorer.words and "47.2% grammatical" in explorer.words
    assert all(sample.strip() in explorer.words for sample in run["samples"][2:4])  # two answers to each shown prompt


def test_a_step_beyond_the_boldest_run_is_the_boldest(record):
    explorer = set_to(FrontierPoints(record), method="best-of-n", step=6, seed=2)
    assert explorer.run("best-of-n", 6, 2)["value"] == 16
    assert "n = 16, seed 2" in explorer.words


def test_a_run_of_wins_is_certain_for_the_normal_interval_and_not_for_wilsons():
    explorer = set_to(HowSure(), count=10, rate=1.0)
    wilson, normal = (bar.get_xdata() for bar in explorer.bars)
    assert list(normal) == [1, 1]
    assert wilson[0] == pytest.approx(10 / (10 + 1.96**2), abs=1e-4)
    assert explorer.holding[1] < 0.1
    assert explorer.holding[0] > 0.9


def test_with_many_prompts_both_intervals_keep_their_promise():
    explorer = set_to(HowSure(), count=500, rate=0.5)
    assert explorer.holding == pytest.approx([0.95, 0.95], abs=0.01)
    assert "0.456 to 0.544" in explorer.words


def test_without_ties_and_errors_best_of_n_is_on_its_bound_and_promise_is_truth():
    explorer = set_to(BestOfMany(), n=8, noise=0.0, levels=ANSWERS)
    assert explorer.kl == pytest.approx(best_of_n_kl_bound(8), abs=1e-3)
    assert explorer.gain[0] == explorer.gain[1]


def test_ties_lower_the_divergence_and_errors_do_not():
    explorer = BestOfMany()
    clear = set_to(explorer, n=16, noise=0.0, levels=ANSWERS).kl
    assert set_to(explorer, noise=2.0).kl == pytest.approx(clear)
    assert explorer.gain[1] < explorer.gain[0]
    assert set_to(explorer, noise=0.0, levels=2).kl == pytest.approx(0.6931, abs=1e-3)  # never beyond -log(1/2)
