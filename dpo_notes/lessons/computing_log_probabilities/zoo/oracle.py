"""What the pipelines are judged by: the same quantities the slow way, one token at a time."""

from functools import cache
from itertools import product
from types import SimpleNamespace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dpo_notes.language.load import frozen_copy
from dpo_notes.lessons.computing_log_probabilities.zoo.letters import PAIRS, TOKENS, letter_model, letter_tokenizer

PROMPT = (3, 1)  # "c", "a"
SHORT = 3  # tokens of the longest response that is counted one by one


def naive_logp(model: nn.Module, prompt: tuple[int, ...], response: tuple[int, ...]) -> Float[Tensor, ""]:
    """log pi(y | x) in nats: for each token of the response the model reads all tokens before it and predicts it."""
    total, state = torch.zeros((), dtype=torch.float64), list(prompt)
    for token in response:
        probs = model(input_ids=torch.tensor([state])).logits[0, -1].softmax(dim=0)
        total, state = total + probs[token].log(), [*state, token]
    return total


def naive_pair_logps(model: nn.Module) -> Float[Tensor, " rows"]:
    """naive_logp of all chosen responses, then of all rejected ones; prompt and response are tokenized separately."""
    tokenizer = letter_tokenizer()
    texts = [(pair.prompt, pair.chosen) for pair in PAIRS] + [(pair.prompt, pair.rejected) for pair in PAIRS]
    tokens = [(tokenizer.encode(x), [*tokenizer.encode(y), tokenizer.eos_token_id]) for x, y in texts]
    return torch.stack([naive_logp(model, tuple(x), tuple(y)) for x, y in tokens])


@cache
def untrained() -> nn.Module:
    """The model before any training, frozen and with dropout off. One for all, as nothing changes it."""
    return frozen_copy(letter_model())


@cache
@torch.no_grad()
def pair_logps() -> Float[Tensor, " rows"]:
    """naive_pair_logps of the untrained model, dropout off."""
    return naive_pair_logps(untrained())


@cache
def margin_gradient() -> Float[Tensor, " weights"]:
    """The mean over pairs of grad log pi(y_w) − grad log pi(y_l), over all weights of the untrained model."""
    model = letter_model().eval()
    chosen, rejected = naive_pair_logps(model).chunk(2)
    gradient = torch.autograd.grad((chosen - rejected).mean(), list(model.parameters()))
    return torch.cat([part.flatten() for part in gradient])


def short_responses() -> list[tuple[int, ...]]:
    """Every response of 0 to SHORT tokens, each with its end of text: 1 + 4 + 16 + 64."""
    end, letters = 0, range(1, len(TOKENS))
    return [(*tokens, end) for length in range(SHORT + 1) for tokens in product(letters, repeat=length)]


@cache
@torch.no_grad()
def goes_on() -> float:
    """The probability that a response to PROMPT has more than SHORT tokens: all ways to say SHORT + 1 of them."""
    model, alive = untrained(), torch.ones(1, dtype=torch.float64)
    states = torch.tensor([PROMPT])
    for _ in range(SHORT + 1):
        probs = model(input_ids=states).logits[:, -1].softmax(dim=-1)[:, 1:]  # of all tokens but end of text
        alive = (alive[:, None] * probs).flatten()
        letters = torch.arange(1, len(TOKENS)).repeat(len(states))[:, None]
        states = torch.cat([states.repeat_interleave(len(TOKENS) - 1, dim=0), letters], dim=1)
    return alive.sum().item()


def weight_distance(one: nn.Module, other: nn.Module) -> float:
    """The largest difference between corresponding weights of two models."""
    return max((a - b).abs().max().item() for a, b in zip(one.parameters(), other.parameters(), strict=True))


class FixedLogits(nn.Module):
    """A model that returns the same logits for any input, to see which of them a score depends on."""

    def __init__(self, *, rows: int, time: int):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        shape = rows, time, len(TOKENS)
        self.logits = nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64))

    def forward(self, **inputs: Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=self.logits)
