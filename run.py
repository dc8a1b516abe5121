"""Everything in one command, the same on Linux, macOS and Windows (python3 where that is its name).

python run.py             train the embedded GPT-2 with DPO; says where curves and samples are and what to do next
python run.py lab         open the notebooks in JupyterLab
python run.py doctor      check whether this machine is ready, and say how to fix what is not
python run.py test        run the tests; --fast without notebooks, browser and processes, --slow with everything
python run.py lint        for authors: rules and format of the code (ruff), types of the public names (mypy)
python run.py audit       check our pinned packages for known vulnerabilities (needs the network)
python run.py notebooks   for authors: execute the notebooks in place, all of them or those named
python run.py site        for teachers: the notebooks as a website that needs no Python, in build/site
python run.py slides      for teachers: a reveal.js deck from each notebook, in build/slides
python run.py student     for teachers: a copy for the class, without hints and solutions, in build/student
python run.py bench       time our training beside TRL's, on the presets named or all; --device cuda on a GPU
python run.py grade       for teachers: run the checkers over a folder of returned notebooks
python run.py sample | evaluate | pretrain | reward-model | ppo | frontier ...   other commands; --help says more

The first call sets up the folder .venv beside this file; later calls start at once. Arguments after the job are passed
on: `python run.py train --beta 0.5`, `python run.py lab --no-browser`, `python run.py test -k losses`.
"""

from __future__ import print_function

import sys

# Before anything else, and in a file that old Pythons can parse (no f-string), so that they reach this line.
if sys.version_info < (3, 11):
    sys.exit("dpo-notes needs Python 3.11 or newer; %s is Python %d.%d." % ((sys.executable,) + sys.version_info[:2]))

import hashlib
import importlib.util
import os
import shutil
import signal
import subprocess
import time
import venv
from pathlib import Path

from dpo_notes.commands import COMMANDS  # from this folder; it imports only the standard library

ROOT = Path(__file__).resolve().parent
ENV = ROOT / ".venv"
PYTHON = ENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
READY = ENV / "dpo-notes-ready"  # marks the folder as ours; empty until set-up is complete, then holds fingerprint()
TESTS_READY = ENV / "dpo-notes-tests-ready"
SITE_READY = ENV / "dpo-notes-site-ready"
LOG = ENV / "dpo-notes-pip.log"
LISTS = [ROOT / "requirements.txt", ROOT / "pyproject.toml"]
TEST_LIST = ROOT / "tests" / "requirements.txt"
SITE_LIST = ROOT / "authoring" / "site-requirements.txt"

JOBS = {name: ["-m", "dpo_notes", name] for name in COMMANDS}
JOBS["test"] = ["-m", "pytest", "-q"]
JOBS["lint"] = [str(ROOT / "authoring" / "lint.py")]
JOBS["audit"] = [str(ROOT / "authoring" / "audit.py")]
JOBS["notebooks"] = [str(ROOT / "authoring" / "execute.py")]
JOBS["bench"] = [str(ROOT / "benchmarks" / "compare_trl.py")]
JOBS["site"] = [str(ROOT / "authoring" / "build_site.py")]
JOBS["slides"] = [str(ROOT / "authoring" / "slides.py")]
JOBS["student"] = [str(ROOT / "authoring" / "student.py")]
TEST_SCOPES = {
    "--fast": ["-m", "not (slow or notebooks or browser or processes)", "-n", "logical", "--maxprocesses", "4"],
    "--slow": [],
}


class SetupError(Exception):
    """Set-up failed; the message is the line that we show the user."""


def fingerprint(lists):
    """What an environment was made for: Python and folder on the first line, a hash of the lists on the second."""
    contents = b"\0".join(path.read_bytes() for path in lists)
    return "Python %d.%d in %s\n%s" % (sys.version_info[:2] + (ROOT, hashlib.sha256(contents).hexdigest()))


def read(stamp):
    return stamp.read_text(encoding="utf-8") if stamp.exists() else ""


def set_up():
    """Make .venv or bring it up to date; does nothing if it is complete."""
    wanted = fingerprint(LISTS)
    found = read(READY)
    if PYTHON.exists() and found == wanted:
        return
    start = time.monotonic()
    if PYTHON.exists() and found.split("\n")[0] == wanted.split("\n")[0]:
        print("The requirements have changed: bringing %s up to date." % ENV, flush=True)
    else:
        print("Setting up %s. This happens once and takes a few minutes, mostly downloads." % ENV, flush=True)
        make_environment()
    READY.write_text("", encoding="utf-8")  # if this is interrupted, the next call starts from an empty folder
    pip_install("-r", str(ROOT / "requirements.txt"))
    pip_install("--no-deps", "-e", str(ROOT))
    READY.write_text(wanted, encoding="utf-8")
    print("Set-up finished in %d s." % (time.monotonic() - start), flush=True)


def set_up_more(what, pins, stamp):
    """Install the extra packages for the tests or the website, on first use."""
    wanted = fingerprint(LISTS + [pins])
    if read(stamp) == wanted:
        return
    print("Installing the extra packages for the %s, once." % what, flush=True)
    pip_install("-r", str(pins), "-c", str(ROOT / "requirements.txt"))
    stamp.write_text(wanted, encoding="utf-8")


def make_environment():
    """Make an empty environment in .venv; an environment of that name that is not ours stays as it is."""
    if os.path.lexists(ENV) and not READY.exists() and not (ENV.is_dir() and not any(ENV.iterdir())):
        raise SetupError("%s was not made by run.py, so we do not touch it: rename or remove it, then try again." % ENV)
    if importlib.util.find_spec("ensurepip") is None:
        package = "python%d.%d-venv" % sys.version_info[:2]
        raise SetupError("This Python lacks ensurepip. On Debian or Ubuntu: sudo apt install %s" % package)
    ENV.mkdir(exist_ok=True)
    READY.write_text("", encoding="utf-8")
    for entry in ENV.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry != READY:
            entry.unlink()
    venv.create(ENV, with_pip=True, symlinks=os.name != "nt")


def pip_install(*arguments):
    command = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check", "--log", str(LOG)]
    code, last = follow(command + list(arguments))
    if code != 0:
        raise SetupError("pip failed (exit code %d); its full log is in %s, and ends:\n%s" % (code, LOG, last))


def follow(command):
    """(exit code, last lines) of a command; a terminal shows its latest line, a file nothing."""
    last = []
    shown = sys.stdout.isatty()
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "encoding": "utf-8", "errors": "replace"}
    with subprocess.Popen(command, cwd=ROOT, **streams) as process:
        for line in process.stdout:
            last = (last + [line.rstrip()])[-20:]
            if shown:
                width = shutil.get_terminal_size().columns - 1
                print("\r" + last[-1].strip()[:width].ljust(width), end="", flush=True)
    if shown and last:
        print("\r" + " " * width, end="\r", flush=True)
    return process.returncode, "\n".join(last)


def run_job(job, arguments):
    """Run the job; returns its exit code. The job itself handles Ctrl-C; this process only waits."""
    if job == "test":
        scope = next((TEST_SCOPES[word] for word in arguments if word in TEST_SCOPES), ["-m", "not slow"])
        arguments = scope + [word for word in arguments if word not in TEST_SCOPES]
    signal.signal(signal.SIGINT, lambda *_: None)
    folder = ROOT if job == "test" else None  # other jobs resolve paths from the user's current folder
    code = subprocess.run([str(PYTHON)] + JOBS[job] + arguments, cwd=folder, check=False).returncode
    return code if code >= 0 else 128 - code  # ended by a signal: the number that a shell gives


def main(words):
    if words[:1] in (["-h"], ["--help"]):
        print(__doc__.strip())
        return 0
    named = bool(words) and not words[0].startswith("-")
    job, arguments = (words[0], words[1:]) if named else ("train", words)
    if job not in JOBS:
        print("run.py: no job %r; there are: %s" % (job, ", ".join(JOBS)), file=sys.stderr)
        return 2
    try:
        set_up()
        if job in ("test", "lint", "audit", "bench"):
            set_up_more("suite of tests", TEST_LIST, TESTS_READY)
        if job in ("test", "audit", "site", "slides"):
            set_up_more("website", SITE_LIST, SITE_READY)
    except KeyboardInterrupt:
        print("\nSet-up interrupted; the next call starts it again.", file=sys.stderr)
        return 130
    except (SetupError, OSError, subprocess.CalledProcessError) as problem:
        print("Set-up failed: %s" % problem, file=sys.stderr)
        return 1
    return run_job(job, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
