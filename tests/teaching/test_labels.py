"""The reader's comparisons are saved at once in the common format, asked once, and compared with the true reward."""

import json

import pytest
import torch

from dpo_notes.maths.bradley_terry import preference_probability
from dpo_notes.pairs.load import PreferencePair, load_pairs
from dpo_notes.teaching.labelling import Comparison, Labeller, agreement_words, unlabelled
from dpo_notes.teaching.labels import MY_COMPARISONS, add_comparison, agreement, drop_last_comparison, my_comparisons

RIGHT, WRONG, POLITE = " In France.", " In Spain.", " Thank you for asking! It is in France. You are welcome."
COMPARISONS = [
    Comparison("Where is Paris?", RIGHT, WRONG),
    Comparison("Where is Lyon?", WRONG, POLITE),
    Comparison("Which country is Paris in?", RIGHT, " It is in France."),
]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs" / "mine.jsonl"


def test_the_place_of_the_comparisons_is_in_the_repository_and_ignored_by_git():
    root = MY_COMPARISONS.parent.parent
    assert (root / "dpo_notes").is_dir() and MY_COMPARISONS.relative_to(root).as_posix() == "runs/my_comparisons.jsonl"
    assert "runs/" in (root / ".gitignore").read_text(encoding="utf-8").splitlines()


def test_what_was_added_comes_back_in_order_by_the_ordinary_reader(path):
    pairs = [PreferencePair("Où est Paris?\n", RIGHT, WRONG), PreferencePair("", POLITE, RIGHT)]
    assert my_comparisons(path) == []
    for pair in pairs:
        add_comparison(pair, path)
    assert my_comparisons(path) == load_pairs(path) == pairs
    assert [list(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()] == [
        ["prompt", "chosen", "rejected"]
    ] * 2


def test_dropping_takes_the_last_line_and_at_the_end_the_file(path):
    drop_last_comparison(path)
    for response in (WRONG, POLITE):
        add_comparison(PreferencePair("Where is Paris?", RIGHT, response), path)
    drop_last_comparison(path)
    assert my_comparisons(path) == [PreferencePair("Where is Paris?", RIGHT, WRONG)]
    drop_last_comparison(path)
    assert not path.exists() and list(path.parent.iterdir()) == []


def test_agreement_by_hand():
    """Rewards 1 over -1, agreed; -1 over 1.75, not; 1 against 1, a tie. Raters agree in sigma(2) and sigma(2.75)."""
    pairs = [PreferencePair("Where is Paris?", RIGHT, WRONG), PreferencePair("Where is Paris?", WRONG, POLITE)]
    pairs.append(PreferencePair("Where is Paris?", RIGHT, " It is in France."))
    raters = preference_probability(torch.tensor([2.0, 2.5]), torch.zeros(2)).mean().item()
    assert agreement(pairs) == (1, 2, 1, pytest.approx(raters))
    assert agreement([]) == (0, 0, 0, None)
    assert "1 of 2 comparisons, 50% (1 ties aside)" in agreement_words(pairs)


def test_the_chosen_stand_on_both_sides_and_nothing_else_changes():
    pairs = [PreferencePair(f"Where is Paris? {n}", RIGHT, WRONG) for n in range(40)]
    asked = unlabelled(pairs, generator=torch.Generator().manual_seed(0))
    assert {comparison.left for comparison in asked} == {RIGHT, WRONG}
    assert [comparison.key for comparison in asked] == [(p.prompt, frozenset((RIGHT, WRONG))) for p in pairs]


def test_buttons_and_keys_keep_the_side_that_was_chosen(path):
    labeller = Labeller(COMPARISONS, path=path)
    labeller.buttons["f"].click()
    labeller.key_box.value = "J"
    assert my_comparisons(path) == [
        PreferencePair("Where is Paris?", RIGHT, WRONG),
        PreferencePair("Where is Lyon?", POLITE, WRONG),
    ]
    assert labeller.key_box.value == "" and labeller.words == "2 kept in runs/mine.jsonl, 1 to go."
    labeller.key_box.value = "j"
    labeller.key_box.value = "j"
    assert labeller.current is None and "Thank you" in labeller.view.value and len(my_comparisons(path)) == 3


def test_other_keys_do_nothing_and_of_several_the_last_counts(path):
    labeller = Labeller(COMPARISONS, path=path)
    labeller.key_box.value = "x"
    assert not path.exists() and labeller.key_box.value == ""
    labeller.key_box.value = "xf"
    assert len(my_comparisons(path)) == 1


def test_a_skipped_comparison_comes_again_at_the_end(path):
    labeller = Labeller(COMPARISONS, path=path)
    labeller.key_box.value = "s"
    assert labeller.queue == [*COMPARISONS[1:], COMPARISONS[0]] and not path.exists()


def test_undo_takes_back_what_was_chosen_here_and_nothing_older(path):
    add_comparison(PreferencePair("Where is Rome?", " In Italy.", RIGHT), path)
    labeller = Labeller(COMPARISONS, path=path)
    labeller.key_box.value = "j"
    labeller.key_box.value = "u"
    assert labeller.current == COMPARISONS[0]
    labeller.key_box.value = "u"
    assert [pair.prompt for pair in my_comparisons(path)] == ["Where is Rome?"]


def test_what_is_labelled_already_is_not_asked_again_whichever_side_it_stood_on(path):
    add_comparison(PreferencePair("Where is Paris?", WRONG, RIGHT), path)
    assert Labeller(COMPARISONS, path=path).queue == COMPARISONS[1:]


def test_agreement_is_said_only_on_demand_and_then_follows(path):
    labeller = Labeller(COMPARISONS, path=path)
    labeller.key_box.value = "f"
    assert "true reward" not in labeller.words
    labeller.reveal_button.click()
    assert "in 1 of 1 comparisons, 100%." in labeller.words
    labeller.key_box.value = "f"
    assert "in 1 of 2 comparisons, 50%." in labeller.words


def test_a_file_that_cannot_be_written_is_said_and_the_comparison_stays(tmp_path):
    (tmp_path / "runs").write_text("a file where the folder should be")
    labeller = Labeller(COMPARISONS, path=tmp_path / "runs" / "mine.jsonl")
    labeller.key_box.value = "f"
    assert labeller.words.startswith("Not kept: runs/mine.jsonl cannot be written")
    assert labeller.current == COMPARISONS[0]


def test_plain_text_is_not_escaped(path):
    said = Labeller([Comparison("<b>", "a & b", "c")], path=path)._repr_mimebundle_()["text/plain"]
    assert "The first: '<b>', left 'a & b' or right 'c'?" in said


def test_without_a_kernel_the_first_comparison_remains_whatever_is_kept_already(path):
    fresh = Labeller(COMPARISONS, path=path)._repr_mimebundle_()
    add_comparison(PreferencePair("Where is Paris?", WRONG, RIGHT), path)
    later = Labeller(COMPARISONS, path=path)._repr_mimebundle_()
    for kind in ("text/html", "text/plain"):
        assert fresh[kind] == later[kind] and "Where is Paris?" in fresh[kind]
