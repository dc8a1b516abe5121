"""The explorers of notebook 05: set the controls, read the artists and words."""

import pytest
import torch
from hands_on import set_to

from dpo_notes.language.reward_head import new_reward_model, reward_of
from dpo_notes.lessons.reward_model.explorers import REWARD, RULES, PrivateScales, ReadingHead

pytestmark = pytest.mark.notebooks
PROMPT, RESPONSE = "Where is Paris?", " In France."


def test_without_spread_and_noise_all_lines_are_the_reward_and_all_bars_full():
    explorer = set_to(PrivateScales(), offset_spread=0, gain_spread=0, noise=0)
    for line in explorer.lines:
        assert list(line.get_ydata()) == REWARD.tolist()
    assert [bar.get_width() for bar in explorer.bars] == pytest.approx([1, 1, 1, 1])


def test_scales_move_the_scores_and_not_the_choices():
    narrow = set_to(PrivateScales(), offset_spread=0, gain_spread=0, noise=1).read
    wide = set_to(PrivateScales(), offset_spread=3, gain_spread=0.8, noise=1).read
    assert wide[1] == narrow[1] and wide[3] == narrow[3]
    assert wide[0] < narrow[0] - 0.2 and wide[2] < narrow[2] - 0.1


def test_noise_moves_the_choices_too():
    calm, loud = (set_to(PrivateScales(), noise=noise).read for noise in (0.3, 2))
    assert all(after < before for before, after in zip(calm, loud, strict=True))


@pytest.fixture
def reading(tiny_model, tiny_tokenizer):
    reward_model, tokenizer = new_reward_model(tiny_model, tiny_tokenizer)
    torch.nn.init.normal_(reward_model.score.weight, generator=torch.Generator().manual_seed(0))
    return ReadingHead(reward_model, tokenizer, prompt=PROMPT, response=RESPONSE)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("padding", [0, 3, 12])
def test_by_length_the_head_reads_the_reward_wherever_the_padding_is(reading, side, padding):
    set_to(reading, side=side, padding=padding)
    expected = reward_of(reading.reward_model, reading.tokenizer, [PROMPT], [RESPONSE]).item()
    assert reading.says == pytest.approx(expected, abs=1e-4)
    assert "the same that the text by itself is worth" in reading.words


def test_the_last_column_is_padding_on_the_right_only(reading):
    set_to(reading, rule="the last column", padding=4, side="right")
    assert "The head reads padding" in reading.words and "not the" in reading.words
    assert reading.ring.get_xdata() == [len(reading.tokens) - 1]
    assert "the same" in set_to(reading, side="left").words


def test_by_id_the_end_is_taken_for_padding_where_padding_is_end_of_text(reading):
    by_id = list(RULES)[2]
    assert "the same" in set_to(reading, rule=by_id, token="a token of its own").words
    ended = set_to(reading, token="end of text").says
    assert ended == pytest.approx(set_to(reading, ended=False).says, abs=1e-4)


def test_what_does_not_fit_is_said_and_the_picture_stays(reading):
    before = reading.png
    set_to(reading, response=" It is in France." * 20)
    assert "there is room for 24" in reading.words and reading.png == before
