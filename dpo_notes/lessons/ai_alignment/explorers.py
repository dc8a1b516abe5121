"""The explorers of notebook 02: the imitation loss of a policy better than its data, and imitating the chosen."""

from collections.abc import Sequence

import ipywidgets as W
import torch
from matplotlib.artist import Artist
from matplotlib.figure import Figure

from dpo_notes.lessons.ai_alignment.pictures import (
    SHARES,
    ceiling_segments,
    legend_above,
    price_curve,
    price_panel,
    tilt_panel,
)
from dpo_notes.maths.filtering import filtering_rounds
from dpo_notes.maths.imitation import price_of_share
from dpo_notes.maths.optimum import kl_divergence
from dpo_notes.plots.runs import CHOSEN, POLICY, REFERENCE, REJECTED, TRUTH, open_axes, set_heights
from dpo_notes.teaching.live import Explorer
from dpo_notes.worlds.reviews.text_kinds import ANSWER_KINDS, answer_world
from dpo_notes.worlds.reviews.world import COUNTRY_VALUE, WRONG_SHARE

WRONG = torch.tensor([not is_right for _, is_right in ANSWER_KINDS], dtype=torch.float64)
POLITE = torch.tensor([tone == "polite" for tone, _ in ANSWER_KINDS], dtype=torch.float64)
MOST_DEMONSTRATIONS, MOST_ROUNDS = 100_000, 6


class ImitationExplorer(Explorer):
    """The share of wrong answers: its imitation loss, and its reward."""

    size = (10.0, 3.6)
    page_controls = ("count", "share")

    def make_controls(self) -> dict[str, W.ValueWidget]:
        return {
            "data_share": W.FloatSlider(
                value=WRONG_SHARE, min=0.02, max=0.5, step=0.02, description="wrong in the corpus"
            ),
            "count": W.FloatLogSlider(value=1000, min=1, max=5, step=0.25, description="demonstrations"),
            "share": W.FloatSlider(value=0.02, min=0.005, max=0.6, step=0.005, description="wrong in the policy"),
        }

    def build(self, figure: Figure) -> Sequence[Artist]:
        # One fixed draw of demonstrations, of which the first `count` are used: wrong where the number is low.
        self.draws = torch.rand(MOST_DEMONSTRATIONS, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        left, right = figure.subplots(1, 2)
        price_panel(left, WRONG_SHARE)
        self.curve, self.line = left.lines
        (self.price,) = left.plot([], [], "o", color=POLICY, markersize=9, label="the policy")
        left.legend(frameon=False, fontsize="small", loc="upper right")
        left.set_title("what imitation minimises")
        right.plot(SHARES, mean_reward(SHARES), color=TRUTH)
        (self.line_right,) = right.plot([], [], color=REFERENCE, linestyle="--")
        (self.reward,) = right.plot([], [], "o", color=POLICY, markersize=9)
        right.set(xlim=(0, 0.6), ylim=(-0.4, 1.05), xlabel="share of wrong answers in the policy")
        right.set(ylabel="reward (nats)", title="what we want")
        open_axes(right)
        return self.curve, self.line, self.price, self.line_right, self.reward

    def move(self, data_share: float, count: float, share: float) -> None:
        seen = self.seen_share(data_share, count)
        self.curve.set_ydata(price_curve(seen))
        self.line.set_xdata([seen, seen])
        self.line_right.set_data([seen, seen], [-0.4, 1.05])
        top = self.curve.axes.get_ylim()[1]  # a price above the picture is drawn at its edge; the words say it
        self.price.set_data([share], [min(price(seen, share), 0.98 * top)])
        self.reward.set_data([share], [mean_reward(share)])

    def describe(self, data_share: float, count: float, share: float) -> str:
        seen = self.seen_share(data_share, count)
        return (
            f"{round(count)} demonstrations, {seen:.1%} of them wrong. Imitation ends at {seen:.1%} wrong, "
            f"where the mean reward is {mean_reward(seen):.2f} nats. A policy with {share:.1%} wrong has {mean_reward(share):.2f}, "
            f"and pays {price(seen, share):.3f} nats an answer more."
        )

    def seen_share(self, data_share: float, count: float) -> float:
        """The share of wrong answers among the first `count` demonstrations."""
        return (self.draws[: round(count)] < data_share).double().mean().item()


class TiltExplorer(Explorer):
    """Imitating the chosen answers, round after round, below a ceiling that holds for any rewards."""

    size = (10.0, 3.8)
    page_controls = ("courtesy", "rounds")

    def make_controls(self) -> dict[str, W.ValueWidget]:
        return {
            "right": W.FloatSlider(
                value=2 * COUNTRY_VALUE, min=0, max=10, step=0.25, description="worth of being right"
            ),
            "courtesy": W.FloatSlider(value=0.5, min=-4, max=6, step=0.25, description="worth of courtesy"),
            "rounds": W.IntSlider(value=1, min=0, max=MOST_ROUNDS, description="rounds"),
        }

    def build(self, figure: Figure) -> Sequence[Artist]:
        world = answer_world(right=0.0, courtesy=0.0)
        left, right = figure.subplots(1, 2, width_ratios=(3, 2))
        self.bars, self.ceilings = tilt_panel(left, world, world.ref_log_probs, rounds=1)
        rounds = range(MOST_ROUNDS + 1)
        right.plot(rounds, [WRONG_SHARE ** (2**k) for k in rounds], ":", color=TRUTH, label="wrong at best")
        (self.wrong,) = right.plot([], [], "x-", color=REJECTED, label="wrong")
        (self.polite,) = right.plot([], [], "o-", color=CHOSEN, label="polite")
        (self.now,) = right.plot([], [], "--", color=REFERENCE)
        right.set(
            xlim=(-0.2, MOST_ROUNDS + 0.2), ylim=(0, 1.05), xlabel="rounds of filtering", ylabel="share of the answers"
        )
        open_axes(right)
        legend_above(right, columns=3)
        return *self.bars, self.ceilings, self.now, self.wrong, self.polite

    def move(self, right: float, courtesy: float, rounds: int) -> None:
        world = answer_world(right=right, courtesy=courtesy)
        self.path = filtering_rounds(world.reward, world.ref_log_probs, rounds=MOST_ROUNDS)
        probs = self.path.exp()
        set_heights(self.bars, probs[rounds].tolist())
        self.ceilings.set_segments(ceiling_segments(world, rounds=rounds))
        steps = range(MOST_ROUNDS + 1)
        self.wrong.set_data(steps, probs @ WRONG)
        self.polite.set_data(steps, probs @ POLITE)
        self.now.set_data([rounds, rounds], [0, 1.05])

    def describe(self, right: float, courtesy: float, rounds: int) -> str:
        world, policy = answer_world(right=right, courtesy=courtesy), self.path[rounds]
        factor = (policy - world.ref_log_probs).exp().max().item()
        gain = ((policy.exp() - world.ref_log_probs.exp()) @ world.reward).item()
        kl = kl_divergence(policy, world.ref_log_probs).item()
        return (
            f"After {rounds} round{'s' * (rounds != 1)} of imitating the chosen: {(policy.exp() @ WRONG).item():.1%} wrong, "
            f"{(policy.exp() @ POLITE).item():.1%} polite. The most favoured kind has grown {factor:.2f} times, below the "
            f"limit of {2**rounds}. Reward {gain:+z.2f} nats, KL from the reference {kl:z.3f} nats."
        )


def price(data_share: float, share: float) -> float:
    """The extra imitation loss of a policy with this share of wrong answers, in nats an answer."""
    return price_of_share(*torch.tensor([data_share, share], dtype=torch.float64)).item()


def mean_reward(wrong_share):
    """The mean of COUNTRY_VALUE for a right answer and its negative for a wrong one (nats)."""
    return COUNTRY_VALUE * (1 - 2 * wrong_share)
