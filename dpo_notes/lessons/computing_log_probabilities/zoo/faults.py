"""The animals of the zoo: each fault with its symptom, why it is wrong, and the test named for it."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace

from dpo_notes.lessons.computing_log_probabilities.zoo import named_tests, wrong
from dpo_notes.lessons.computing_log_probabilities.zoo.right import RIGHT, Pipeline
from dpo_notes.teaching.source import without_docstring


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One line of `right.py` gone wrong.

    wrong: the faulty function, which replaces RIGHT's `stage`. title: its name in words. symptom: what a short
    training run shows. explanation: why it is wrong, and why it goes unnoticed. test: one of NAMED_TESTS that it fails.
    side: where its training run pads; padding on the left is harmless in itself.
    """

    wrong: Callable
    stage: str
    title: str
    symptom: str
    explanation: str
    test: Callable[[Pipeline], None]
    side: str = "right"

    @property
    def name(self) -> str:
        return self.wrong.__name__

    @property
    def pipeline(self) -> Pipeline:
        """The right pipeline with this fault in it."""
        return replace(RIGHT, **{self.stage: self.wrong})

    @property
    def changed_lines(self) -> list[tuple[str, str]]:
        """(right line, wrong line) wherever the bodies of the two functions differ, read from their source."""
        right, faulty = (_body(function) for function in (getattr(RIGHT, self.stage), self.wrong))
        return [(a.strip(), b.strip()) for a, b in zip(right, faulty, strict=True) if a != b]

    @property
    def right_line(self) -> str:
        return self.changed_lines[0][0]

    @property
    def wrong_line(self) -> str:
        return self.changed_lines[0][1]


def _body(function: Callable) -> list[str]:
    """The lines of a function after its signature and docstring."""
    lines = without_docstring(inspect.getsource(function)).splitlines()
    start = next(number for number, line in enumerate(lines) if line.endswith(":"))
    return lines[start + 1 :]


FAULTS = (
    Fault(
        wrong=wrong.pair_swapped,
        stage="encode",
        title="pair swapped",
        symptom="The log is flawless: the loss falls, margin and accuracy rise. The right code sees the margin fall.",
        explanation="Two columns were read in the wrong order. Every number after that believes it, the metrics too.",
        test=named_tests.training_raises_the_margin,
    ),
    Fault(
        wrong=wrong.border_merged,
        stage="encode",
        title="border token merged",
        symptom="Nearly the right run; the log-probabilities are a little off from the start.",
        explanation="Tokenized as one text, a + b became one token, and the cut fell behind it: the response lost its first "
        "letter. A response that begins with a space is safe, as byte-level BPE glues no space to the word before it.",
        test=named_tests.the_tokens_scored_spell_the_response,
    ),
    Fault(
        wrong=wrong.end_missing,
        stage="encode",
        title="end of text missing",
        symptom="The log-probabilities are nearer to 0 than they should be; the rest looks healthy.",
        explanation="To stop is a choice of the policy too. Unscored it drifts, and the answers change their length.",
        test=named_tests.the_end_of_text_is_scored_once,
    ),
    Fault(
        wrong=wrong.end_masked,
        stage="collate",
        title="end of text masked",
        symptom="The log-probabilities are nearer to 0 than they should be; the rest looks healthy.",
        explanation="Padding was masked by its id, and in GPT-2 that is the id of end of text: the real one went with it. "
        "Mask by length.",
        test=named_tests.all_responses_sum_to_one,
    ),
    Fault(
        wrong=wrong.prompt_scored,
        stage="collate",
        title="prompt scored too",
        symptom="The log-probabilities are far too low. Loss, margin and gradient are those of the right code.",
        explanation="Both responses answer the same prompt, so its share cancels in the margin. It would not in a mean over "
        "tokens, nor in a loss that looks at one response alone.",
        test=named_tests.the_prompt_is_not_judged,
    ),
    Fault(
        wrong=wrong.pad_scored,
        stage="collate",
        title="padding scored",
        symptom="The log-probabilities are too low from the start, and the log has a larger margin than the right code.",
        explanation="A response pays for the length of its neighbours, and the shorter side of a pair pays more. Part of the "
        "training then goes into foreseeing padding.",
        test=named_tests.company_changes_nothing,
    ),
    Fault(
        wrong=wrong.positions_from_the_edge,
        stage="collate",
        title="positions from the edge",
        symptom="Padded on the left, the run looks healthy; its log-probabilities are off from the start.",
        explanation="GPT-2 has learnt a vector for each position. With padding on the left the text begins at position 3 or "
        "5, where in the model's experience no text begins. Padding on the right hides the fault.",
        test=named_tests.left_padding_equals_right,
        side="left",
    ),
    Fault(
        wrong=wrong.log_forgotten,
        stage="score",
        title="log forgotten",
        symptom="Log-probabilities above 0, a small gradient, and a loss that falls slowly.",
        explanation="The sum of probabilities is the probability of nothing. Yet it rises when the tokens get likelier, so it "
        "can be trained.",
        test=named_tests.no_log_probability_is_above_0,
    ),
    Fault(
        wrong=wrong.no_shift,
        stage="score",
        title="no shift",
        symptom="The loss falls; the margin of the log and that of the right code part ways.",
        explanation="The model is asked for a token that it has just read. It learns to echo or not to echo, which says "
        "little about what it would say.",
        test=named_tests.nothing_is_asked_after_the_end,
    ),
    Fault(
        wrong=wrong.mask_shifted,
        stage="score",
        title="mask shifted by one",
        symptom="The loss falls as it should; the log-probabilities are off from the start.",
        explanation="The first token of each response goes free, and what follows end of text is scored in its place. Often "
        "the first token is the one that matters.",
        test=named_tests.a_beginning_costs_the_same,
    ),
    Fault(
        wrong=wrong.mean_for_sum,
        stage="score",
        title="mean for sum",
        symptom="Log-probabilities of a single token's size, a small gradient, and a loss that falls slowly.",
        explanation="log pi(y | x) is a sum. The mean is another quantity, which some losses do want; with this one it makes "
        "beta depend on the length of each response.",
        test=named_tests.scores_equal_a_naive_loop,
    ),
    Fault(
        wrong=wrong.reference_left_out,
        stage="rewards",
        title="reference left out",
        symptom="The loss does not start at log 2, nor the margin at 0; the log-probabilities start as they should.",
        explanation="Without the reference a response that was likely all along counts as one that training has made likely, "
        "and nothing holds the policy back.",
        test=named_tests.the_loss_starts_at_log_2,
    ),
    Fault(
        wrong=wrong.beta_missing,
        stage="rewards",
        title="beta missing",
        symptom="All looks right and goes fast: the first gradient is too large by the factor 1/beta, the loss is soon near 0.",
        explanation="This is DPO with beta = 1, whatever the settings say. The run is not broken, only not the one ordered.",
        test=named_tests.the_first_gradient_is_known,
    ),
    Fault(
        wrong=wrong.sign_flipped,
        stage="loss",
        title="sign flipped",
        symptom="The loss falls from log 2, the margin falls with it, and the accuracy never leaves 0.",
        explanation="The policy learns the opposite, and learns it well. Whoever looks at the loss alone is content.",
        test=named_tests.a_known_margin_gives_its_loss,
    ),
    Fault(
        wrong=wrong.reference_trained,
        stage="start",
        title="reference trained",
        symptom="The loss stands at log 2 and the margin at 0 for ever, while the log-probabilities run away.",
        explanation="Policy and reference are one object, so their log-ratio is always 0. The gradient never learns that it "
        "has been followed, and never shrinks. A reference is a copy.",
        test=named_tests.the_reference_does_not_move,
    ),
    Fault(
        wrong=wrong.dropout_left_on,
        stage="start",
        title="dropout left on",
        symptom="Nothing starts where it should, neither loss nor margin nor log-probabilities, and the curves are ragged.",
        explanation="The policy is measured with a tenth of its units missing, the reference with all of them. The difference "
        "of two log-probabilities is what DPO lives on, and this is noise in it.",
        test=named_tests.the_same_call_gives_the_same,
    ),
)
