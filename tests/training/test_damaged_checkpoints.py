"""Damaged checkpoints: one warning in one line, the one before is used, and nothing is half-changed."""

import json
import shutil
import warnings
from pathlib import Path

import pytest
import torch
from folders import refusal, tree
from runs import prepare, rows_in, train_from
from safetensors.torch import load_file, save_file

from dpo_notes.training.checkpoint import RunFolder
from dpo_notes.training.device import new_accelerator
from dpo_notes.training.folder_marker import sha256
from dpo_notes.training.saved_state import Damaged, checkpoints_in, load_state, state_tensors

SETTINGS = {"epochs": 2, "batch_size": 4, "checkpoint_every": 2}  # 8 steps; checkpoints of 6 and 8 are kept
WEIGHT, GONE = "transformer.wte.weight", "gone"


@pytest.fixture(scope="module")
def finished(tmp_path_factory, new_tiny_model, tiny_tokenizer, tiny_pairs) -> Path:
    """A finished run, and beside it what it started from."""
    folder = prepare(tmp_path_factory.mktemp("finished"), new_tiny_model(), tiny_tokenizer, tiny_pairs)
    assert len(train_from(folder, "run", **SETTINGS)) == 9
    return folder / "run"


@pytest.fixture
def run(finished, tmp_path) -> Path:
    """The finished run in a folder of this test's own."""
    return shutil.copytree(finished, tmp_path / "run")


@pytest.fixture
def resume(finished, new_tiny_model):
    """resume(run): the step from which the run would continue in this folder, and the state that it would have."""
    identity = json.loads((finished / "checkpoint/step-00000008/state.json").read_text())["identity"]

    def go_on(run: Path) -> tuple[int | None, dict]:
        model = new_tiny_model(seed=3)
        optimizer = torch.optim.AdamW(model.parameters())
        folder = RunFolder(run, new_accelerator(), identity=identity, resume=True)
        step = folder.restore(model, optimizer, last_step=8)
        return step, state_tensors(model.named_parameters(), optimizer)

    return go_on


def same(ours: dict, theirs: dict) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def details(**changes):
    """A damage: state.json with these entries in place of its own; GONE removes one."""

    def damage(place: Path) -> None:
        written = json.loads((place / "state.json").read_text()) | changes
        (place / "state.json").write_text(json.dumps({name: value for name, value in written.items() if value != GONE}))

    return damage


def text(words: str):
    return lambda place: (place / "state.json").write_text(words)


def tensors(change, *, count=None):
    """A damage: other tensors, with a fresh checksum, and where `count` is given with as many as it says."""

    def damage(place: Path) -> None:
        held = load_file(place / "state.safetensors")
        change(held)
        held = {name: tensor.contiguous() for name, tensor in held.items()}
        save_file(held, place / "state.safetensors")
        details(sha256=sha256(place / "state.safetensors"), tensors=count or len(held))(place)

    return damage


def becomes(name: str, make):
    return lambda held: held.update({name: make(held[name])})


def many(held: dict) -> None:
    for key in ("step", "exp_avg", "exp_avg_sq"):
        del held[f"{WEIGHT}/{key}"]


SAYS = {
    "a list": text("[]"),
    "a number": text("3"),
    "null": text("null"),
    "a text": text('"step"'),
    "not a number, as JSON has none": text("NaN"),
    "nested without end": text("[" * 200_000),
    "an object nested without end": text('{"step":' * 50_000 + "1" + "}" * 50_000),
    "more than any details": text(json.dumps({"identity": "x" * 2_000_000})),
    "a number with too many digits": text('{"step": ' + "9" * 10_000 + "}"),
    "bytes that are no text": lambda place: (place / "state.json").write_bytes(b"\xff\xfe{}"),
    **{f"no {name}": details(**{name: GONE}) for name in ("step", "identity", "sha256", "tensors")},
    "an identity that is a list": details(identity=["config"]),
    "a checksum that is a number": details(sha256=5),
    "step 10^20": details(step=10**20),
    "step -8": details(step=-8),
    "step 0": details(step=0),
    "step 6": details(step=6),
    "step 9": details(step=9),
    "step 8.0": details(step=8.0),
    "step '8'": details(step="8"),
    "step true": details(step=True),
    "another count": details(tensors=1),
    "a negative count": details(tensors=-1),
}
HOLDS = {
    "no weight": tensors(lambda held: held.pop(f"{WEIGHT}/weight")),
    "no first mean": tensors(lambda held: held.pop(f"{WEIGHT}/exp_avg")),
    "no second mean": tensors(lambda held: held.pop("transformer.ln_f.bias/exp_avg_sq")),
    "no count of updates": tensors(lambda held: held.pop("transformer.h.1.mlp.c_fc.weight/step")),
    "nothing of Adam's of one parameter": tensors(many, count=112),
    "no tensors at all": tensors(lambda held: held.clear()),
    "the last weight a row short": tensors(becomes("transformer.ln_f.bias/weight", lambda tensor: tensor[1:])),
    "a weight turned round": tensors(becomes(f"{WEIGHT}/weight", torch.t)),
    "a mean with one number": tensors(becomes(f"{WEIGHT}/exp_avg", lambda tensor: tensor.mean())),
    "a count for each number": tensors(becomes(f"{WEIGHT}/step", lambda tensor: torch.ones(3))),
    "half precision": tensors(becomes(f"{WEIGHT}/weight", torch.Tensor.half)),
    "double precision": tensors(becomes("transformer.ln_f.bias/exp_avg", torch.Tensor.double)),
    "a count in whole numbers": tensors(becomes(f"{WEIGHT}/step", torch.Tensor.long)),
    "a tensor too many": tensors(lambda held: held.update({"other/weight": torch.ones(2)})),
    "an entry too many": tensors(lambda held: held.update({f"{WEIGHT}/max_exp_avg_sq": torch.ones(2)})),
}


@pytest.mark.parametrize("name", SAYS | HOLDS)
def test_a_damaged_checkpoint_gets_a_warning_of_one_line_and_the_one_before_it_is_used(resume, run, name):
    (SAYS | HOLDS)[name](run / "checkpoint/step-00000008")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        step, state = resume(run)
    (line,) = [str(warning.message) for warning in caught]
    assert line.startswith(f"{run}/checkpoint/step-00000008 is damaged (")
    assert line.endswith("); using the one before it")
    assert "\n" not in line and len(line) < 400
    assert step == 6 and same(state, load_file(run / "checkpoint/step-00000006/state.safetensors"))
    assert [row["step"] for row in rows_in(run)] == list(range(7))


@pytest.mark.parametrize("name", HOLDS)
def test_where_no_checkpoint_is_whole_neither_model_nor_optimizer_gets_anything(resume, run, new_tiny_model, name):
    for place in checkpoints_in(run / "checkpoint"):
        HOLDS[name](place)
    with pytest.warns(UserWarning, match="is damaged") as caught:
        step, state = resume(run)
    assert str(caught[-1].message).endswith("no checkpoint is intact; training starts over")
    weights = {f"{name}/weight": parameter for name, parameter in new_tiny_model(seed=3).named_parameters()}
    assert step is None and same(state, weights) and rows_in(run) == []


def test_tensors_that_do_not_fit_change_no_weight_and_no_moment(tiny_model):
    optimizer = torch.optim.AdamW(tiny_model.parameters())
    sum(parameter.square().sum() for parameter in tiny_model.parameters()).backward()
    optimizer.step()
    names = list(tiny_model.named_parameters())
    held = {name: tensor.clone() for name, tensor in state_tensors(names, optimizer).items()}
    given = {name: tensor + 1 for name, tensor in held.items()}
    given[f"{names[-1][0]}/exp_avg_sq"] = torch.ones(1)  # the last of all
    with pytest.raises(Damaged, match=r"exp_avg_sq' is \(1,\) of torch.float32; expected \(\d+,\) of torch.float32"):
        load_state(given, names, optimizer)
    assert same(state_tensors(names, optimizer), held)
    given[f"{names[-1][0]}/exp_avg_sq"] = held[f"{names[-1][0]}/exp_avg_sq"] + 1
    load_state(given, names, optimizer)
    assert same(state_tensors(names, optimizer), {name: tensor + 1 for name, tensor in held.items()})


# Which step.


@pytest.mark.parametrize("step", [0, 9, 12, 99_999_999])
def test_a_step_that_the_run_does_not_have_is_damage_also_where_name_and_details_agree(resume, run, step):
    """Else nothing would be trained after the last one, and the exit code would be 0."""
    details(step=step)(run / "checkpoint/step-00000008")
    (run / "checkpoint/step-00000008").rename(run / f"checkpoint/step-{step:08d}")
    if step == 0:
        shutil.rmtree(run / "checkpoint/step-00000006")
    with pytest.warns(
        UserWarning, match=rf"it is from step {step}, but the run has the steps 1 to 8\); using the one before"
    ):
        assert resume(run)[0] == (6 if step else None)


def test_two_checkpoints_that_have_changed_names_are_damage(resume, run):
    for name, other in (("step-00000008", "aside"), ("step-00000006", "step-00000008"), ("aside", "step-00000006")):
        (run / "checkpoint" / name).rename(run / "checkpoint" / other)
    with pytest.warns(UserWarning, match="says step 6, but the folder's name says 8"):
        assert resume(run)[0] is None


OTHERS = ["step--0000009", "step-9", "step-100000000000000000000", "step-000000009", "step-00000009.bak", "my notes",
          "step-٠٠٠٠٠٠٠٩", "Step-00000009", "step-0000000a"]  # fmt: skip


def test_what_has_another_name_is_neither_read_nor_removed(resume, run, tiny_model):
    for name in OTHERS:
        (run / "checkpoint" / name).mkdir()
        (run / "checkpoint" / name / "state.json").write_text("mine")
    (run / "checkpoint/step-00000009 ").write_text("a file")
    kept = {name: tree(run / "checkpoint" / name) for name in OTHERS}
    assert resume(run)[0] == 8
    folder = RunFolder(None, new_accelerator(), identity={}, resume=False)
    folder.path = run
    folder.save(tiny_model, torch.optim.AdamW(tiny_model.parameters()), 10)
    assert [path.name for path in checkpoints_in(run / "checkpoint")] == ["step-00000010", "step-00000008"]
    assert {name: tree(run / "checkpoint" / name) for name in OTHERS} == kept


@pytest.mark.parametrize("name", ["step-00000008", "step-00000002", ".step-00000004.writing"])
def test_somebodys_file_in_a_checkpoint_ends_the_run_before_it_begins(resume, run, name):
    (run / "checkpoint" / name).mkdir(exist_ok=True)
    (run / "checkpoint" / name / "notes.txt").write_text("mine")
    before = tree(run)
    assert f"{name}/notes.txt is not a file that dpo-notes wrote" in refusal(lambda: resume(run))
    assert tree(run) == before


def test_something_else_in_the_place_of_a_checkpoint_or_of_its_file_ends_the_run_before_it_begins(resume, run):
    (run / "checkpoint/step-00000004").write_text("mine")
    assert "step-00000004 is not a checkpoint" in refusal(lambda: resume(run))
    (run / "checkpoint/step-00000004").unlink()
    (run / "checkpoint/step-00000006/state.json").unlink()
    (run / "checkpoint/step-00000006/state.json").mkdir()
    assert "state.json is not a file that dpo-notes wrote" in refusal(lambda: resume(run))
    (run / "checkpoint").rename(run / "moved")
    (run / "checkpoint").write_text("mine")
    assert "checkpoint is not a folder" in refusal(lambda: resume(run))


# Another identity, and rows that are none.


@pytest.mark.parametrize(
    "identity",
    [
        {"config": {"beta": "x" * 500_000}},
        {"a\nline": [["deep"] * 50] * 50},
        {"config": [1, 2]},
        {"config": {"beta": 10**4000}},
        {f"fact {number}": number for number in range(2000)},
    ],
    ids=["long", "a line break", "a list for an object", "many digits", "many facts"],
)
def test_another_identity_is_refused_in_one_line_of_sensible_length(resume, run, identity):
    for place in checkpoints_in(run / "checkpoint"):
        ours = json.loads((place / "state.json").read_text())["identity"]
        details(identity=ours | identity)(place)
    assert "is from another run" in refusal(lambda: resume(run))


NO_ROWS = ["[]", "3", "null", "{}", '"step"', '{"step": null}', '{"step": "3"}', '{"step": true}', "{"]
NO_ROWS += ["[" * 100_000, "\xff"]


@pytest.mark.parametrize("line", NO_ROWS, ids=lambda line: line[:20])
def test_a_line_of_the_metrics_that_is_no_row_is_dropped_with_a_warning_and_the_rows_stay(resume, run, line):
    rows = rows_in(run)
    lines = (run / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    lines[3:3] = [line.encode("latin-1") + b"\n"] * 2
    (run / "metrics.jsonl").write_bytes(b"".join(lines))
    with pytest.warns(UserWarning, match=r"metrics\.jsonl, line 4: not a row of metrics; dropping all such \(2\)"):
        assert resume(run)[0] == 8
    assert rows_in(run) == rows
