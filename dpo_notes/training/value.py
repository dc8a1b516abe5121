"""The policy together with a value function, which reads the policy's hidden states but never trains them."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from dpo_notes.language.head import output_and_logps
from dpo_notes.language.score import at_responses
from dpo_notes.pairs.batches import Batch

WIDTH = 128  # of the hidden layer


class PolicyWithValue(nn.Module):
    """A policy and V, a small network that predicts the reward still to come from the policy's hidden states at s_t.

    s_t is the prompt with the response before its token t. V reads the hidden states of all layers there, each
    normalised to mean 0 and variance 1, and detached: fitting V does not change the policy. All layers predict better
    than the last one: on responses of the embedded model, a linear function explains 52% of the variance of the reward
    to come, instead of 38%.
    """

    def __init__(self, policy: PreTrainedModel, *, seed: int):
        super().__init__()
        self.policy = policy
        config = policy.config.get_text_config()
        features = (config.num_hidden_layers + 1) * config.hidden_size
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.value = nn.Sequential(nn.Linear(features, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 1))
        nn.init.zeros_(self.value[-1].weight)  # V starts at 0
        nn.init.zeros_(self.value[-1].bias)

    def forward(self, batch: Batch) -> tuple[Float[Tensor, "rows time"], Float[Tensor, "rows time features"]]:
        """(log pi(y_t | s_t) in nats, V's input at s_t), indexed like `batch.input_ids`; 0 outside the responses."""
        before = batch.response_index - 1  # the position before a token predicts it
        tokens = batch.input_ids.flatten()[batch.response_index]
        asked = {"input_ids": batch.input_ids, "output_hidden_states": True}
        output, logps = output_and_logps(self.policy, before, tokens, **asked)
        states = [layer.detach().flatten(0, 1)[before] for layer in output.hidden_states]
        features = torch.cat([nn.functional.layer_norm(state, state.shape[-1:]) for state in states], dim=-1)
        return at_responses(logps, batch), at_responses(features, batch)

    def values(self, states: Float[Tensor, "*places features"]) -> Float[Tensor, "*places"]:
        """V of each state, in reward. Known value: 0 before any training."""
        return self.value(states).squeeze(-1)
