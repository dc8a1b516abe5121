"""run.py, the lists of requirements, and the pins. We install nothing: pip and the jobs are recorded, not run."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pins import CUDA, TORCH

import run

PROJECT = tomllib.loads((run.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PIN_FILES = [run.ROOT / "requirements.txt", run.TEST_LIST, run.SITE_LIST]


def pins(file: Path) -> list[Requirement]:
    lines = file.read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if not line.startswith("#")]


# The lists.


@pytest.mark.parametrize("file", PIN_FILES, ids=lambda file: file.relative_to(run.ROOT).as_posix())
def test_pins_are_exact_and_name_no_host_no_folder_and_nothing_of_cuda(file):
    text = file.read_text(encoding="utf-8")
    assert not re.search(r"://|^-|file:|@|/root|/home|/tmp", text, flags=re.MULTILINE)
    for pin in pins(file):
        assert re.fullmatch(r"==[\w.]+", str(pin.specifier)), f"{pin} is not one version"
        assert not str(pin).startswith(CUDA), f"{pin} belongs to the CUDA build of torch"


@pytest.mark.parametrize("version", ["3.11", "3.14"])
@pytest.mark.parametrize("system", ["linux", "darwin", "win32"])
def test_every_declared_dependency_is_pinned_once_within_its_range(version, system):
    extras = PROJECT["optional-dependencies"]
    declared = [PROJECT["dependencies"] + extras["notebooks"], extras["test"], extras["site"]]
    environment = {"python_version": version, "python_full_version": f"{version}.0", "sys_platform": system}
    seen = set()
    for file, wanted in zip(PIN_FILES, declared, strict=True):
        here = [pin for pin in pins(file) if not pin.marker or pin.marker.evaluate(environment)]
        names = [canonicalize_name(pin.name) for pin in here]
        assert len(names) == len(set(names)) and not seen & set(names)
        seen |= set(names)
        chosen = {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in here}
        for requirement in map(Requirement, wanted):
            assert requirement.specifier.contains(chosen[canonicalize_name(requirement.name)]), requirement
    assert TORCH in [str(pin) for pin in pins(PIN_FILES[0])]


def test_conda_and_binder_get_the_same_lists():
    """`-r` and `-e` read requirements.txt and pyproject.toml themselves: there is no second list to keep equal."""
    environment = yaml.safe_load((run.ROOT / "environment.yml").read_text(encoding="utf-8"))
    python, pip, by_pip = environment["dependencies"]
    assert environment["channels"] == ["conda-forge"]
    assert pip == "pip" and by_pip == {"pip": ["-r requirements.txt", "-e ."]}
    assert Requirement("python" + PROJECT["requires-python"]).specifier.contains(python.removeprefix("python="))


# The words of the command.


def test_help_prints_every_job():
    said = subprocess.run([sys.executable, run.__file__, "--help"], capture_output=True, text=True, check=True).stdout
    for job in run.JOBS:
        assert re.search(rf"\b{job}\b", said)
    assert "--fast" in said and "--slow" in said


def test_an_old_python_can_parse_the_file_and_gets_one_line():
    """No f-string, `:=` or annotation, which old Pythons cannot parse; the check comes before all other imports."""
    tree = ast.parse(Path(run.__file__).read_text(encoding="utf-8"))
    too_new = (ast.JoinedStr, ast.NamedExpr, ast.AnnAssign, ast.Match)
    assert not [node for node in ast.walk(tree) if isinstance(node, too_new)]
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.arg) and node.annotation]
    kinds = [type(node).__name__ for node in tree.body[:4]]
    assert kinds == ["Expr", "ImportFrom", "Import", "If"]


def test_run_py_needs_the_standard_library_only():
    """-S: without any package that is installed."""
    subprocess.run([sys.executable, "-S", "-E", run.__file__, "--help"], capture_output=True, check=True)


# What it does, in an empty folder, with the commands recorded.


class Recorder:
    """Stands in for subprocess.run and venv.create: keeps the words of each command and gives the code asked for."""

    def __init__(self):
        self.commands, self.created, self.codes = [], 0, {}

    def run(self, command, **kwargs):
        self.commands.append([str(word) for word in command[1:]])
        code = next((code for word, code in self.codes.items() if word in self.commands[-1]), 0)
        if isinstance(code, BaseException):
            raise code
        return subprocess.CompletedProcess(command, code)

    def follow(self, command):
        return self.run(command).returncode, "the last that pip said"

    def create(self, folder, **kwargs):
        self.created += 1
        run.PYTHON.parent.mkdir(parents=True)
        run.PYTHON.touch()

    def installs(self):
        """The words after `-m pip install --disable-pip-version-check --log FILE` of each call of pip."""
        return [command[6:] for command in self.commands if command[:3] == ["-m", "pip", "install"]]


@pytest.fixture
def recorder(tmp_path, monkeypatch):
    for name in ("ENV", "PYTHON", "READY", "TESTS_READY", "SITE_READY", "LOG"):
        monkeypatch.setattr(run, name, tmp_path / getattr(run, name).relative_to(run.ROOT))
    lists = []
    for source in [*run.LISTS, run.TEST_LIST, run.SITE_LIST]:
        lists.append(tmp_path / source.relative_to(run.ROOT).as_posix().replace("/", "-"))
        lists[-1].write_bytes(source.read_bytes())
    monkeypatch.setattr(run, "LISTS", lists[:2])
    monkeypatch.setattr(run, "TEST_LIST", lists[2])
    monkeypatch.setattr(run, "SITE_LIST", lists[3])
    recorder = Recorder()
    monkeypatch.setattr(run.subprocess, "run", recorder.run)
    monkeypatch.setattr(run, "follow", recorder.follow)
    monkeypatch.setattr(run.venv, "create", recorder.create)
    monkeypatch.setattr(run.signal, "signal", lambda *_: None)
    return recorder


def test_the_first_call_sets_up_and_the_second_starts_at_once(recorder, capsys):
    assert run.main([]) == 0
    assert recorder.created == 1
    assert recorder.installs() == [["-r", str(run.ROOT / "requirements.txt")], ["--no-deps", "-e", str(run.ROOT)]]
    assert str(run.ENV) in capsys.readouterr().out
    recorder.commands.clear()
    assert run.main([]) == 0
    assert recorder.commands == [["-m", "dpo_notes", "train"]]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["train", "--beta", "0.5"], ["-m", "dpo_notes", "train", "--beta", "0.5"]),
        (["--beta", "0.5"], ["-m", "dpo_notes", "train", "--beta", "0.5"]),
        (["lab", "--no-browser"], ["-m", "dpo_notes", "lab", "--no-browser"]),
        (["doctor"], ["-m", "dpo_notes", "doctor"]),
        (["test"], ["-m", "pytest", "-q", "-m", "not slow"]),
        (["test", "--fast"], ["-m", "pytest", "-q", *run.TEST_SCOPES["--fast"]]),
        (["test", "--slow", "-k", "dpo"], ["-m", "pytest", "-q", "-k", "dpo"]),
        (["notebooks", "x.ipynb"], [str(run.ROOT / "authoring" / "execute.py"), "x.ipynb"]),
    ],
)
def test_each_job_runs_its_command_with_the_words_that_follow(recorder, words, command):
    assert run.main(words) == 0
    assert recorder.commands[-1] == command


def test_an_unknown_job_is_one_line_and_sets_nothing_up(recorder, capsys):
    assert run.main(["trian"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert recorder.commands == [] and not run.ENV.exists()


def test_the_exit_code_of_the_job_is_passed_on(recorder):
    recorder.codes = {"dpo_notes": 2}
    assert run.main([]) == 2
    recorder.codes = {"dpo_notes": -15}  # ended by a signal
    assert run.main([]) == 143


def test_the_pins_of_tests_and_website_are_installed_once_and_only_where_they_are_needed(recorder):
    of_all = ["-c", str(run.ROOT / "requirements.txt")]
    run.main(["doctor"])
    assert len(recorder.installs()) == 2
    run.main(["site"])
    assert recorder.installs()[2:] == [["-r", str(run.SITE_LIST), *of_all]]
    run.main(["test"])
    run.main(["test"])
    run.main(["site"])
    assert recorder.installs()[3:] == [["-r", str(run.TEST_LIST), *of_all]]


@pytest.mark.parametrize("stage", ["requirements", "project"])
@pytest.mark.parametrize("ending", ["pip fails", "Ctrl-C"])
def test_a_set_up_that_did_not_finish_is_made_anew(recorder, capsys, stage, ending):
    word = {"requirements": str(run.ROOT / "requirements.txt"), "project": "--no-deps"}[stage]
    recorder.codes = {word: 1 if ending == "pip fails" else KeyboardInterrupt()}
    assert run.main([]) == (1 if ending == "pip fails" else 130)
    assert ("pip failed" if ending == "pip fails" else "interrupted") in capsys.readouterr().err
    assert ["-m", "dpo_notes", "train"] not in recorder.commands
    (run.ENV / "left behind").touch()
    recorder.codes = {}
    assert run.main([]) == 0
    assert recorder.created == 2 and not (run.ENV / "left behind").exists()


@pytest.mark.parametrize("terminal", [True, False])
def test_of_what_pip_says_a_terminal_shows_the_latest_line_and_a_file_nothing(monkeypatch, capsys, terminal):
    monkeypatch.setattr(run.sys.stdout, "isatty", lambda: terminal, raising=False)
    program = (
        "import sys; [print('Collecting', k) for k in range(30)]; print('no space left', file=sys.stderr); sys.exit(3)"
    )
    code, last = run.follow([sys.executable, "-u", "-c", program])
    assert code == 3 and last.splitlines()[0] == "Collecting 11" and last.splitlines()[-1] == "no space left"
    shown = capsys.readouterr().out
    assert "\n" not in shown
    assert [line.strip() for line in shown.split("\r") if line.strip()][-2:] == [
        "Collecting 29",
        "no space left",
    ] * terminal


def test_a_list_that_changed_is_installed_into_the_environment_that_is_there(recorder, capsys):
    run.main(["test"])
    capsys.readouterr()
    run.LISTS[0].write_text("numpy==2.4.6\n", encoding="utf-8")
    assert run.main(["test"]) == 0
    assert recorder.created == 1 and len(recorder.installs()) == 8
    assert "have changed" in capsys.readouterr().out


def test_an_update_that_did_not_finish_is_no_environment_to_keep(recorder):
    run.main([])
    run.LISTS[0].write_text("numpy==2.4.6\n", encoding="utf-8")
    recorder.codes = {"--no-deps": 1}
    assert run.main([]) == 1
    recorder.codes = {}
    assert run.main([]) == 0
    assert recorder.created == 2


@pytest.mark.parametrize("change", ["another Python", "the folder was moved", "its Python is gone"])
def test_an_environment_that_cannot_be_kept_is_made_anew(recorder, monkeypatch, tmp_path, change):
    run.main([])
    if change == "another Python":
        monkeypatch.setattr(run.sys, "version_info", (3, sys.version_info[1] + 1, 0))
    elif change == "the folder was moved":
        monkeypatch.setattr(run, "ROOT", tmp_path)
    else:
        run.PYTHON.unlink()
    assert run.main([]) == 0
    assert recorder.created == 2


def test_somebody_elses_environment_is_left_alone(recorder, capsys):
    run.ENV.mkdir()
    (run.ENV / "pyvenv.cfg").write_text("theirs", encoding="utf-8")
    assert run.main([]) == 1
    assert "was not made by run.py" in capsys.readouterr().err
    assert [file.name for file in run.ENV.iterdir()] == ["pyvenv.cfg"] and recorder.commands == []


def test_a_link_to_somebody_elses_environment_is_left_alone(recorder, tmp_path):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "pyvenv.cfg").touch()
    run.ENV.symlink_to(theirs, target_is_directory=True)
    assert run.main([]) == 1
    assert [file.name for file in theirs.iterdir()] == ["pyvenv.cfg"]


def test_a_python_without_ensurepip_is_one_line_that_names_the_package(recorder, monkeypatch, capsys):
    monkeypatch.setattr(run.importlib.util, "find_spec", lambda name: None)
    assert run.main([]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "sudo apt install python3." in said
    assert recorder.commands == []


def test_a_full_disk_is_one_line(recorder, monkeypatch, capsys):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run.venv, "create", full)
    assert run.main([]) == 1
    assert capsys.readouterr().err == "Set-up failed: [Errno 28] No space left on device\n"
