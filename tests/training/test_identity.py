"""The identity of a run: the same in the next process, and different as soon as anything that matters differs."""

from functools import partial

from dpo_notes.maths.losses import dpo_loss
from dpo_notes.training.identity import data_digest, differences, function_name


def reward(model, tokenizer, *, scale: float = 1.0) -> None: ...


def test_a_function_is_named_with_what_it_was_given():
    assert function_name(dpo_loss) == "dpo_loss"
    assert function_name(partial(dpo_loss, label_smoothing=0.1)) == "dpo_loss(label_smoothing=0.1)"
    assert function_name(partial(partial(reward, "gpt2"), scale=2)) == "reward('gpt2', scale=2)"


def test_a_model_among_the_arguments_counts_by_its_weights(new_tiny_model, tiny_tokenizer):
    """Two reward models of one shape are two rewards; the same one, loaded again, is the same."""
    names = [function_name(partial(reward, new_tiny_model(seed), tiny_tokenizer)) for seed in (0, 0, 1)]
    assert names[0] == names[1] != names[2]
    assert all(name.startswith("reward(GPT2LMHeadModel ") and "0x" not in name for name in names)


def test_the_digest_of_data_depends_on_every_example_and_on_their_order(tiny_pairs):
    """Each step takes pairs by number: in another order they make another run."""
    first, second, third = tiny_pairs[:3]
    lists = (
        [first, second, third],
        [second, first, third],
        [third, second, first],
        [first, second],
        [first, first, third],
    )
    digests = [data_digest(examples) for examples in lists]
    assert len(set(digests)) == len(lists)
    assert data_digest(list(lists[0])) == digests[0]


def test_differences_are_named():
    was = {"config": {"beta": 0.1, "seed": 0}, "loss": "dpo_loss"}
    now = {"config": {"beta": 0.2, "seed": 0}, "loss": "x"}
    assert differences(was, now) == ["beta was 0.1 and is now 0.2", "loss was 'dpo_loss' and is now 'x'"]
    assert differences(now, now) == []
