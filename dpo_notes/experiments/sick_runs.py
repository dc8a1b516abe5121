"""python -m dpo_notes.experiments.sick_runs    record again five short DPO runs, four of which go wrong

All train the embedded GPT-2 on the embedded comparisons. Writes data/recorded/sick-runs/runs.json; notebook 10 shows
the curves without their names. `read_record(FILE)` reads it: "rows", each with the letter of its "run"; "runs", what is
wrong with each; and how they were "recorded". About two minutes on two cores.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dpo_notes.experiments.frontier.record import circumstances, write_record
from dpo_notes.language.load import frozen_copy, load_model
from dpo_notes.pairs.embedded import DATA, EMBEDDED
from dpo_notes.pairs.load import PreferencePair, load_pairs
from dpo_notes.training.config import DPOConfig
from dpo_notes.training.dpo import train_dpo

FILE = DATA / "recorded" / "sick-runs" / "runs.json"
COMMAND = "python -m dpo_notes.experiments.sick_runs"
PAIRS, HELD_OUT, FEW, OFTEN = 1200, 200, 64, 16
CONFIG = DPOConfig(beta=1.0, learning_rate=3e-4, batch_size=16, max_length=128, eval_every=15, eval_samples=0)
TOO_HIGH = 20  # factor on the learning rate of CONFIG
KEPT = ("step", "loss", "rewards/margins", "eval/loss", "eval/logps/chosen", "eval/logps/rejected")
KEPT += ("eval/rewards/margins", "eval/rewards/accuracies")
HEALTHY, HIGH, LOW, SWAPPED, READ_OFTEN, ELSEWHERE = FAULTS = (
    "healthy",
    "learning rate too high",
    "learning rate too low",
    "columns swapped",
    "read too often",
    "started from another model",
)
RUNS = {"A": READ_OFTEN, "B": HIGH, "C": HEALTHY, "D": ELSEWHERE, "E": SWAPPED}


def swapped(pairs: list[PreferencePair]) -> list[PreferencePair]:
    """The pairs with the columns chosen and rejected exchanged."""
    return [PreferencePair(pair.prompt, pair.rejected, pair.chosen) for pair in pairs]


def record(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    pairs: list[PreferencePair],
    held_out: list[PreferencePair],
    *,
    config: DPOConfig = CONFIG,
    few: int = FEW,
) -> Iterator[dict[str, object]]:
    """The rows of all runs in the order of RUNS, each with its letter as "run". D starts from the final policy of A."""
    policy = None
    for letter, fault in RUNS.items():
        start = policy if fault == ELSEWHERE else model
        settings, data = config, pairs
        if fault == HIGH:
            settings = replace(config, learning_rate=TOO_HIGH * config.learning_rate)
        elif fault == READ_OFTEN:
            settings, data = replace(config, epochs=OFTEN), pairs[:few]
        elif fault == SWAPPED:
            data = swapped(pairs)
        trained = frozen_copy(start).requires_grad_()
        for row in train_dpo(trained, model, data, tokenizer, settings, eval_pairs=held_out):
            yield {"run": letter} | {name: round(row[name], 4) for name in KEPT if name in row}
        if fault == READ_OFTEN:
            policy = trained


def by_letter(rows: Iterable[dict[str, object]]) -> dict[str, list[dict[str, object]]]:
    """The rows of each run by its letter, without their "run" entry."""
    found: dict[str, list[dict[str, object]]] = {letter: [] for letter in RUNS}
    for row in rows:
        found[row["run"]].append({name: value for name, value in row.items() if name != "run"})
    return found


def main() -> None:
    model, tokenizer = load_model()
    pairs, held_out = load_pairs(EMBEDDED)[:PAIRS], load_pairs(EMBEDDED, split="test")[:HELD_OUT]
    rows = []
    for row in record(model, tokenizer, pairs, held_out):
        rows.append(row)
        if "eval/loss" in row:
            print(row, flush=True)
    settings = asdict(CONFIG) | {"pairs": PAIRS, "held_out": HELD_OUT, "few": FEW, "often": OFTEN, "too_high": TOO_HIGH}
    write_record(FILE, {"recorded": circumstances(COMMAND), "settings": settings, "runs": RUNS, "rows": rows})


if __name__ == "__main__":
    main()
