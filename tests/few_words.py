"""A world of five words: all that a model can say in three tokens can be written down, and sums over it are exact."""

from itertools import product

import torch
from intervals import deviations
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from dpo_notes.language.score import response_token_logps
from dpo_notes.pairs.batches import collate

WORDS = ("<end>", "a", "b", "c", "d")
END, LONGEST = 0, 3


def five_words() -> PreTrainedTokenizerFast:
    """A tokenizer with one token a word; end of text is also padding."""
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="<end>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", pad_token="<end>")


def opinionated_model(seed: int) -> GPT2LMHeadModel:
    """A GPT-2 of five words whose predictions are far from uniform and depend on what came before."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = GPT2Config(vocab_size=len(WORDS), n_positions=8, n_embd=8, n_layer=1, n_head=1, eos_token_id=END)
        model = GPT2LMHeadModel(config).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(torch.randn(parameter.shape) * 0.6)
    return model


def everything_sayable(longest: int = LONGEST) -> list[list[int]]:
    """All responses of at most `longest` tokens: those that end in time, and those that are cut there."""
    words = range(1, len(WORDS))
    ended = [[*start, END] for length in range(longest) for start in product(words, repeat=length)]
    return ended + [list(response) for response in product(words, repeat=longest)]


def text_of(response: list[int]) -> str:
    """The words of a response."""
    return " ".join(WORDS[token] for token in response if token != END)


def count_words(prompts, responses) -> torch.Tensor:
    """A reward: 1 for each "a", -1 for each "b", 0.5 for "c", and 0.25 for a response that begins with "d"."""
    values = {"a": 1.0, "b": -1.0, "c": 0.5}
    return torch.tensor(
        [sum(values.get(word, 0.0) for word in text.split()) + 0.25 * text.startswith("d") for text in responses]
    )


class Recorder:
    """In the place of an OptimizerStep: keeps the gradient of each step, and leaves the model as it is."""

    def __init__(self, model: torch.nn.Module):
        self.model, self.gradients, self.metrics = model, [], []

    def __call__(self, step: int, microbatches, share) -> dict[str, float]:
        self.model.zero_grad()
        shares = [share(microbatch) for microbatch in microbatches]
        sum(metrics["loss"] for metrics in shares).backward()
        touched = {name: p.grad.clone() for name, p in self.model.named_parameters() if p.grad is not None}
        self.gradients.append(touched)
        self.metrics.append({name: sum(metrics[name].item() for metrics in shares) for name in shares[0]})
        return self.metrics[-1] | {"grad_norm": 0.0, "learning_rate": 0.0}


def gradient_of_objective(policy, reference, reward_fn, prompts: list[str], *, beta: float, longest: int = LONGEST):
    """J and its gradient: autograd through the sum over all responses of pi(y | x) (r - beta log pi / pi_ref)."""
    responses, tokenizer = everything_sayable(longest), five_words()
    texts = [text_of(response) for response in responses]
    objective = 0
    for prompt in prompts:
        batch = collate([tuple(tokenizer(prompt)["input_ids"])] * len(responses), responses)
        logps, ref_logps = (response_token_logps(model, batch).sum(1) for model in (policy, reference))
        rewards = reward_fn([prompt] * len(responses), texts)
        objective = objective + (logps.exp() * (rewards - beta * (logps - ref_logps.detach()))).sum() / len(prompts)
    policy.zero_grad()
    objective.backward()
    gradient = {name: parameter.grad.clone() for name, parameter in policy.named_parameters()}
    policy.zero_grad()
    return objective.item(), gradient


def flat(gradient: dict[str, torch.Tensor]) -> torch.Tensor:
    """All numbers of a gradient in one row, in float64."""
    return torch.cat([gradient[name].flatten() for name in sorted(gradient)]).double()


def check_mean_gradient(samples: torch.Tensor, exact: torch.Tensor) -> None:
    """The mean of sampled gradients is the exact one: along 31 directions, the exact one's own first, within 4 errors.

    Not weight by weight, because weights that seldom matter have no normal distribution, and some never matter at all.
    """
    directions = torch.randn(len(exact), 30, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    directions = torch.cat([exact[:, None], directions], dim=1)
    assert deviations(samples @ directions, exact @ directions).abs().max() < 4
    assert torch.nn.functional.cosine_similarity(samples.mean(0), exact, dim=0) > 0.97
