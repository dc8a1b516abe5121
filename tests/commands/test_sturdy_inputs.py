"""Bad inputs to `dpo-notes train`: it prints one clear line and writes nothing, or trains if the input is allowed.

Other tools accept them silently or answer with a bare KeyError. More bad rows: test_bad_rows.py.
"""

import json
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from by_hand import logp_by_hand, tokens_by_hand
from runs import save
from safetensors.torch import load_file, save_file

from dpo_notes.cli import main
from dpo_notes.maths.errors import InputError
from dpo_notes.maths.loss_family import exo_loss, robust_loss
from dpo_notes.maths.losses import dpo_loss

PLACES = (("Paris", "France"), ("Rome", "Italy"), ("Lima", "Peru"), ("Kyoto", "Japan"))
GOOD = [{"prompt": f"Where is {a}?", "chosen": f" {a} is in {b}.", "rejected": " No idea."} for a, b in PLACES]
TEXTS = [tuple(row.values()) for row in GOOD]
TEN_MEGABYTES = 10_000_000
USER, ANSWER, OTHER = (
    {"role": role, "content": text} for role, text in [("user", "Hi"), ("assistant", "Hello"), ("assistant", "What?")]
)
CHAT = {"prompt": [USER], "chosen": [ANSWER], "rejected": [OTHER]}
ORDER = "expected at most one system message, then user and assistant in turn, user last"
ONE_ANSWER = "expected one, from assistant, that follows the prompt (whole conversations go without a prompt column)"
FORMS = "expected text or a list of chat messages"
COLUMNS = "expected chosen, rejected and usually prompt"
END = "<|endoftext|>"


def lines(*rows: object) -> bytes:
    """JSON Lines; bytes among the rows are lines as they are."""
    return b"".join((row if isinstance(row, bytes) else json.dumps(row).encode()) + b"\n" for row in rows)


def third(row: object) -> bytes:
    """Good comparisons with this row among them, on line 3."""
    return lines(*GOOD[:2], row, *GOOD[2:])


def without(column: str) -> dict:
    return {name: text for name, text in GOOD[0].items() if name != column}


BAD_ROWS = {  # what is on line 3, and what is wrong with it
    "no chosen": (without("chosen"), f"no column 'chosen'; found: 'prompt', 'rejected'; {COLUMNS}"),
    "no prompt": (
        without("prompt"),
        "no column 'prompt'; found: 'chosen', 'rejected'; expected one, as in the rows before",
    ),
    "null": (GOOD[0] | {"chosen": None}, f"chosen is null; {FORMS}"),
    "a number": (GOOD[0] | {"rejected": 7.5}, f"rejected is a number; {FORMS}"),
    "a list": (GOOD[0] | {"chosen": ["a"]}, "message 1 of chosen is text; expected an object with role and content"),
    "broken JSON": (
        b'{"prompt": "a", "cho',
        "broken JSON at column 17 (Unterminated string starting at); expected one object on the line",
    ),
    "10 MB of broken JSON": (
        b'{"prompt": "' + b"x" * TEN_MEGABYTES,
        "broken JSON at column 12 (Unterminated string starting at); expected one object on the line",
    ),
    "invalid UTF-8": (
        b'{"prompt": "a\xff", "chosen": " b", "rejected": " c"}',
        "not valid UTF-8 (invalid start byte: 0xff, byte 14 of the line); expected UTF-8 text",
    ),
    "an empty response": (GOOD[0] | {"rejected": ""}, "rejected is empty; expected a response"),
    "equal responses": (
        GOOD[0] | {"chosen": " No idea."},
        "chosen equals rejected, which teaches nothing; expected two different responses",
    ),
    "end of text in a response": (
        GOOD[0] | {"chosen": f" In{END} France."},
        f"chosen holds {END}; expected text without it: it is appended",
    ),
    "end of text in a message": (
        CHAT | {"prompt": [USER | {"content": f"Hi{END}"}]},
        f"prompt holds {END}; expected text without it: it is appended",
    ),
    "the assistant first": (
        CHAT | {"prompt": [ANSWER, USER]},
        f"message 1 of prompt is from assistant, not from user; {ORDER}",
    ),
    "the user twice": (
        CHAT | {"prompt": [USER, USER]},
        f"message 2 of prompt is from user, not from assistant; {ORDER}",
    ),
    "the assistant last": (CHAT | {"prompt": [USER, ANSWER]}, f"prompt ends with a message from assistant; {ORDER}"),
    "an answer of the user": (CHAT | {"chosen": [USER]}, f"chosen has messages from: 'user'; {ONE_ANSWER}"),
}
BAD_FILES = {  # the file, and what is wrong with it
    "an empty file": ("a.jsonl", b"", "a.jsonl: no rows; expected at least one comparison"),
    "a missing column": (
        "a.csv",
        b"prompt,chosen\nWhere?, There.\n",
        f"a.csv, line 2: no column 'rejected'; found: 'prompt', 'chosen'; {COLUMNS}",
    ),
    "an empty column": (
        "a.csv",
        b"prompt,chosen,rejected\n, An empty prompt is allowed., Is it?\nWhere?,, Here.\n",
        "a.csv, line 3: chosen is empty; expected a response",
    ),
    "UTF-16": (
        "a.csv",
        "prompt,chosen,rejected\n".encode("utf-16"),
        "a.csv, line 1: not valid UTF-8 (invalid start byte: 0xff, byte 1 of the line); expected UTF-8 text",
    ),
} | {name: ("a.jsonl", third(row), f"a.jsonl, line 3: {problem}") for name, (row, problem) in BAD_ROWS.items()}
POSITIVE = "expected a finite number above 0"
BAD_SETTINGS = {  # "…" stands for words that are left open
    "--beta 0": f"beta is 0.0; {POSITIVE}",
    "--beta -0.1": f"beta is -0.1; {POSITIVE}",
    "--beta nan": f"beta is nan; {POSITIVE}",
    "--beta inf": f"beta is inf; {POSITIVE}",
    "--set learning_rate=nan": f"learning_rate is nan; {POSITIVE}",
    "--loss ppo": "loss is 'ppo'; expected one of dpo, cdpo, …",
    "--set betta=1": "--set betta=1: expected FIELD=VALUE with one of the fields beta, learning_rate, …",
    "--set label_smoothing=0.5": "--set label_smoothing=0.5: expected FIELD=VALUE with one of the fields beta, …",
    "--set epochs": "--set epochs: expected FIELD=VALUE with one of the fields …",
    "--set epochs=1.5": "--set epochs=1.5: expected a whole number",
    "--set cache_reference=maybe": "--set cache_reference=maybe: expected true or false",
    "--set precision=fp8": "precision is 'fp8'; expected one of auto, fp32, bf16, fp16",
    "--resume": "--resume needs --output: …",
    "--model no/such/folder": "cannot load a model from no/such/folder: no such folder, and no hub name …",
    "--data no_such_file.jsonl": "'no_such_file.jsonl': no such file or folder; expected one, 'embedded' or a hub name",
}


def cut_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:50_000])


def spoil_weights(folder: Path, value: float) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["transformer.ln_f.weight"][0] = value
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def empty_vocabulary(folder: Path) -> None:
    """As in a folder whose vocab.json was never filled; some loaders return a tokenizer without a word to say."""
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    (folder / "vocab.json").write_text("{}")
    (folder / "merges.txt").write_text("#version: 0.2\n")


def one_embedding_too_few(folder: Path) -> None:
    from transformers import GPT2LMHeadModel

    model = GPT2LMHeadModel.from_pretrained(folder)
    model.resize_token_embeddings(399)
    model.save_pretrained(folder)


BAD_MODELS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no weights": (
        lambda folder: (folder / "model.safetensors").unlink(),
        "cannot load a model from m: …no file named model.safetensors…",
    ),
    "cut weights": (cut_weights, "cannot load a model from m: …not fully covered…"),
    "NaN among the weights": (
        lambda folder: spoil_weights(folder, math.nan),
        "m: transformer.ln_f.weight has 1 entries that are NaN or infinite; expected finite numbers",
    ),
    "infinity among the weights": (
        lambda folder: spoil_weights(folder, -math.inf),
        "m: transformer.ln_f.weight has 1 entries that are NaN or infinite; expected finite numbers",
    ),
    "ids beyond the embedding": (
        one_embedding_too_few,
        "m: the tokenizer has ids up to 399 but the model embeds 399; they do not belong together",
    ),
    "an empty vocabulary": (
        empty_vocabulary,
        "m: the tokenizer turns text into no tokens; expected tokenizer.json or vocab.json and merges.txt",
    ),
}


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory, new_tiny_model, tiny_tokenizer) -> Path:
    return save(new_tiny_model(), tiny_tokenizer, tmp_path_factory.mktemp("sturdy") / "model")


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def assert_refused(words: list[str], problem: str, capsys) -> None:
    """Exit code 2, this line and no other, and in this folder nothing that was not there before."""
    before = sorted(Path().rglob("*"))
    assert main(words) == 2
    out, err = capsys.readouterr()
    pattern = ".*".join(re.escape(part) for part in f"dpo-notes: {problem}\n".split("…"))
    assert re.fullmatch(pattern, err) and len(err) < 600, err
    assert out == ""
    assert sorted(Path().rglob("*")) == before


@pytest.mark.parametrize(("name", "data", "problem"), BAD_FILES.values(), ids=BAD_FILES)
def test_bad_data_gets_one_line_and_exit_code_2_and_nothing_is_written(name, data, problem, here, model_folder, capsys):
    (here / name).write_bytes(data)
    assert_refused(["train", "--model", str(model_folder), "--data", name, "--output", "run"], problem, capsys)


@pytest.mark.parametrize(("words", "problem"), BAD_SETTINGS.items(), ids=BAD_SETTINGS)
def test_a_bad_setting_gets_one_line_and_exit_code_2_and_nothing_is_written(words, problem, here, capsys):
    assert_refused(["train", *words.split()], problem, capsys)


@pytest.mark.parametrize(("break_it", "problem"), BAD_MODELS.values(), ids=BAD_MODELS)
def test_a_bad_model_folder_gets_one_line_and_exit_code_2_and_nothing_is_written(
    break_it, problem, here, model_folder, capsys
):
    shutil.copytree(model_folder, here / "m")
    break_it(here / "m")
    (here / "a.jsonl").write_bytes(lines(*GOOD))
    capsys.readouterr()
    assert_refused(["train", "--model", "m", "--data", "a.jsonl", "--output", "run"], problem, capsys)


@pytest.mark.parametrize("loss", [dpo_loss, robust_loss, exo_loss])
@pytest.mark.parametrize("smoothing", [0.5, 0.7, math.nan])
def test_a_label_smoothing_of_a_half_or_more_is_refused(loss, smoothing):
    """It would say that the rejected response is the better one. No command takes it; a function of your own may."""
    with pytest.raises(InputError, match=rf"^label_smoothing is {smoothing}; expected "):
        loss(torch.zeros(1), torch.zeros(1), beta=0.1, label_smoothing=smoothing)


LONG_PROMPT, LONG_RESPONSE = "Where is Paris? " * 60, " Paris is in France." * 60


def cut_note(prompts: int, responses: int) -> str:
    return (
        f"longer than 96 tokens: {prompts} of 4 prompts lost their beginning and {responses} of 8 responses their end."
    )


SAMPLING = "longer than 48 tokens: 1 of 4 prompts lost their beginning."
ALLOWED = {  # the file, the fourth comparison where it is not as in GOOD, and the notes that are printed
    "an empty prompt": ("a.jsonl", lines(*GOOD[:3], GOOD[3] | {"prompt": ""}), {"prompt": ""}, []),
    "a prompt that ends in a space": (
        "a.jsonl",
        lines(*GOOD[:3], GOOD[3] | {"prompt": "Where? ", "chosen": "There."}),
        {"prompt": "Where? ", "chosen": "There."},
        [],
    ),
    "a byte-order mark": ("a.jsonl", b"\xef\xbb\xbf" + lines(*GOOD), {}, []),
    "line ends of Windows": ("a.jsonl", lines(*GOOD).replace(b"\n", b"\r\n"), {}, []),
    "both in a .csv": ("a.csv", "\r\n".join(["\ufeffprompt,chosen,rejected", *map(",".join, TEXTS)]).encode(), {}, []),
    "a duplicate": (
        "a.jsonl",
        lines(*GOOD[:3], GOOD[0]),
        GOOD[0],
        ["a.jsonl, line 4: the first of 1 exact duplicates of earlier pairs (4 in all), which are kept"],
    ),
    "a prompt longer than the context": (
        "a.jsonl",
        lines(*GOOD[:3], GOOD[3] | {"prompt": LONG_PROMPT}),
        {"prompt": LONG_PROMPT},
        [SAMPLING, cut_note(1, 0)],
    ),
    "a response longer than the context": (
        "a.jsonl",
        lines(*GOOD[:3], GOOD[3] | {"chosen": LONG_RESPONSE}),
        {"chosen": LONG_RESPONSE},
        [cut_note(0, 1)],
    ),
    "10 MB on one line": (
        "a.jsonl",
        lines(*GOOD[:3], GOOD[3] | {"prompt": "Where is Paris?\n" * (TEN_MEGABYTES // 16)}),
        {"prompt": "Where is Paris?\n" * 60},  # its end, which is all that fits
        [SAMPLING, cut_note(1, 0)],
    ),
}


def assert_trained(words: list[str], rows: list[dict], notes: list[str], model_folder: Path, capsys) -> None:
    """Exit code 0 and these notes; the first step saw these comparisons, with the scores that a naive loop gives."""
    from dpo_notes.language.load import load_model

    settings = ["batch_size=4", "eval_samples=0", "learning_rate=1e-3"]
    words = ["train", "--model", str(model_folder), *words, "--output", "run"]
    assert main([*words, *(word for setting in settings for word in ("--set", setting))]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("4 comparisons to train on, 0 held out")
    assert err[: err.find("\r")].splitlines() == [line for note in notes for line in f"note: {note}".splitlines()]
    model, tokenizer = load_model(model_folder)
    by_hand = []
    for row in rows:
        prompt, responses = tokens_by_hand(tokenizer, row["prompt"], (row["chosen"], row["rejected"]), max_length=96)
        by_hand.append([logp_by_hand(model, prompt, response) for response in responses])
    [first] = [json.loads(line) for line in Path("run/metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    means = [sum(side) / 4 for side in zip(*by_hand, strict=True)]
    assert [first["logps/chosen"], first["logps/rejected"]] == pytest.approx(means, rel=1e-5)
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert load_file("run/model/model.safetensors")


@pytest.mark.parametrize(("name", "data", "fourth", "notes"), ALLOWED.values(), ids=ALLOWED)
def test_what_is_allowed_trains_with_the_scores_of_a_naive_loop_and_warns_about_what_was_cut(
    name, data, fourth, notes, here, model_folder, capsys
):
    (here / name).write_bytes(data)
    assert_trained(["--data", name], [*GOOD[:3], GOOD[3] | fourth], notes, model_folder, capsys)
    assert Path("run/samples.md").stat().st_size < 10_000


def test_bad_rows_are_skipped_where_this_is_asked_and_counted_and_the_first_three_shown(here, model_folder, capsys):
    """All bad rows of this file, before, between and after the good ones; the run repeats with the same words."""
    bad = [row for row, _ in BAD_ROWS.values()]
    (here / "a.jsonl").write_bytes(lines(GOOD[0], *bad[:4], *GOOD[1:3], *bad[4:], GOOD[3]))
    problems = [message for _, message in BAD_ROWS.values()][:3]
    shown = "".join(f"\n  a.jsonl, line {number}: {message}" for number, message in enumerate(problems, start=2))
    count = len(BAD_ROWS)
    notes = [f"a.jsonl: bad rows left out: {count} of {count + 4}. The first of them:{shown}"]
    assert_trained(["--data", "a.jsonl", "--on-bad-row", "skip"], GOOD, notes, model_folder, capsys)
    command = json.loads(Path("run/config.json").read_text(encoding="utf-8"))["command"]
    assert " --on-bad-row skip " in command


@pytest.mark.parametrize("command", ["train", "reward-model", "ppo", "evaluate"])
def test_every_command_that_reads_comparisons_stops_at_a_bad_row_or_skips_it(command, here, model_folder, capsys):
    """With none but bad rows there is nothing to go on with, either way."""
    (here / "a.jsonl").write_bytes(lines(BAD_ROWS["null"][0], BAD_ROWS["equal responses"][0]))
    words = [command, "--model", str(model_folder), "--data", "a.jsonl"]
    words += ["--reference", str(model_folder)] if command == "evaluate" else ["--output", "run"]
    problem = f"a.jsonl, line 1: {BAD_ROWS['null'][1]}"
    assert_refused(words, problem, capsys)
    assert_refused([*words, "--on-bad-row", "stop"], problem, capsys)
    skipped = f"a.jsonl: none of 2 rows is a comparison; {problem}"
    assert_refused([*words, "--on-bad-row", "skip"], skipped, capsys)
