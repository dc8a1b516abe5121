"""The command line, as a user meets it: in a process of its own for help and speed, within this one for the rest."""

import io
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from folders import tree
from runs import rows_in, write_lines
from transformers import AutoModelForCausalLM

from dpo_notes.cli import main, parser
from dpo_notes.commands import COMMANDS
from dpo_notes.commands.presets import TRAIN
from dpo_notes.commands.training_command import settings
from dpo_notes.training.config import DPOConfig

pytest_plugins = ["run_fixtures"]


def write_pairs(path: Path, count: int) -> Path:
    """A preference file with prompts and answers that have nothing to do with the embedded world."""
    row = {"prompt": "Name number {}.", "chosen": " It is {}, if I may.", "rejected": " {0} {0} {0}"}
    return write_lines(path, [{name: text.format(n) for name, text in row.items()} for n in range(count)])


def run_train(model: Path, data: Path, output: Path, *more: str) -> int:
    settings = ["batch_size=4", "eval_samples=4", "learning_rate=1e-3", "max_length=64"]
    words = ["train", "--model", str(model), "--data", str(data), "--output", str(output)]
    return main([*words, *(word for setting in settings for word in ("--set", setting)), *more])


def test_help_names_every_command_and_loads_no_torch():
    code = (
        "import sys; from dpo_notes.cli import parser; print(parser().format_help()); assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert all(f"    {name}" in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_a_description(command, capsys):
    with pytest.raises(SystemExit) as exit_:
        main([command, "--help"])
    if command != "lab":  # whose --help is JupyterLab's own
        assert exit_.value.code == 0
        assert f"dpo-notes {command}" in capsys.readouterr().out


def test_a_run_folder_holds_what_the_readme_says_and_its_model_loads_in_transformers(tmp_path, model_folder, capsys):
    output = tmp_path / "run"
    assert run_train(model_folder, write_pairs(tmp_path / "pairs.jsonl", 40), output) == 0
    printed = capsys.readouterr().out
    assert {path.name for path in output.iterdir()} == {
        ".dpo-notes.json", "model", "metrics.jsonl", "config.json", "curves.png", "samples.md", "checkpoint",
    }  # fmt: skip
    trained = AutoModelForCausalLM.from_pretrained(output / "model")
    start = AutoModelForCausalLM.from_pretrained(model_folder)
    assert not torch.equal(trained.get_input_embeddings().weight, start.get_input_embeddings().weight)
    record = json.loads((output / "config.json").read_text(encoding="utf-8"))
    assert record["config"]["batch_size"] == 4
    assert record["pairs"] == 36
    assert record["eval_pairs"] == 4
    assert record["versions"]["torch"] == torch.__version__
    assert "36 comparisons to train on, 4 held out" in printed
    assert "accuracy" in printed
    assert (output / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_the_rows_begin_at_log_2_with_margins_of_zero(tmp_path, model_folder):
    output = tmp_path / "run"
    run_train(model_folder, write_pairs(tmp_path / "pairs.jsonl", 12), output)
    rows = rows_in(output)
    assert [row["step"] for row in rows] == list(range(len(rows)))
    assert rows[1]["loss"] == pytest.approx(0.6931472, abs=1e-6)
    assert rows[1]["rewards/margins"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("loss", ["ipo", "simpo", "cpo"])
def test_other_losses_train_with_sums_or_means_and_with_or_without_reference(loss, tmp_path, model_folder):
    output = tmp_path / loss
    assert run_train(model_folder, write_pairs(tmp_path / "pairs.jsonl", 12), output, "--loss", loss) == 0
    assert json.loads((output / "config.json").read_text(encoding="utf-8"))["loss"] == loss


def test_a_second_run_into_the_same_folder_is_refused_and_leaves_it_whole(tmp_path, model_folder, capsys):
    data, output = write_pairs(tmp_path / "pairs.jsonl", 12), tmp_path / "run"
    run_train(model_folder, data, output)
    before = tree(output)
    assert run_train(model_folder, data, output) == 2
    assert "holds a run already" in capsys.readouterr().err
    assert tree(output) == before


def test_text_from_the_data_is_escaped_in_samples(tmp_path, model_folder):
    prompt, answers = "<script>alert(1)</script> | a", {"chosen": " yes", "rejected": " no"}
    data = write_lines(tmp_path / "pairs.jsonl", [{"prompt": f"{prompt}{n}"} | answers for n in range(12)])
    run_train(model_folder, data, tmp_path / "run")
    samples = (tmp_path / "run" / "samples.md").read_text(encoding="utf-8")
    assert "<script>" not in samples
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &#124; a" in samples


def test_the_preset_holds_only_where_both_model_and_data_are_embedded(model_folder, tmp_path):
    def config(*words):
        return settings(DPOConfig, parser().parse_args(["train", *words]), preset=TRAIN)

    assert config() == DPOConfig(**TRAIN)
    assert config("--data", "mine.jsonl") == config("--model", "gpt2") == DPOConfig()
    chosen = config("--beta", "0.3", "--set", "epochs=3")
    assert (chosen.beta, chosen.epochs, chosen.learning_rate) == (0.3, 3, TRAIN["learning_rate"])


def test_sample_prints_each_prompt_with_its_answers(model_folder, capsys):
    assert main(["sample", "--model", str(model_folder), "--prompt", "Where is Paris? ", "--count", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("Where is Paris?") for line in lines) == 2


def test_evaluate_prints_zero_divergence_for_a_model_against_itself(tmp_path, model_folder, capsys):
    data = write_pairs(tmp_path / "pairs.jsonl", 6)
    model = str(model_folder)
    assert main(["evaluate", "--model", model, "--reference", model, "--data", str(data), "--samples", "4"]) == 0
    values = dict(line.rsplit(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert float(values["loss"]) == pytest.approx(0.6931, abs=1e-4)
    assert float(values["kl"]) == 0


def write_gpt2_elsewhere(folder: Path) -> Path:
    """A model folder as `gpt2` has it: config, safetensors, vocab.json and merges.txt with 50,257 tokens; tiny inside.

    The tokenizer: 256 bytes, 50,000 merges of two earlier tokens each, and <|endoftext|> last, as in GPT-2.
    """
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import GPT2Config, GPT2LMHeadModel

    alphabet = sorted(ByteLevel.alphabet())
    letters = [c for c in alphabet if c.isascii() and c.isalpha()] + ["Ġ"]
    pairs = [(a, b) for a in letters for b in letters[:-1]]
    merges = (pairs + [(a + b, c) for a, b in pairs for c in letters[:-1]])[:50_000]
    tokens = [*alphabet, *(a + b for a, b in merges), "<|endoftext|>"]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges), encoding="utf-8")
    torch.manual_seed(0)
    GPT2LMHeadModel(GPT2Config(n_embd=16, n_layer=2, n_head=2, n_positions=128)).save_pretrained(folder)
    return folder


def test_a_gpt2_folder_with_50257_tokens_and_a_file_made_elsewhere_train_and_the_result_loads(tmp_path):
    folder = write_gpt2_elsewhere(tmp_path / "gpt2")
    output = tmp_path / "run"
    assert run_train(folder, write_pairs(tmp_path / "pairs.jsonl", 16), output) == 0
    trained = AutoModelForCausalLM.from_pretrained(output / "model")
    assert trained.config.vocab_size == 50_257
    rows = rows_in(output)
    assert rows[1]["loss"] == pytest.approx(0.6931472, abs=1e-6)  # although this config asks for dropout of 0.1
    assert rows[-1]["loss"] < rows[1]["loss"]


@pytest.mark.parametrize("steps", ["0", "-1"])
def test_pretraining_without_a_step_is_refused_and_nothing_is_made(tmp_path, capsys, steps):
    assert main(["pretrain", "--steps", steps, "--output", str(tmp_path / "world")]) == 2
    assert capsys.readouterr().err == f"dpo-notes: steps is {steps}; expected 1 or more\n"
    assert not (tmp_path / "world").exists()


def test_what_a_model_says_can_be_written_where_not_every_character_is_known(monkeypatch):
    """For example a file on Windows, whose encoding has only 256 of them."""
    file = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(file, encoding="cp1252", write_through=True))
    monkeypatch.setattr("dpo_notes.commands.doctor.run", lambda args: print("é 中") or 0)
    assert main(["doctor"]) == 0
    assert file.getvalue().split() == ["é".encode("cp1252"), b"\\u4e2d"]


@pytest.mark.parametrize(("processes", "program"), [(1, "dpo-notes"), (2, "torchrun --nproc_per_node 2 -m dpo_notes")])
def test_the_command_to_go_on_starts_as_many_processes_as_there_were(monkeypatch, processes, program):
    from dpo_notes.commands import training_command

    monkeypatch.setattr(training_command, "process_state", lambda: SimpleNamespace(num_processes=processes))
    assert training_command.command_line(["train", "--output", "my runs/1"]) == f"{program} train --output 'my runs/1'"
