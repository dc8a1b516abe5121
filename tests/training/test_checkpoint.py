"""A run's folder: what is in it, what is refused, and what survives damage."""

import copy
import math
import shutil
import warnings
from functools import partial
from pathlib import Path

import pytest
import torch
from folders import tree
from runs import checkpoints_in, rows_in
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from dpo_notes.maths.errors import InputError
from dpo_notes.maths.loss_family import hinge_loss, robust_loss
from dpo_notes.maths.losses import dpo_loss
from dpo_notes.training import checkpoint, saved_state
from dpo_notes.training.checkpoint import RunFolder
from dpo_notes.training.device import new_accelerator
from dpo_notes.training.folder_marker import Marker, write_marker
from dpo_notes.training.preference_loss import PreferenceLoss
from dpo_notes.training.step import TrainingDiverged

pytest_plugins = ["run_fixtures"]

SETTINGS = {"epochs": 2, "batch_size": 4, "checkpoint_every": 2}  # 8 steps; checkpoints of 6 and 8 are kept


@pytest.fixture
def run(train, tmp_path) -> Path:
    """A finished run in a folder of this test's own."""
    train(output_dir=tmp_path / "run", **SETTINGS)
    return tmp_path / "run"


def test_a_run_folder_holds_metrics_the_last_two_checkpoints_and_the_model(run):
    assert sorted(path.name for path in run.iterdir()) == [".dpo-notes.json", "checkpoint", "metrics.jsonl", "model"]
    assert checkpoints_in(run) == ["step-00000006", "step-00000008"]
    assert [row["step"] for row in rows_in(run)] == list(range(1, 9))


def test_nothing_is_written_that_could_hold_a_program(run):
    """Safetensors, JSON and text; a pickle could run code when it is read."""
    kinds = {path.suffix for path in run.rglob("*") if path.is_file()}
    assert kinds <= {".safetensors", ".json", ".jsonl", ".jinja", ".txt"}


def test_the_model_loads_elsewhere_and_says_what_the_trained_policy_says(train, tiny_model, tiny_tokenizer, tmp_path):
    train(tiny_model, output_dir=tmp_path / "run", **SETTINGS)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "run/model").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "run/model")
    ids = torch.tensor([tokenizer("Where is Paris?")["input_ids"]])
    assert ids.tolist() == [tiny_tokenizer("Where is Paris?")["input_ids"]]
    with torch.no_grad():
        assert torch.equal(loaded(input_ids=ids).logits, tiny_model(input_ids=ids).logits)


def test_tied_weights_are_saved_once_and_come_back_tied(train, new_tiny_model, run):
    names = load_file(run / "checkpoint/step-00000008/state.safetensors").keys()
    assert "transformer.wte.weight/weight" in names
    assert not any(name.startswith("lm_head") for name in names)
    policy = new_tiny_model(seed=3)
    reference = new_tiny_model().requires_grad_(False)
    assert train(policy, reference=reference, output_dir=run, resume=True, **SETTINGS) == []
    assert policy.lm_head.weight is policy.transformer.wte.weight
    trained = load_file(run / "model/model.safetensors")
    assert torch.equal(policy.lm_head.weight, trained["transformer.wte.weight"])


def test_a_folder_with_a_run_is_not_touched_without_resume(train, run):
    before = tree(run)
    with pytest.raises(InputError, match=r"holds a run already.*--resume.*another folder"):
        train(output_dir=run, **SETTINGS)
    assert tree(run) == before


def test_checkpoints_alone_are_a_run_too(train, run):
    """A new run would otherwise go on from them, whatever they are of."""
    (run / "metrics.jsonl").unlink()
    with pytest.raises(InputError, match="holds a run already"):
        train(output_dir=run, **SETTINGS)


def test_a_second_run_that_starts_before_the_first_step_of_the_first_is_refused(start, tmp_path):
    start(output_dir=tmp_path / "run", **SETTINGS)
    with pytest.raises(InputError, match="holds a run already"):
        start(output_dir=tmp_path / "run", **SETTINGS)


def test_of_two_runs_that_find_the_folder_free_only_one_takes_it(tmp_path, monkeypatch):
    """The other one's marker and metrics.jsonl appear just after we have looked for them."""

    def meanwhile(folder):
        write_marker(folder, Marker("run"))
        (folder / "metrics.jsonl").touch()

    monkeypatch.setattr(checkpoint, "claim", meanwhile)
    with pytest.raises(InputError, match="holds a run already"):
        RunFolder(tmp_path / "run", new_accelerator(), identity={}, resume=False)


def test_a_run_that_was_refused_leaves_no_folder(start, tmp_path, tiny_model):
    with pytest.raises(InputError):
        start(tiny_model, reference=tiny_model, output_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_resume_in_an_empty_folder_starts_at_the_beginning(train, run, tmp_path):
    with pytest.warns(UserWarning, match="other holds no run yet; starting one there"):
        train(output_dir=tmp_path / "other", resume=True, **SETTINGS)
    assert rows_in(tmp_path / "other") == rows_in(run)


OTHER_RUNS = {
    "beta": ({"beta": 0.2}, "beta was 0.1 and is now 0.2"),
    "seed and batch": ({"seed": 1, "batch_size": 8}, "batch_size was 4 and is now 8; seed was 0 and is now 1"),
    "loss": ({"loss": hinge_loss}, "loss was 'dpo_loss' and is now 'hinge_loss'"),
    "smoothing": ({"loss": partial(robust_loss, label_smoothing=0.1)}, "is now 'robust_loss(label_smoothing=0.1)'"),
    "reduction": ({"loss": PreferenceLoss(dpo_loss, reduction="mean")}, "reduction was 'sum' and is now 'mean'"),
    "reference": ({"loss": "cpo", "reference": None}, "reference was '"),
}


@pytest.mark.parametrize("name", OTHER_RUNS)
def test_a_checkpoint_of_another_run_is_refused_in_one_line_that_says_what_differs(start, run, name):
    settings, problem = OTHER_RUNS[name]
    with pytest.raises(InputError) as error:
        start(output_dir=run, resume=True, **SETTINGS | settings)
    message = str(error.value)
    assert message.startswith(str(run / "checkpoint" / "step-00000008"))
    assert "is from another run: " in message
    assert problem in message
    assert "\n" not in message
    assert len(message) < 400


def test_a_checkpoint_of_other_pairs_models_or_held_out_pairs_is_refused(start, run, new_tiny_model, tiny_pairs):
    other = new_tiny_model(seed=5)
    with pytest.raises(InputError, match=r"another run: reference was '\w+' and is now '\w+'; expected"):
        start(other, output_dir=run, resume=True, **SETTINGS)
    for pairs in (tiny_pairs[1:17], tiny_pairs[15::-1]):  # others, and the same in another order
        with pytest.raises(InputError, match=r"another run: pairs was"):
            start(pairs=pairs, output_dir=run, resume=True, **SETTINGS)
    with pytest.raises(InputError, match=r"another run: eval_pairs was"):
        start(eval_pairs=tiny_pairs[16:], output_dir=run, resume=True, **SETTINGS)
    wider = copy.deepcopy(new_tiny_model())
    wider.resize_token_embeddings(401)
    with pytest.raises(InputError, match=r"another run: policy was"):
        start(wider, reference=new_tiny_model(), output_dir=run, resume=True, **SETTINGS)


def half(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def flip(path: Path) -> None:
    """Change one bit in the middle of a file: its length and its form stay."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGES = {
    "one bit of the tensors": lambda folder: flip(folder / "state.safetensors"),
    "half a tensor file": lambda folder: half(folder / "state.safetensors"),
    "empty tensor file": lambda folder: (folder / "state.safetensors").write_bytes(b""),
    "no tensor file": lambda folder: (folder / "state.safetensors").unlink(),
    "half a JSON file": lambda folder: half(folder / "state.json"),
    "JSON of something else": lambda folder: (folder / "state.json").write_text("{}"),
    "no JSON file": lambda folder: (folder / "state.json").unlink(),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_if_the_newest_checkpoint_is_damaged_a_warning_says_so_and_the_one_before_it_is_used(train, run, name):
    """From step 6 instead of 8; the rows of 7 and 8 are dropped and written again, equal."""
    rows, weights = rows_in(run), load_file(run / "model/model.safetensors")
    DAMAGES[name](run / "checkpoint/step-00000008")
    with pytest.warns(UserWarning, match=r"step-00000008 is damaged \(.*\); using the one before it"):
        again = train(output_dir=run, resume=True, **SETTINGS)
    assert [row["step"] for row in again] == [7, 8]
    assert rows_in(run) == rows
    now = load_file(run / "model/model.safetensors")
    assert all(torch.equal(now[name], weights[name]) for name in weights)
    assert checkpoints_in(run) == ["step-00000006", "step-00000008"]


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="asks Linux which files are mapped into memory")
def test_a_resumed_run_holds_on_to_no_file_of_a_checkpoint(start, run):
    """Else an old checkpoint could not be deleted on Windows while the run goes on."""
    shutil.rmtree(run / "checkpoint/step-00000008")
    rows = start(output_dir=run, resume=True, **SETTINGS)
    next(rows)
    assert "step-00000006" not in Path("/proc/self/maps").read_text()


def test_where_every_checkpoint_is_damaged_the_run_starts_again(train, run):
    rows = rows_in(run)
    for folder in (run / "checkpoint").iterdir():
        half(folder / "state.safetensors")
    with pytest.warns(UserWarning, match="is damaged") as caught:
        again = train(output_dir=run, resume=True, **SETTINGS)
    assert sum("is damaged" in str(warning.message) for warning in caught) == 2
    assert str(caught[-1].message) == f"{run}/checkpoint: no checkpoint is intact; training starts over"
    assert [row["step"] for row in again] == list(range(1, 9))
    assert rows_in(run) == rows


@pytest.mark.parametrize("end", ['{"step": 7, "lo', "", "{}x\n"], ids=["half a line", "all whole", "nonsense"])
def test_rows_after_the_checkpoint_and_a_half_written_line_are_dropped_and_written_once(train, run, end):
    rows = rows_in(run)
    shutil.rmtree(run / "checkpoint/step-00000008")
    lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join(lines[:7]) + end)  # of step 7, after the checkpoint of step 6
    train(output_dir=run, resume=True, **SETTINGS)
    assert rows_in(run) == rows
    assert sorted(path.name for path in run.iterdir()) == [".dpo-notes.json", "checkpoint", "metrics.jsonl", "model"]


def test_a_loss_that_is_not_finite_is_not_written_and_stops_the_run(tmp_path):
    """JSON has no word for it; and what is saved after it could not be used."""
    folder = RunFolder(tmp_path / "run", new_accelerator(), identity={}, resume=False)
    for name, value in (("loss", math.nan), ("eval/loss", math.inf)):
        with pytest.raises(TrainingDiverged, match=rf"^step 3: {name} {value}; nothing was saved after this step$"):
            folder.write_row({"step": 3, name: value})
    assert folder.metrics_path.read_text() == ""


def test_a_file_in_the_place_of_the_folder_is_refused(start, tmp_path):
    (tmp_path / "run").touch()
    with pytest.raises(InputError, match=r"run is not a folder; expected a folder, or an unused name$"):
        start(output_dir=tmp_path / "run", **SETTINGS)


def test_an_error_in_the_middle_of_a_checkpoint_keeps_the_last_good_one(train, tmp_path, monkeypatch):
    """A full disk, say, at the second checkpoint: the first stays, nothing is left aside, and the run can go on."""
    calls = []

    def full_disk(tensors, path, original=saved_state.save_file):
        calls.append(path)
        if len(calls) == 2:
            path.write_bytes(b"half")
            raise SafetensorError("I/O error: No space left on device (os error 28)")
        original(tensors, path)

    monkeypatch.setattr(saved_state, "save_file", full_disk)
    with pytest.raises(OSError, match="No space left"):
        train(output_dir=tmp_path / "run", **SETTINGS)
    assert checkpoints_in(tmp_path / "run") == ["step-00000002"]
    monkeypatch.undo()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rows = train(output_dir=tmp_path / "run", resume=True, **SETTINGS)
    assert [row["step"] for row in rows] == [3, 4, 5, 6, 7, 8]


def test_without_a_path_a_run_folder_writes_nothing_and_hands_rows_back(
    tiny_model, tiny_tokenizer, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    folder = RunFolder(None, new_accelerator(), identity={}, resume=False)
    optimizer = torch.optim.AdamW(tiny_model.parameters())
    assert folder.restore(tiny_model, optimizer, last_step=1) is None
    assert folder.write_row({"step": 1}) == {"step": 1}
    folder.save(tiny_model, optimizer, 1)
    folder.save_model(tiny_model, tiny_tokenizer)
    assert list(tmp_path.iterdir()) == []
