"""The sandbox of a returned notebook: bubblewrap shows it Python and this package without its answers, and nothing else.

https://github.com/containers/bubblewrap. There is no network, no process but its own, and nobody's home. All that it sees
is read-only, but for two file systems of a fixed size, in memory, which end with it. What it takes of time and memory is
watched from outside, by `run_submission.py`.
"""

import os
import platform
import shutil
import site
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path
from struct import pack

import dpo_notes
from dpo_notes.language.embedded import data_folder
from dpo_notes.maths.errors import InputError
from dpo_notes.teaching.exercises import checking

DISK, SHARED_MEMORY = 256 * 2**20, 64 * 2**20  # bytes
PRIVATE = "/reader"  # the folder that it works in, and may write to; nobody has a clone below such a place
PACKAGE = Path(dpo_notes.__file__).resolve().parent
EXERCISES = Path(checking.__file__).resolve().parent
WITHOUT_ANSWERS = (EXERCISES / "__init__.py", EXERCISES / "checking.py")
SYSTEM = ("/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64", "/nix/store", "/etc/ld.so.cache")
PROCESSOR = ("/proc/cpuinfo", "/sys/devices/system/cpu")  # or torch would choose its slowest code
OPTIONS = ("--unshare-user", "--unshare-all", "--disable-userns", "--cap-drop", "ALL", "--die-with-parent")
HELP = (
    "Install bubblewrap 0.8 or newer (Debian, Ubuntu: apt install bubblewrap), or mark in a container: notebooks/TEACHING.md, "
    "Marking, says how. With --unconfined notebooks can do whatever you can"
)
# Calls that no exercise needs: sockets, memory that belongs to no process, keys, rings, probes, other processes' memory. By
# processor its number for auditing, then those of socket, memfd_create, memfd_secret, shmget, msgget, add_key, request_key,
# keyctl, io_uring_setup, userfaultfd, perf_event_open, bpf, ptrace, process_vm_readv and process_vm_writev (the kernel's
# linux/audit.h and asm/unistd.h).
REFUSED_CALLS = {
    "x86_64": (0xC000003E, (41, 319, 447, 29, 68, 248, 249, 250, 425, 323, 298, 321, 101, 310, 311)),
    "aarch64": (0xC00000B7, (198, 279, 447, 194, 186, 217, 218, 219, 425, 282, 241, 280, 117, 270, 271)),
}
SECOND_NUMBERING = 0x40000000  # of x86-64 (x32) begins here


def why_not() -> str:
    """Why this machine has no sandbox, and what to do then; empty where a trial shows that it has one."""
    if not sys.platform.startswith("linux"):
        return f"bubblewrap needs Linux, and this is {platform.system()}. {HELP}"
    if shutil.which("bwrap") is None:
        return f"bubblewrap (bwrap) is not installed. {HELP}"
    if platform.machine() not in REFUSED_CALLS:
        return f"the sandbox knows the processors {', '.join(REFUSED_CALLS)}, and this is {platform.machine()}. {HELP}"
    trial = start(["-c", ""], environment={}, hidden=(), stderr=subprocess.PIPE)
    said = trial.communicate()[1].decode(errors="replace").split()
    return f"bubblewrap cannot work on this machine ({' '.join(said)[-200:]}). {HELP}" if trial.returncode else ""


def start(
    words: Sequence[str], *, environment: dict[str, str], hidden: Sequence[Path], stderr: int = subprocess.DEVNULL
) -> subprocess.Popen:
    """Python with these words in the sandbox, its input and output as pipes; `hidden`: files and folders it never sees."""
    reading, writing = os.pipe()
    try:
        with os.fdopen(writing, "wb") as file:
            file.write(_call_filter())
        command = ["bwrap", *OPTIONS, "--new-session", "--clearenv", "--seccomp", str(reading), *_view(hidden)]
        for name, value in environment.items():
            command += ["--setenv", name, value]
        command += ["--setenv", "PYTHONPATH", str(PACKAGE.parent), "--", sys.executable, "-P", *words]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=stderr, pass_fds=[reading])
    finally:
        os.close(reading)


def refuse_around(folder: Path) -> None:
    """Raise InputError for a folder with Python or the package in it: it cannot be hidden from the notebooks."""
    inside = next((path for path in _visible() if path.is_relative_to(folder.resolve())), None)
    if inside is not None:
        raise InputError(
            f"{folder} holds {inside}, which every notebook must see; expected a folder of its own for them"
        )


def _visible() -> list[Path]:
    """What Python, the package and the embedded model need to be read; parents before children."""
    paths = {sys.executable, PACKAGE, data_folder(), PACKAGE.parent / "benchmarks"}  # a notebook shows one of these
    paths |= {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    paths |= {site.getusersitepackages()} if site.ENABLE_USER_SITE else set()
    for prefix in (sys.prefix, sys.exec_prefix, sys.base_prefix):
        paths |= {os.path.join(prefix, name) for name in ("lib", "lib64", "pyvenv.cfg")}
    return sorted(path for path in map(Path, {*SYSTEM, *PROCESSOR, *paths}) if path.exists())


def _view(hidden: Sequence[Path]) -> Iterator[str]:
    """bubblewrap's words for the files that are there."""
    visible = _visible()
    for path in visible:
        yield from ("--symlink", os.readlink(path), str(path)) if path.is_symlink() and path.is_dir() else _read(path)
    yield from ("--tmpfs", str(EXERCISES))
    for path in WITHOUT_ANSWERS:
        yield from _read(path)
    yield from ("--remount-ro", str(EXERCISES))
    copies = {(path / "dpo_notes").resolve() for path in visible} - {PACKAGE}
    for path in [*copies, *(path.resolve() for path in hidden)]:
        if path.exists() and any(path.is_relative_to(seen.resolve()) for seen in visible):
            folder = ("--tmpfs", str(path), "--remount-ro", str(path))
            yield from folder if path.is_dir() else _read(os.devnull, path)
    yield from ("--dev", "/dev", "--size", str(SHARED_MEMORY), "--tmpfs", "/dev/shm", "--remount-ro", "/dev")
    yield from ("--size", str(DISK), "--tmpfs", PRIVATE, "--chdir", PRIVATE, "--remount-ro", "/")


def _read(source: Path | str, place: Path | None = None) -> tuple[str, ...]:
    return ("--ro-bind", str(source), str(place or source))


def _call_filter() -> bytes:
    """The calls of REFUSED_CALLS fail, those of another processor end the process: a program for the kernel's seccomp.

    Each instruction is a code, two jumps (if true, if false) and a number: https://docs.kernel.org/userspace-api/seccomp_filter.html.
    """
    audit, calls = REFUSED_CALLS[platform.machine()]
    load, equal, at_least, give = 0x20, 0x15, 0x35, 0x06
    end, fail, allow = 0x80000000, 0x00050001, 0x7FFF0000  # fail: with EPERM, which Python raises as PermissionError
    program = [(load, 0, 0, 4), (equal, 1, 0, audit), (give, 0, 0, end), (load, 0, 0, 0)]
    program += [(at_least, 0, 1, SECOND_NUMBERING), (give, 0, 0, end)]
    for call in calls:
        program += [(equal, 0, 1, call), (give, 0, 0, fail)]
    return b"".join(pack("=HBBI", *step) for step in [*program, (give, 0, 0, allow)])
