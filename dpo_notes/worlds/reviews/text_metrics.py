"""Metrics of a batch of responses in the review world: reward, grammar, length, variety."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from jaxtyping import Float
from torch import Tensor

from dpo_notes.maths.errors import InputError
from dpo_notes.worlds.reviews import world as reviews


def response_metrics(prompts: Sequence[str], responses: Sequence[str]) -> dict[str, float]:
    """Means over the responses, to be read together: if the reward rises while the others fall, it is being hacked.

    reward: the raters' (nats). grammatical: share of texts that the grammar could have written. words: per response.
    distinct: the number of different words divided by the number of all words, over all responses.
    Errors: InputError for no responses, and unless there are as many prompts.
    Known value: ["Where is Paris?"], [" In France."] give reward 1, grammatical 1, words 2, distinct 1.
    """
    if not responses:
        raise InputError("no responses to look at; expected at least one")
    words = [word for response in responses for word in response.split()]
    means = {name: values.mean().item() for name, values in reviews.judge(prompts, responses).items()}
    return means | {"words": len(words) / len(responses), "distinct": len(set(words)) / max(len(words), 1)}


class Overheard:
    """A reward function that also keeps the prompts and responses of its last call.

    So you can look at the responses of a training loop without sampling again:
    `heard.beside(train_reinforce(policy, reference, heard, prompts, tokenizer, config))`.
    """

    def __init__(self, reward_fn: Callable[[Sequence[str], Sequence[str]], Tensor]):
        self.reward_fn = reward_fn
        self.prompts: Sequence[str] = []
        self.responses: Sequence[str] = []

    def __call__(self, prompts: Sequence[str], responses: Sequence[str]) -> Float[Tensor, " batch"]:
        self.prompts, self.responses = prompts, responses
        return self.reward_fn(prompts, responses)

    def beside(self, rows: Iterable[Mapping[str, float]]) -> Iterator[dict[str, float]]:
        """Each row of the loop together with the `response_metrics` of the responses in its step."""
        for row in rows:
            yield {**row, **response_metrics(self.prompts, self.responses)}
