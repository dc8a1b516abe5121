"""Tests of a DPO pipeline. Each takes a `Pipeline` and raises AssertionError with what it measured if that is wrong."""

import math
from collections.abc import Callable

import torch

from dpo_notes.lessons.computing_log_probabilities.zoo import oracle
from dpo_notes.lessons.computing_log_probabilities.zoo.letters import PAIRS, letter_model, letter_tokenizer
from dpo_notes.lessons.computing_log_probabilities.zoo.right import Pipeline
from dpo_notes.lessons.computing_log_probabilities.zoo.runs import BETA, trained
from dpo_notes.pairs.encode import EncodedPair

ROUNDING = 1e-9  # nats; all is computed in float64


def the_loss_starts_at_log_2(pipeline: Pipeline) -> None:
    """Before the first step policy and reference are one model: every loss is log 2."""
    losses = _measured(pipeline)["loss"]
    worst = max(losses.tolist(), key=lambda value: abs(value - math.log(2)))
    _claim(abs(worst - math.log(2)) < ROUNDING, f"a pair starts at a loss of {worst:.3f}, not log 2 = 0.693")


def the_same_call_gives_the_same(pipeline: Pipeline) -> None:
    """Two calls with the same weights and the same pairs give the same numbers."""
    policy, reference = pipeline.start(letter_model())
    batch = pipeline.batch(letter_tokenizer(), PAIRS)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        first, second = (pipeline.measure(policy, reference, batch, beta=BETA)["logps/chosen"] for _ in range(2))
    _agree(first, second, "the same pair, scored twice")


def scores_equal_a_naive_loop(pipeline: Pipeline) -> None:
    """log pi(y | x) is what comes out token by token, without a batch, a mask or a shift."""
    _agree(_scores(pipeline), oracle.pair_logps(), "a response, by the pipeline and by the loop")


def no_log_probability_is_above_0(pipeline: Pipeline) -> None:
    """A probability is at most 1, its logarithm at most 0."""
    highest = _scores(pipeline).max().item()
    _claim(highest <= 0, f"a log-probability of {highest:+.2f}")


def all_responses_sum_to_one(pipeline: Pipeline) -> None:
    """The probabilities of all responses of up to three tokens, and of whatever goes on longer, sum to 1."""
    prompt, responses = oracle.PROMPT, oracle.short_responses()
    pairs = [EncodedPair(prompt, response, response) for response in responses]
    logps, _ = _score(pipeline, pairs).chunk(2)
    total = logps.exp().sum().item() + oracle.goes_on()
    _claim(abs(total - 1) < ROUNDING, f"the probabilities of everything sum to {total:.3g}")


def a_beginning_costs_the_same(pipeline: Pipeline) -> None:
    """Chain rule: to move a beginning from the response into the prompt costs the same, whatever comes after it."""
    end = letter_tokenizer().eos_token_id
    before, (one, other) = (1, 2), ((3, end), (4, 3, 1, end))
    in_response = EncodedPair(oracle.PROMPT, before + one, before + other)
    in_prompt = EncodedPair(oracle.PROMPT + before, one, other)
    one_in, one_out, other_in, other_out = _score(pipeline, [in_response, in_prompt]).tolist()
    costs = one_in - one_out, other_in - other_out
    _claim(abs(costs[0] - costs[1]) < ROUNDING, "one beginning costs {:.3f} or {:.3f} nats".format(*costs))


def the_tokens_scored_spell_the_response(pipeline: Pipeline) -> None:
    """Read aloud, the tokens in the mask are the response: not more, not less, and nobody else's."""
    wanted = [pair.chosen for pair in PAIRS] + [pair.rejected for pair in PAIRS]
    for text, ids in zip(wanted, _masked_ids(pipeline), strict=True):
        found = letter_tokenizer().decode(ids, skip_special_tokens=True)
        _claim(found == text, f"the response is {text!r}, and what is scored reads {found!r}")


def the_end_of_text_is_scored_once(pipeline: Pipeline) -> None:
    """A response ends with end of text, which the model has to choose like any other token."""
    for ids in _masked_ids(pipeline):
        ends = ids.count(letter_tokenizer().eos_token_id)
        _claim(ends == 1, f"end of text is scored {ends} times in one response")


def the_prompt_is_not_judged(pipeline: Pipeline) -> None:
    """No gradient reaches the predictions of the prompt's tokens."""
    slopes, border, _ = _slopes(pipeline)
    _claim(not slopes[: border - 1].any(), "the predictions of the prompt's tokens get a gradient")


def nothing_is_asked_after_the_end(pipeline: Pipeline) -> None:
    """What the model predicts after it has read end of text is nobody's concern: no gradient there."""
    slopes, _, end = _slopes(pipeline)
    _claim(not slopes[end:].any(), "the prediction made after end of text gets a gradient")


def company_changes_nothing(pipeline: Pipeline) -> None:
    """A pair alone scores as it does in a batch, where longer pairs force padding on it."""
    alone, together = _scores(pipeline, pairs=PAIRS[-1:]), _scores(pipeline)
    _agree(alone, together[[len(PAIRS) - 1, -1]], "a response, alone and in a batch")


def left_padding_equals_right(pipeline: Pipeline) -> None:
    """Padding on the left gives what padding on the right gives."""
    _agree(_scores(pipeline, side="left"), _scores(pipeline), "a response, padded on the left and on the right")


def a_known_margin_gives_its_loss(pipeline: Pipeline) -> None:
    """Log-ratios 1 and −2, beta 0.5: rewards 0.5 and −1, margin 1.5, loss −log sigma(1.5) = log(1 + e^−1.5) = 0.201."""
    policy, reference = (torch.tensor(logps, dtype=torch.float64) for logps in ([-3.0, -5.0], [-4.0, -3.0]))
    found = pipeline.loss(*pipeline.rewards(policy, reference, beta=0.5)).item()
    _claim(abs(found - math.log(1 + math.exp(-1.5))) < ROUNDING, f"a margin of 1.5 has loss {found:.3f}, not 0.201")


def the_first_gradient_is_known(pipeline: Pipeline) -> None:
    """At the start it is −beta/2 times the mean of grad log pi(y_w) − grad log pi(y_l): sigma(0) = 1/2."""
    policy, reference = pipeline.start(letter_model())
    batch = pipeline.batch(letter_tokenizer(), PAIRS)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        pipeline.measure(policy, reference, batch, beta=BETA)["loss"].mean().backward()
    found = torch.cat([parameter.grad.flatten() for parameter in policy.parameters()])
    wanted = -BETA / 2 * oracle.margin_gradient()
    along, off = (found @ wanted / wanted.norm() ** 2).item(), ((found - wanted).norm() / wanted.norm()).item()
    _claim(off < 1e-6, f"the first gradient goes {along:.2f} times the right way, and is off by {off:.0%}")


def training_lowers_its_loss(pipeline: Pipeline) -> None:
    """After a few steps the loss that is trained is lower than before."""
    run = trained(pipeline, side="right")
    first, last = run.rows[0]["loss"], run.rows[-1]["loss"]
    _claim(last < first - 1e-3, f"the loss goes from {first:.3f} to {last:.3f}")


def training_raises_the_margin(pipeline: Pipeline) -> None:
    """After a few steps the chosen responses have gained on the rejected ones, as the right code measures it."""
    margin = trained(pipeline, side="right").rows[-1]["true/margins"]
    _claim(margin > 0, f"the margin, by the right code, goes from 0 to {margin:+.3f}")


def the_reference_does_not_move(pipeline: Pipeline) -> None:
    """Training leaves every weight of the reference as it was."""
    moved = oracle.weight_distance(trained(pipeline, side="right").reference, letter_model())
    _claim(moved == 0, f"training moved a weight of the reference by {moved:.3f}")


NAMED_TESTS: tuple[Callable[[Pipeline], None], ...] = (
    the_loss_starts_at_log_2,
    the_same_call_gives_the_same,
    scores_equal_a_naive_loop,
    no_log_probability_is_above_0,
    all_responses_sum_to_one,
    a_beginning_costs_the_same,
    the_tokens_scored_spell_the_response,
    the_end_of_text_is_scored_once,
    the_prompt_is_not_judged,
    nothing_is_asked_after_the_end,
    company_changes_nothing,
    left_padding_equals_right,
    a_known_margin_gives_its_loss,
    the_first_gradient_is_known,
    training_lowers_its_loss,
    training_raises_the_margin,
    the_reference_does_not_move,
)


def _measured(pipeline: Pipeline) -> dict[str, torch.Tensor]:
    policy, reference = pipeline.start(letter_model())
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)  # for the fault that leaves dropout on
        return pipeline.measure(policy, reference, pipeline.batch(letter_tokenizer(), PAIRS), beta=BETA)


@torch.no_grad()
def _scores(pipeline: Pipeline, *, pairs=PAIRS, side: str = "right") -> torch.Tensor:
    """The pipeline's scores of these pairs by the untrained model, dropout off."""
    return pipeline.score(oracle.untrained(), pipeline.batch(letter_tokenizer(), pairs, side=side))


@torch.no_grad()
def _score(pipeline: Pipeline, encoded: list[EncodedPair]) -> torch.Tensor:
    """The same for pairs that are tokens already, so `encode` is not involved."""
    batch = pipeline.collate(encoded, end=letter_tokenizer().eos_token_id, side="right")
    return pipeline.score(oracle.untrained(), batch)


def _masked_ids(pipeline: Pipeline) -> list[list[int]]:
    batch = pipeline.batch(letter_tokenizer(), PAIRS)
    return [ids[mask].tolist() for ids, mask in zip(batch.ids, batch.mask, strict=True)]


def _slopes(pipeline: Pipeline) -> tuple[torch.Tensor, int, int]:
    """(which predictions of one row get a gradient, where its response begins, where its end of text stands)."""
    end = letter_tokenizer().eos_token_id
    short, long = (2, 3, end), (1, 3, 2, 3, 3, end)
    batch = pipeline.collate([EncodedPair(oracle.PROMPT, short, long)], end=end, side="right")
    model = oracle.FixedLogits(rows=2, time=batch.ids.shape[1])
    pipeline.score(model, batch)[0].backward()  # of the shorter row, which is padded
    border = len(oracle.PROMPT)
    return model.logits.grad[0].abs().sum(-1) > 1e-12, border, border + len(short) - 1


def _agree(found: torch.Tensor, wanted: torch.Tensor, what: str) -> None:
    pair = max(zip(found.tolist(), wanted.tolist(), strict=True), key=lambda pair: abs(pair[0] - pair[1]))
    _claim(abs(pair[0] - pair[1]) < ROUNDING, f"{what}: {pair[0]:.3f} and {pair[1]:.3f} nats")


def _claim(holds: bool, symptom: str) -> None:
    if not holds:
        raise AssertionError(symptom)
