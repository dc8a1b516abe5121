"""What a policy says when it is asked: KL, length, and what a judge makes of it."""

import math

import few_words
import pytest
import torch
from few_words import END, LONGEST, everything_sayable, opinionated_model
from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast

from dpo_notes.language.generate import sample_ids
from dpo_notes.language.load import frozen_copy
from dpo_notes.training import evaluate
from dpo_notes.training.evaluate import kl_estimates, mean_and_error, on_policy_metrics, respond, response_kl


@pytest.fixture(scope="module")
def five_words() -> PreTrainedTokenizerFast:
    return few_words.five_words()


@pytest.fixture(scope="module")
def policy() -> GPT2LMHeadModel:
    return opinionated_model(1)


@pytest.fixture(scope="module")
def reference() -> GPT2LMHeadModel:
    return opinionated_model(2)


@torch.no_grad()
def logp(model: GPT2LMHeadModel, prompt: tuple[int, ...], response: list[int]) -> float:
    """log pi(response | prompt), a token at a time, in the plainest way."""
    total, ids = 0.0, list(prompt)
    for token in response:
        total += model(input_ids=torch.tensor([ids])).logits[0, -1].double().log_softmax(-1)[token].item()
        ids.append(token)
    return total


@pytest.fixture(scope="module")
def by_enumeration(policy, reference) -> tuple[list[list[int]], torch.Tensor, float]:
    """(all responses to the prompt "a b", their probabilities, KL): KL is the sum of p log(p / q) over all of them."""
    responses = everything_sayable()
    log_p, log_q = (torch.tensor([logp(m, (1, 2), y) for y in responses]) for m in (policy, reference))
    return responses, log_p.exp(), (log_p.exp() * (log_p - log_q)).sum().item()


def test_everything_sayable_is_85_responses_whose_probabilities_sum_to_1(by_enumeration):
    """1 that ends at once, 4 that end after a word, and 4 * 4 * 5 of three tokens."""
    responses, probabilities, kl = by_enumeration
    assert len({tuple(response) for response in responses}) == len(responses) == 85
    assert probabilities.sum().item() == pytest.approx(1, abs=1e-5)
    assert kl > 0.3  # the two models differ enough for the tests below to mean something


def test_expected_sum_of_exact_token_divergences_is_the_divergence_of_whole_responses(
    policy, reference, by_enumeration
):
    """The chain rule of KL, with every response weighted by its probability: nothing is left to chance."""
    responses, probabilities, kl = by_enumeration
    sums = response_kl(policy, reference, [(1, 2)] * len(responses), responses)
    assert (probabilities * sums).sum().item() == pytest.approx(kl, rel=1e-5)


def test_sampled_kl_agrees_with_enumeration_within_its_own_standard_error(
    policy, reference, five_words, by_enumeration
):
    how = {"max_new_tokens": LONGEST, "generator": torch.Generator().manual_seed(0)}
    metrics = on_policy_metrics(policy, reference, five_words, ["a b"] * 2000, **how)
    assert abs(metrics["kl"] - by_enumeration[2]) < 3 * metrics["kl_error"]
    assert metrics["kl_error"] < 0.02 * metrics["kl"]
    length = sum(p * len(y) for y, p in zip(*by_enumeration[:2], strict=True)).item()
    assert metrics["length"] == pytest.approx(length, abs=0.05)


def test_exact_token_divergences_vary_less_than_log_ratios_of_the_tokens_drawn(policy, reference, by_enumeration):
    """Why they are used: log pi - log pi_ref of the response has the same mean and several times the variance."""
    responses, probabilities, kl = by_enumeration
    sums = response_kl(policy, reference, [(1, 2)] * len(responses), responses)
    ratios = torch.tensor([logp(policy, (1, 2), y) - logp(reference, (1, 2), y) for y in responses])
    exact, drawn = ((probabilities * (values - kl).square()).sum() for values in (sums, ratios))
    assert exact < drawn / 2


def test_each_estimator_is_the_sum_along_the_response_of_its_token_values(policy, reference):
    """The mean over all 85 responses of k1, k2, k3, written out a token at a time."""
    responses = everything_sayable()
    estimates = kl_estimates(policy, reference, [(1, 2)] * len(responses), responses)
    sums = {"k1": [], "k2": [], "k3": []}
    for response in responses:
        seen = [((1, 2, *response[:t]), [token]) for t, token in enumerate(response)]
        ratios = [logp(policy, *step) - logp(reference, *step) for step in seen]
        sums["k1"].append(sum(ratios))
        sums["k2"].append(sum(ratio**2 / 2 for ratio in ratios))
        sums["k3"].append(sum(math.exp(-ratio) - 1 + ratio for ratio in ratios))
    for name, values in sums.items():
        mean, error = mean_and_error(torch.tensor(values, dtype=torch.float64))
        assert estimates[name] == (pytest.approx(mean, rel=1e-4), pytest.approx(error, rel=1e-4))
    exact = response_kl(policy, reference, [(1, 2)] * len(responses), responses)
    assert estimates["exact"] == mean_and_error(exact)


def test_exact_k1_and_k3_agree_with_enumeration_and_k2_does_not(policy, reference, five_words, by_enumeration):
    how = {"max_new_tokens": LONGEST, "generator": torch.Generator().manual_seed(0)}
    sampled = respond(policy, five_words, ["a b"] * 3000, **how)
    estimates = kl_estimates(policy, reference, sampled.prompt_ids, sampled.response_ids)
    off = {name: abs(mean - by_enumeration[2]) / error for name, (mean, error) in estimates.items()}
    assert max(off["exact"], off["k1"], off["k3"]) < 4
    assert off["k2"] > 5
    assert estimates["exact"][1] < min(estimates["k1"][1], estimates["k3"][1]) / 1.3  # the same mean, less noise


def test_all_estimates_of_a_policy_that_is_the_reference_are_0(policy):
    estimates = kl_estimates(policy, frozen_copy(policy), [(1,), (2, 3)], [[3, END], [4]])
    assert estimates == dict.fromkeys(("exact", "k1", "k2", "k3"), (0.0, 0.0))


def test_mean_and_error_by_hand():
    """1, 2, 3, 4: variance 5/3, error sqrt(5/3 / 4). A single value cannot tell its error."""
    assert mean_and_error(torch.tensor([1.0, 2.0, 3.0, 4.0])) == (2.5, pytest.approx(math.sqrt(5 / 12)))
    assert mean_and_error(torch.tensor([7.0])) == (7.0, 0.0)


def test_each_response_has_its_own_kl_whatever_is_scored_beside_it(policy, reference):
    """More rows than go through the model at once, of unlike lengths, in one call and one by one."""
    responses = everything_sayable()[::4]
    prompts = ([(1,), (2, 3, 4), (3, 1)] * len(responses))[: len(responses)]
    assert len(responses) > evaluate.ROWS_PER_FORWARD
    together = response_kl(policy, reference, prompts, responses)
    alone = [response_kl(policy, reference, [p], [y]) for p, y in zip(prompts, responses, strict=True)]
    torch.testing.assert_close(together, torch.cat(alone))


def test_kl_of_a_policy_that_is_the_reference_is_0(policy, five_words):
    metrics = on_policy_metrics(
        policy, frozen_copy(policy), five_words, ["a", "b c"], max_new_tokens=3, generator=torch.Generator()
    )
    assert metrics["kl"] == metrics["kl_error"] == 0.0


def says(monkeypatch, responses: list[list[int]]) -> None:
    """Let the policy's next responses be these."""
    monkeypatch.setattr(evaluate, "sample_ids", lambda *_, **__: responses)


def test_kl_error_is_the_standard_error_of_the_mean(monkeypatch, policy, reference, five_words):
    """KLs 1, 2, 3, 4: mean 2.5, variance (2.25 + 0.25 + 0.25 + 2.25) / 3 = 5/3, error sqrt(5/3 / 4) = 0.6455."""
    monkeypatch.setattr(evaluate, "response_kl", lambda *_: torch.tensor([1.0, 2.0, 3.0, 4.0]))
    metrics = on_policy_metrics(policy, reference, five_words, ["a"] * 4, max_new_tokens=2, generator=torch.Generator())
    assert metrics["kl"] == 2.5
    assert metrics["kl_error"] == pytest.approx(math.sqrt(5 / 12))


def test_length_counts_end_of_text(monkeypatch, policy, five_words):
    """ "c d <end>" is 3 tokens, "d" (cut) is 1, "<end>" is 1: mean 5/3."""
    says(monkeypatch, [[3, 4, END], [4], [END]])
    metrics = on_policy_metrics(policy, None, five_words, ["a"] * 3, max_new_tokens=3, generator=torch.Generator())
    assert metrics == {"length": pytest.approx(5 / 3)}  # no reference, no KL; no judge, nothing else


def test_a_judge_hears_prompts_and_texts_and_its_values_are_averaged(monkeypatch, policy, five_words):
    says(monkeypatch, [[3, 4, END], [4], [END]])
    heard = []

    def judge(prompts, responses):
        heard.append((list(prompts), list(responses)))
        return {"words": torch.tensor([float(len(text.split())) for text in responses])}

    how = {"max_new_tokens": 3, "generator": torch.Generator(), "judge": judge}
    metrics = on_policy_metrics(policy, None, five_words, ["a", "b", "a"], **how)
    assert heard == [(["a", "b", "a"], ["c d", "d", ""])]
    assert metrics == {"length": pytest.approx(5 / 3), "words": 1.0}


def test_responses_are_those_of_the_generator_at_temperature_1(policy, reference, five_words):
    """The same seed gives the same metrics, and the same responses as sampling with it."""
    prompts = ["a", "b c", "d"] * 5
    how = [{"max_new_tokens": 4, "generator": torch.Generator().manual_seed(7)} for _ in range(3)]
    first, second = (on_policy_metrics(policy, reference, five_words, prompts, **each) for each in how[:2])
    assert first == second
    ids = [tuple(five_words(prompt)["input_ids"]) for prompt in prompts]
    responses = sample_ids(policy, ids, eos_id=END, **how[2])
    assert first["kl"] == pytest.approx(response_kl(policy, reference, ids, responses).mean().item())
