"""A comparison in one row has the log-probabilities of two rows, but only with the right mask and positions."""

import torch

from dpo_notes.language.score import batch_logps_readable
from dpo_notes.lessons.computing_log_probabilities.one_row import one_row
from dpo_notes.maths.logps import picked_logps
from dpo_notes.pairs.batches import collate_pairs
from dpo_notes.pairs.encode import EncodedPair

PAIR = EncodedPair((5, 6, 7, 8), (9, 10, 0), (11, 12, 13, 14, 0))


@torch.no_grad()
def from_one_row(model, row) -> torch.Tensor:
    logits = model(row.input_ids, position_ids=row.position_ids, attention_mask=row.sees).logits[0, row.before]
    logps = picked_logps(logits, row.input_ids[0, len(PAIR.prompt) :])
    return torch.stack([logps[: len(PAIR.chosen)].sum(), logps[len(PAIR.chosen) :].sum()])


def test_one_row_is_two_rows_and_needs_both_the_hole_and_the_positions(tiny_model):
    model = tiny_model.double()
    with torch.no_grad():
        two_rows = torch.cat(batch_logps_readable(model, collate_pairs([PAIR])))
    row = one_row(PAIR.prompt, PAIR.chosen, PAIR.rejected)
    torch.testing.assert_close(from_one_row(model, row), two_rows, rtol=1e-12, atol=0)

    counting_on = torch.arange(row.input_ids.shape[1])[None]
    no_hole = torch.ones_like(row.sees).tril()
    for wrong in (row._replace(position_ids=counting_on), row._replace(sees=no_hole)):
        off = (from_one_row(model, wrong) - two_rows).abs()
        assert off[0] < 1e-10  # the chosen response comes first and notices nothing
        assert off[1] > 1e-2


def test_both_responses_are_predicted_by_the_end_of_the_prompt():
    """Columns: prompt 0 to 3, chosen 4 to 6, rejected 7 to 11."""
    row = one_row(PAIR.prompt, PAIR.chosen, PAIR.rejected)
    assert row.before.tolist() == [3, 4, 5, 3, 7, 8, 9, 10]
    assert row.position_ids.tolist() == [[0, 1, 2, 3, 4, 5, 6, 4, 5, 6, 7, 8]]
    assert row.input_ids.tolist() == [[*PAIR.prompt, *PAIR.chosen, *PAIR.rejected]]
    assert not row.sees[0, 0, 7:, 4:7].any()
    assert row.sees[0, 0, 7:, :4].all()
