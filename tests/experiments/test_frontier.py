"""The frontier: what is done, what is kept, and that neither a stop nor the number of workers changes a figure."""

import json
import platform
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from frontier_small import on_one_thread, run_here, small_config, write_start

from dpo_notes.cli import main
from dpo_notes.commands import frontier_run
from dpo_notes.experiments.frontier import run
from dpo_notes.experiments.frontier.folder import JobFolder
from dpo_notes.experiments.frontier.measure import ANSWERS_SHOWN, figures
from dpo_notes.experiments.frontier.plan import FULL, QUICK, FrontierConfig, identity_of, jobs_of
from dpo_notes.experiments.frontier.record import circumstances, gather, read_record, write_record
from dpo_notes.experiments.frontier.run import Progress, run_frontier
from dpo_notes.experiments.frontier.setting import load_setting, setting_digests
from dpo_notes.experiments.frontier.workers import JobFailed
from dpo_notes.maths.errors import InputError
from dpo_notes.pairs.embedded import data_folder
from dpo_notes.pairs.load import load_pairs
from dpo_notes.training.output_folder import take_folder

FIGURES = {"method", "knob", "value", "seed", "kl", "kl_error", "reward", "reward_error", "grammatical", "length",
           "win_rate", "win_low", "win_high", "samples"}  # fmt: skip


@pytest.fixture(scope="module")
def start(tmp_path_factory, new_tiny_model, tiny_tokenizer, tiny_pairs) -> Path:
    return write_start(tmp_path_factory.mktemp("start"), new_tiny_model(), tiny_tokenizer, tiny_pairs)


@pytest.fixture(scope="module")
def config(start) -> FrontierConfig:
    return small_config(start)


@pytest.fixture(scope="module")
def jobs_done(config, tmp_path_factory) -> Path:
    """The folder of an experiment that was done in this process."""
    folder = tmp_path_factory.mktemp("jobs")
    run_here(config, folder)
    return folder


def without_seconds(record: dict) -> dict:
    return {name: value for name, value in record.items() if name != "seconds"}


def in_this_process(run, needs, *, workers):
    """What takes the place of `run_in_workers` where no process is wanted."""
    for name in needs:
        on_one_thread(run, name)
        yield name


@pytest.mark.processes
def test_a_stopped_experiment_continues_and_ends_like_one_that_was_never_stopped(
    config, jobs_done, tmp_path, monkeypatch
):
    """We end two worker processes after their third job, in the middle of others; this process does the rest."""
    steps = run_frontier(config, tmp_path, workers=2)
    assert [next(steps).done for _ in range(4)] == [0, 1, 2, 3]
    steps.close()
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("[!.]*.json")}
    assert 3 <= len(kept) < 8
    monkeypatch.setattr(run, "run_in_workers", in_this_process)
    steps = list(run_frontier(config, tmp_path))
    assert (steps[0].done, steps[-1].done, steps[-1].total) == (len(kept), 8, 8)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept  # none was done again
    ours, theirs = (without_seconds(gather(config, JobFolder(folder))) for folder in (tmp_path, jobs_done))
    assert ours == theirs
    (only,) = run_frontier(config, tmp_path)  # nothing is left to do
    assert only.done == only.total == 8


def test_the_record_has_a_point_for_every_method_strength_and_seed(config, jobs_done):
    record = gather(config, JobFolder(jobs_done))
    found = [(point["method"], point["value"], point["seed"]) for point in record["points"]]
    assert len(set(found)) == len(found)
    assert set(found) == {
        ("base", None, None), ("dpo", 0.5, 0), ("sft", 1, 0), ("ppo-true", 0.5, 0), ("ppo-learnt", 0.5, 0),
        ("best-of-n", 2, 0), ("best-of-n-learnt", 2, 0),
    }  # fmt: skip
    for point in record["points"]:
        assert set(point) >= FIGURES
        assert len(point["samples"]) == ANSWERS_SHOWN * len(record["prompts"])
        assert point["win_low"] <= point["win_rate"] <= point["win_high"]
    by_method = {point["method"]: point for point in record["points"]}
    assert set(by_method["dpo"]) - FIGURES == {"margin", "accuracy"}
    assert set(by_method["ppo-learnt"]) - FIGURES == {"learnt_gain"}
    assert by_method["base"]["kl"] == 0
    assert by_method["dpo"]["kl"] > 0
    assert [row["seed"] for row in record["reward_models"]] == [0]
    assert [point["beta"] for point in record["optimum"]] == [1000.0, 1.0]
    assert record["optimum_samples"] == 12
    assert set(record["seconds"]) == {job.name for job in jobs_of(config)}


def test_best_of_n_keeps_below_its_bound_and_gains_what_it_chooses_by(config, jobs_done):
    record = gather(config, JobFolder(jobs_done))
    by_method = {point["method"]: point for point in record["points"]}
    (bound,) = record["best_of_n_bounds"]
    assert 0 < by_method["best-of-n"]["kl"] <= by_method["best-of-n-learnt"]["kl"] <= bound["kl"]
    assert by_method["best-of-n"]["reward"] >= by_method["best-of-n-learnt"]["reward"]
    assert by_method["best-of-n-learnt"]["learnt_gain"] > by_method["best-of-n"]["learnt_gain"]


def test_a_record_is_written_whole_and_read_back_and_names_no_machine_and_no_user(config, jobs_done, tmp_path):
    record = circumstances("dpo-notes frontier") | gather(config, JobFolder(jobs_done))
    write_record(tmp_path / "frontier.json", record)
    assert read_record(tmp_path / "frontier.json") == json.loads(json.dumps(record))
    assert [path.name for path in tmp_path.iterdir()] == ["frontier.json"]
    told = json.dumps(circumstances("dpo-notes frontier"))
    assert set(json.loads(told)) == {"command", "date", "machine", "versions"}
    assert platform.node() not in told
    assert str(Path.home()) not in told


def test_results_of_other_settings_or_data_are_refused_and_more_seeds_are_not(config, jobs_done):
    with pytest.raises(InputError, match=r"base\.json is from another experiment: prompts was 6 and is now 5"):
        next(run_frontier(replace(config, prompts=5), jobs_done))
    digests = setting_digests(config)
    more = replace(config, seeds=(0, 1), dpo_betas=(0.5, 2.0))
    files = JobFolder(jobs_done)
    jobs = [job for job in jobs_of(more) if job.method != "optimum"]
    left = [job.name for job in jobs if not files.has(job.name, identity_of(more, job, digests))]
    assert left == [name for name in left if "seed1" in name or "dpo-2-" in name]
    assert "dpo-2-seed0" in left
    job = next(jobs_of(config))
    with pytest.raises(InputError, match="weights was"):
        files.has("base", identity_of(config, job, digests | {"weights": "others"}))


def test_a_damaged_result_is_refused(config, tmp_path):
    take_folder(tmp_path, maker="frontier")
    (tmp_path / "base.json").write_text('{"identity"', encoding="utf-8")
    with pytest.raises(InputError, match=r"base\.json is damaged"):
        next(run_frontier(config, tmp_path))


def test_prompts_of_another_world_are_refused_before_anything_is_done(start, tmp_path):
    row = {"prompt": "Who are you?", "chosen": " A model.", "rejected": " Nobody."}
    for split in ("train", "test"):
        (tmp_path / f"{split}.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    with pytest.raises(InputError, match="'Who are you\\?' is not from the review world"):
        run_frontier(small_config(start, data=str(tmp_path)), tmp_path / "jobs")
    assert not (tmp_path / "jobs").exists()


def test_all_methods_see_the_same_comparisons_and_the_same_held_out_prompts(start):
    setting = load_setting(small_config(start, pairs=5, prompts=4))
    assert setting.pairs == load_pairs(start / "data", split="train")[:5]
    assert setting.prompts == [pair.prompt for pair in load_pairs(start / "data", split="test")[:4]]
    assert not any(parameter.requires_grad for parameter in setting.reference.parameters())
    assert all(parameter.requires_grad for parameter in setting.policy.parameters())


def test_shown_prompts_are_different_ones_of_both_kinds():
    shown = load_setting(FULL).shown_prompts
    assert len(set(shown)) == 6
    assert sum("The " in prompt for prompt in shown) == 3


def test_figures_by_hand():
    """Rewards 1 and 3: mean 2, error sqrt(2 / 2) = 1; one win and one tie of two: 3/4."""
    ones = torch.ones(2, dtype=torch.float64)
    found = figures(torch.tensor([1.0, 3.0]).double(), ones, 7 * ones, torch.tensor([1.0, 0.5]).double())
    assert (found["reward"], found["reward_error"], found["win_rate"]) == (2.0, 1.0, 0.75)
    assert (found["grammatical"], found["length"]) == (1.0, 7.0)
    assert 0 < found["win_low"] < 0.75 < found["win_high"] < 1


def test_the_whole_experiment_has_at_least_four_strengths_and_three_seeds_of_every_method():
    assert len(FULL.seeds) >= 3
    assert min(map(len, (FULL.dpo_betas, FULL.ppo_betas, FULL.sft_epochs, FULL.draws))) >= 4
    names = [job.name for job in jobs_of(FULL)]
    assert len(set(names)) == len(names)
    for job in jobs_of(FULL):
        assert set(job.needs) <= set(names[: names.index(job.name)])  # what it needs comes before


def test_the_learning_rate_of_dpo_falls_with_the_root_of_beta():
    assert FULL.dpo_learning_rate(1.0) == FULL.dpo.learning_rate
    assert FULL.dpo_learning_rate(0.25) == pytest.approx(2 * FULL.dpo.learning_rate)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("seeds", (), "seeds is ()"),
        ("dpo_betas", (1.0, 1.0), "all different"),
        ("ppo_betas", (0.0,), "expected a finite number above 0"),
        ("pool", 3, "pool is 3; expected at least 8"),
        ("prompts", 1, "prompts is 1; expected at least 2"),
        ("seeds", (-1,), "whole numbers from 0"),
    ],
)
def test_settings_out_of_range_are_refused(field, value, words):
    with pytest.raises(InputError) as error:
        replace(QUICK, **{field: value})
    assert words in str(error.value)


# The command.


@pytest.mark.parametrize("words", [["--betas", "0"], ["--betas", "nan"], ["--seeds", "0"], ["--workers", "0"]])
def test_bad_input_is_one_line_and_exit_code_2(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["frontier", *words]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_the_command_leaves_record_and_picture_and_prints_every_point(config, jobs_done, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(frontier_run, "QUICK", config)  # whose jobs are done
    assert main(["frontier", "--quick", "--jobs", str(jobs_done), "--output", str(tmp_path)]) == 0
    assert (tmp_path / "frontier.png").read_bytes().startswith(b"\x89PNG")
    record = read_record(tmp_path / "frontier.json")
    assert record["points"] == gather(config, JobFolder(jobs_done))["points"]
    assert record["command"].startswith("dpo-notes frontier --quick --jobs ")
    printed = capsys.readouterr().out
    for label in (
        "base model",
        "DPO, by beta 0.5",
        "best-of-n by the true reward, by n 2",
        "optimal policy, by beta 1",
    ):
        assert label in printed


@pytest.fixture
def called(monkeypatch, tmp_path) -> list[dict]:
    """What `dpo-notes frontier` would do, once for each call: nothing is trained, drawn or written."""
    calls = []

    def run(config, folder, workers):
        calls.append({"config": config, "jobs": folder, "workers": workers})
        return iter(())

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(frontier_run, "run_frontier", run)
    monkeypatch.setattr(frontier_run, "gather", lambda config, folder: {})
    monkeypatch.setattr(frontier_run, "write_picture", lambda path, record: None)
    monkeypatch.setattr(frontier_run, "table", lambda record: "")
    noted = lambda path, record: calls[-1].update(output=path.parent, command=record["command"])
    monkeypatch.setattr(frontier_run, "write_record", noted)
    return calls


def test_the_command_takes_betas_seeds_workers_and_folders(called):
    words = ["--betas", "0.25", "2", "--seeds", "2", "--workers", "3", "--jobs", "the jobs", "--output", "out"]
    assert main(["frontier", "--quick", *words]) == 0
    (call,) = called
    assert call["config"] == replace(QUICK, dpo_betas=(0.25, 2.0), ppo_betas=(0.25, 2.0), seeds=(0, 1))
    assert (call["jobs"], call["workers"], call["output"]) == (Path("the jobs"), 3, Path("out"))
    again = shlex.split(call["command"].removeprefix("dpo-notes "))
    assert main(again) == 0
    assert called[1] == call


def test_only_the_whole_experiment_writes_into_the_data_of_the_repository(called):
    """With other seeds or betas the record would not be the one that notebooks and data card speak of."""
    for words in ([], ["--seeds", "1"], ["--quick"]):
        main(["frontier", *words])
    assert [call["output"] for call in called] == [
        data_folder() / "recorded" / "frontier", Path("runs/frontier"), Path("runs/frontier-quick"),
    ]  # fmt: skip


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (JobFailed("dpo-1-seed0: no memory"), 1)])
def test_a_stop_says_where_the_results_are_and_how_to_go_on(monkeypatch, called, capsys, error, code):
    def stopped(config, folder, workers):
        yield Progress(None, 0, 8)
        raise error

    monkeypatch.setattr(frontier_run, "run_frontier", stopped)
    assert main(["frontier", "--quick", "--workers", "3"]) == code
    said = capsys.readouterr().err
    assert "kept in runs/frontier-quick; continue with: dpo-notes frontier --quick --workers 3" in said
    assert str(error) in said
