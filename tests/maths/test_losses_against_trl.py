"""Our losses and TRL 1.16's own methods, fed the same log-probabilities, give the same loss and the same gradient.

The methods run as TRL ships them, on a stand-in for the trainer that holds the settings they read, and on a stand-in
for the model that returns given per-token log-probabilities. So nothing is trained, and nothing is left to chance.
"""

import re
from collections import defaultdict
from functools import partial
from types import MethodType, SimpleNamespace

import pytest
import torch
from tensors import seeded

from dpo_notes.maths.logps import sequence_logps, token_logps
from dpo_notes.maths.loss_family import (
    aot_loss,
    apo_down_loss,
    apo_zero_loss,
    bco_loss,
    cpo_loss,
    discopop_loss,
    exo_loss,
    f_divergence_score,
    hinge_loss,
    ipo_loss,
    kto_baseline,
    kto_loss,
    nca_loss,
    orpo_loss,
    robust_loss,
    simpo_loss,
    sppo_loss,
)
from dpo_notes.maths.losses import dpo_loss, preference_metrics

pytest.importorskip("trl", reason="TRL is the oracle of this file")

from transformers import GPT2Config, GPT2LMHeadModel
from trl import DPOTrainer, KTOTrainer
from trl.experimental.cpo import CPOTrainer
from trl.experimental.orpo import ORPOTrainer
from trl.trainer.utils import add_fused_lm_head

BETA, SMOOTHING, PAIRS, TIME = 0.3, 0.1, 5, 12
RELATIVE = 1e-6


class Batch:
    """Pairs of responses of unlike lengths, with per-token log-probabilities under policy and reference."""

    def __init__(self, dtype: torch.dtype, *, seed: int = 0):
        generator = seeded(seed)
        starts = torch.randint(1, 4, (2 * PAIRS, 1), generator=generator)
        ends = torch.randint(5, TIME + 1, (2 * PAIRS, 1), generator=generator)
        position = torch.arange(TIME)
        self.mask = (position >= starts) & (position < ends)  # chosen rows first, then rejected, as TRL lays them out
        scores = torch.randn(2, 2 * PAIRS, TIME, generator=generator, dtype=torch.float64)
        reference, change = scores.to(dtype)
        self.reference = -(1 + reference.abs())
        self.logps = (self.reference + 0.3 * change).requires_grad_()

    def response_logps(self, logps: torch.Tensor, reduction: str) -> tuple[torch.Tensor, torch.Tensor]:
        return sequence_logps(logps, self.mask, reduction=reduction).chunk(2)

    def logratios(self, reduction: str = "sum") -> list[torch.Tensor]:
        policy = self.response_logps(self.logps, reduction)
        return [p - r for p, r in zip(policy, self.response_logps(self.reference, reduction), strict=True)]


class Model(SimpleNamespace):
    """Gives the log-probabilities that it holds for an input_ids tensor, 0 where the label is -100, as TRL's head does.

    The zeros only feed TRL's logs.
    """

    def __call__(self, input_ids, labels, **_):
        log_probs = torch.where(labels == -100, 0, self.tables[id(input_ids)])[:, 1:]
        zeros = torch.zeros_like(log_probs)
        return SimpleNamespace(log_probs=log_probs, entropy=zeros, mean_logits=zeros, is_top1=zeros.bool())


def stand_in(**settings) -> SimpleNamespace:
    """What TRL's methods read from their trainer, on one device and one process."""
    accelerator = SimpleNamespace(device="cpu", gather=lambda x: x, gather_for_metrics=lambda x: x)
    common = {"accelerator": accelerator, "beta": BETA, "label_smoothing": 0.0, "aux_loss_enabled": False}
    logs = {"_metrics": {"train": defaultdict(list)}, "_total_train_tokens": 0, "_tp_size": 1}
    model = {"model": SimpleNamespace(training=True), "precompute_ref_logps": True}
    return SimpleNamespace(**common | logs | model | settings)


def trl_dpo(batch: Batch, loss_type: str, *, model=None, ids=None, **settings) -> tuple[torch.Tensor, dict[str, float]]:
    """TRL's DPO loss of the batch, its mean over pairs, and the metrics it logged; by default without a real model."""
    trainer = stand_in(
        **{
            "loss_types": [loss_type],
            "loss_weights": [1.0],
            "f_divergence_type": "reverse_kl",
            "ld_alpha": None,
            "use_weighting": False,
            "args": SimpleNamespace(discopop_tau=0.05),
        }
        | settings
    )
    ids = torch.zeros_like(batch.mask, dtype=torch.long) if ids is None else ids
    chosen, rejected = batch.response_logps(batch.reference, "sum")
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "completion_mask": batch.mask.long()}
    inputs |= {"ref_chosen_logps": chosen, "ref_rejected_logps": rejected}
    model = model or Model(training=True, tables={id(ids): batch.logps})
    loss = DPOTrainer._compute_loss(trainer, model, inputs, return_outputs=False)
    return loss, {name: values[-1] for name, values in trainer._metrics["train"].items() if isinstance(values, list)}


def assert_same(ours: torch.Tensor, theirs: torch.Tensor, leaf: torch.Tensor) -> None:
    """Equal loss, and gradients whose difference is small relative to the gradient."""
    our_gradient, their_gradient = (torch.autograd.grad(loss, leaf, retain_graph=True)[0] for loss in (ours, theirs))
    torch.testing.assert_close(ours, theirs, rtol=RELATIVE, atol=0, check_dtype=False)
    assert their_gradient.norm() > 0
    assert (our_gradient - their_gradient).norm() <= RELATIVE * their_gradient.norm()


OURS = {  # TRL's name: our function, the reduction of its inputs, TRL's settings
    "sigmoid": (dpo_loss, "sum", {}),
    "sigmoid_norm": (dpo_loss, "mean", {}),
    "hinge": (hinge_loss, "sum", {}),
    "ipo": (ipo_loss, "mean", {}),
    "exo_pair": (partial(exo_loss, label_smoothing=SMOOTHING), "sum", {"label_smoothing": SMOOTHING}),
    "nca_pair": (nca_loss, "sum", {}),
    "robust": (partial(robust_loss, label_smoothing=SMOOTHING), "sum", {"label_smoothing": SMOOTHING}),
    "bco_pair": (bco_loss, "sum", {}),
    "sppo_hard": (sppo_loss, "sum", {}),
    "aot_unpaired": (aot_loss, "sum", {}),
    "apo_zero": (apo_zero_loss, "sum", {}),
    "apo_down": (apo_down_loss, "sum", {}),
    "discopop": (discopop_loss, "sum", {}),
}
ELSEWHERE = {"aot", "sft"}  # the paired AOT has its own test below; "sft" is no preference loss


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", OURS)
def test_loss_and_gradient_equal_trl(name, dtype):
    loss_fn, reduction, settings = OURS[name]
    batch = Batch(dtype)
    ours = loss_fn(*batch.logratios(reduction), beta=BETA).mean()
    assert_same(ours, trl_dpo(batch, name, **settings)[0], batch.logps)


def test_every_loss_of_trl_is_in_this_file():
    with pytest.raises(ValueError, match="Unknown loss type") as error:
        trl_dpo(Batch(torch.float64), "no such loss")
    assert set(re.findall(r"'(\w+)'", str(error.value))) == OURS.keys() | ELSEWHERE


def test_paired_aot_of_trl_is_our_unpaired_one_on_other_inputs():
    """TRL sorts the policy's and the reference's differences of log-probabilities over the batch."""
    batch = Batch(torch.float64)
    margins = [w - x for w, x in (batch.response_logps(logps, "sum") for logps in (batch.logps, batch.reference))]
    assert_same(aot_loss(*margins, beta=BETA).mean(), trl_dpo(batch, "aot")[0], batch.logps)


def test_trl_ignores_label_smoothing_in_its_sigmoid_loss():
    """So cDPO has no oracle in TRL: test_losses.py checks it by hand and against binary cross-entropy."""
    batch = Batch(torch.float64)
    smoothed, plain = (trl_dpo(batch, "sigmoid", label_smoothing=e)[0] for e in (SMOOTHING, 0.0))
    assert smoothed.item() == plain.item()
    assert dpo_loss(*batch.logratios(), beta=BETA, label_smoothing=SMOOTHING).mean().item() != plain.item()


@pytest.mark.parametrize("name", ["sigmoid", "hinge", "ipo", "exo_pair", "robust", "discopop"])
@pytest.mark.parametrize("kind", ["forward_kl", "js_divergence", "alpha_divergence"])
def test_losses_of_f_divergence_scores_equal_trl(name, kind):
    """Our alpha is the paper's, TRL's coefficient is 1 - alpha; TRL scores sums, then averages for "ipo"."""
    loss_fn, reduction, settings = OURS[name]
    batch = Batch(torch.float32)  # TRL's alpha-divergence knows no float64
    scores = [f_divergence_score(logratios, kind, alpha=0.3) for logratios in batch.logratios()]
    if reduction == "mean":
        scores = [score / mask.sum(dim=1) for score, mask in zip(scores, batch.mask.chunk(2), strict=True)]
    settings = settings | {"f_divergence_type": kind, "f_alpha_divergence_coef": 0.7}
    assert_same(loss_fn(*scores, beta=BETA).mean(), trl_dpo(batch, name, **settings)[0], batch.logps)


def test_metrics_equal_those_that_trl_logs():
    batch = Batch(torch.float64)
    logged = trl_dpo(batch, "sigmoid")[1]
    for name, values in preference_metrics(*batch.logratios(), beta=BETA).items():
        assert values.mean().item() == pytest.approx(logged[name], rel=RELATIVE)


def test_from_the_logits_of_a_gpt2_to_the_gradient_of_its_weights_dpo_equals_trl():
    """TRL's own head and loss on a tiny GPT-2, against our token_logps, sequence_logps and dpo_loss on its logits."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = GPT2Config(vocab_size=31, n_positions=TIME, n_embd=16, n_layer=1, n_head=2)
        model = GPT2LMHeadModel(config).eval()
    batch = Batch(torch.float32)
    ids = torch.randint(31, (2 * PAIRS, TIME), generator=seeded())
    reference = batch.response_logps(batch.reference, "sum")
    policy = sequence_logps(token_logps(model(ids).logits, ids), batch.mask).chunk(2)
    ours = dpo_loss(*(p - r for p, r in zip(policy, reference, strict=True)), beta=BETA).mean()

    add_fused_lm_head(model, outputs=("log_probs", "entropy", "mean_logits", "is_top1"))
    theirs, _ = trl_dpo(batch, "sigmoid", model=model, ids=ids)
    assert_same(ours, theirs, model.lm_head.weight)
    assert_same(ours, theirs, model.transformer.h[0].attn.c_attn.weight)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(
    ("loss_type", "loss_fn", "reduction"),
    [("sigmoid", cpo_loss, "sum"), ("simpo", partial(simpo_loss, gamma=0.5), "mean")],
)
def test_cpo_and_simpo_equal_trl(loss_type, loss_fn, reduction, dtype):
    batch = Batch(dtype)
    trainer = stand_in(loss_type=loss_type, simpo_gamma=0.5, alpha=0.0)
    logps = batch.response_logps(batch.logps, reduction)
    theirs = CPOTrainer.cpo_loss(trainer, *logps)[0].mean()
    assert_same(loss_fn(*logps, beta=BETA).mean(), theirs, batch.logps)


def test_orpo_equals_trl():
    """TRL's method returns the odds term, with its sign turned; the likelihood term is the mean logp of the chosen."""
    batch = Batch(torch.float32)
    chosen, rejected = batch.response_logps(batch.logps, "mean")
    theirs = -chosen.mean() - ORPOTrainer.odds_ratio_loss(stand_in(), chosen, rejected)[0].mean()
    assert_same(orpo_loss(chosen, rejected, beta=BETA).mean(), theirs, batch.logps)


@pytest.mark.parametrize("mismatched_sign", [1.0, -1.0])
def test_kto_equals_trl(mismatched_sign):
    """Labels in mixed order, 6 good and 4 bad, weights 1 and 1.5, a baseline above 0 and one cut off at 0."""
    batch, mismatched = Batch(torch.float64), Batch(torch.float64, seed=1)
    mismatched_logratios = torch.cat(mismatched.logratios()).detach()
    sign = mismatched_sign * mismatched_logratios.mean().sign()  # mean log-ratio of the wanted sign
    shifted = mismatched.reference + sign * (mismatched.logps.detach() - mismatched.reference)
    label = torch.tensor([1, 0, 1, 1, 0, 1, 0, 1, 0, 1], dtype=torch.bool)
    ids, kl_ids = torch.zeros_like(batch.mask, dtype=torch.long), torch.zeros_like(batch.mask, dtype=torch.long)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "completion_mask": batch.mask.long()}
    inputs |= {"KL_input_ids": kl_ids, "KL_attention_mask": inputs["attention_mask"], "label": label}
    inputs |= {"KL_completion_mask": mismatched.mask.long()}
    inputs |= {"ref_logps": sequence_logps(batch.reference, batch.mask)}
    inputs |= {"ref_KL_logps": sequence_logps(mismatched.reference, mismatched.mask)}
    trainer = stand_in(loss_type="kto", calculate_KL=True, desirable_weight=1.0, undesirable_weight=1.5)
    trainer._compute_kl_logps = MethodType(KTOTrainer._compute_kl_logps, trainer)
    model = Model(tables={id(ids): batch.logps, id(kl_ids): shifted})
    theirs = KTOTrainer._compute_loss(trainer, model, inputs, return_outputs=False)

    logratios = torch.cat(batch.logratios())
    baseline = kto_baseline(sign * mismatched_logratios)
    assert (baseline > 0) == (mismatched_sign > 0)
    ours = kto_loss(logratios[label], logratios[~label], beta=BETA, kl_baseline=baseline, undesirable_weight=1.5).mean()
    assert_same(ours, theirs, batch.logps)
