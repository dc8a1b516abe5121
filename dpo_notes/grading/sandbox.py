"""The sandbox of a returned notebook: bubblewrap shows it only Python and this package without the expected answers.

https://github.com/containers/bubblewrap. It has no network, no other processes and no home folders. All files are
read-only, except two in-memory file systems of fixed size, which disappear with it. `run_submission.py` limits its time
and memory from outside.
"""

import ctypes
import os
import platform
import shutil
import site
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path

from dpo_notes.maths.errors import InputError
from dpo_notes.pairs.embedded import data_folder
from dpo_notes.places import PACKAGE

DISK, SHARED_MEMORY = 256 * 2**20, 64 * 2**20  # bytes
PRIVATE = "/reader"  # its working folder, where it can write; nobody keeps a clone in such a place
LESSONS = PACKAGE / "lessons"
SYSTEM = ("/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64", "/nix/store", "/etc/ld.so.cache")
PROCESSOR = ("/proc/cpuinfo", "/sys/devices/system/cpu")  # or torch would choose its slowest code
OPTIONS = ("--unshare-user", "--unshare-all", "--disable-userns", "--cap-drop", "ALL", "--die-with-parent")
HELP = (
    "Install bubblewrap 0.8 or newer (Debian, Ubuntu: apt install bubblewrap), or mark in a container: see Marking in "
    "notebooks/TEACHING.md. With --unconfined notebooks can do whatever you can"
)
# Calls that no exercise needs: sockets, other processes and their memory, memory that belongs to no process, keys.
# A number, here and below, is a call that older libseccomps do not know: setxattrat, fchmodat2, file_setattr.
REFUSED = """socket setsockopt fork vfork ptrace process_vm_readv process_vm_writev pidfd_getfd memfd_create
    memfd_secret shmget semget msgget vmsplice io_uring_setup userfaultfd inotify_init inotify_init1 add_key
    request_key keyctl bpf perf_event_open setxattr lsetxattr fsetxattr 463"""
# Calls that seem to work but change nothing: a device such as /dev/null belongs to the machine and must be writable.
IGNORED = """chmod fchmod fchmodat 452 chown fchown lchown fchownat utime utimes futimesat utimensat 469"""
ALLOW, IGNORE, EPERM, ENOSYS = 0x7FFF0000, 0x00050000, 0x00050001, 0x00050026  # answers, as libseccomp has them
NEW_THREAD, MASKED_EQUAL = 0x10000, 7  # clone starts a thread if its first argument has this flag


def why_not(hidden: Sequence[Path] = ()) -> str:
    """Why this machine has no sandbox, and what to do about it; empty if a trial run shows that it has one."""
    if not sys.platform.startswith("linux"):
        return f"bubblewrap needs Linux, and this is {platform.system()}. {HELP}"
    if shutil.which("bwrap") is None:
        return f"bubblewrap (bwrap) is not installed. {HELP}"
    try:
        trial = start(["-c", ""], environment={}, hidden=hidden, stderr=subprocess.PIPE)
    except OSError as error:
        return f"libseccomp is not installed ({error}). {HELP}"
    words = trial.communicate()[1].decode(errors="replace").split()
    return f"bubblewrap cannot work on this machine ({' '.join(words)[-200:]}). {HELP}" if trial.returncode else ""


def start(
    words: Sequence[str], *, environment: dict[str, str], hidden: Sequence[Path], stderr: int = subprocess.DEVNULL
) -> subprocess.Popen:
    """Start Python in the sandbox, with pipes; it never sees `hidden`. Raises InputError if these hold the package."""
    reading = _call_filter()
    try:
        command = ["bwrap", *OPTIONS, "--new-session", "--clearenv", "--seccomp", str(reading), *_view(hidden)]
        for name, value in environment.items():
            command += ["--setenv", name, value]
        command += ["--setenv", "PYTHONPATH", str(PACKAGE.parent), "--", sys.executable, "-P", *words]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=stderr, pass_fds=[reading])
    finally:
        os.close(reading)


def _visible() -> list[Path]:
    """The paths of Python, the package and the embedded model; parents before children."""
    paths = {sys.executable, PACKAGE, data_folder()}
    paths |= {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    paths |= {site.getusersitepackages()} if site.ENABLE_USER_SITE else set()
    for prefix in (sys.prefix, sys.exec_prefix, sys.base_prefix):
        paths |= {os.path.join(prefix, name) for name in ("lib", "lib64", "pyvenv.cfg")}
    return sorted(path for path in map(Path, {*SYSTEM, *PROCESSOR, *paths}) if path.exists())


def _view(hidden: Sequence[Path]) -> Iterator[str]:
    """bubblewrap's arguments for the visible files."""
    visible = _visible()
    for path in visible:
        yield from ("--symlink", os.readlink(path), str(path)) if path.is_symlink() and path.is_dir() else _read(path)
    yield from ("--tmpfs", str(LESSONS))
    yield from (word for path in LESSONS.rglob("*.py") if path.name != "exercises.py" for word in _read(path))
    yield from ("--remount-ro", str(LESSONS))
    places = ("dpo_notes", "*-packages/dpo_notes", "python*/*-packages/dpo_notes")
    copies = {copy.resolve() for path in visible for place in places for copy in path.glob(place)} - {PACKAGE}
    for path in [*copies, *(Path(os.path.realpath(path)) for path in hidden)]:
        if inside := next((seen for seen in visible if path not in copies and seen.is_relative_to(path)), None):
            raise InputError(f"{path} holds {inside}, which every notebook must see; expected a folder of its own")
        if path.exists() and any(path.is_relative_to(seen.resolve()) for seen in visible):
            folder = ("--tmpfs", str(path), "--remount-ro", str(path))
            yield from folder if path.is_dir() else _read(os.devnull, path)
    yield from ("--dev", "/dev", "--size", str(SHARED_MEMORY), "--tmpfs", "/dev/shm", "--remount-ro", "/dev")
    yield from ("--size", str(DISK), "--tmpfs", PRIVATE, "--chdir", PRIVATE, "--remount-ro", "/")


def _read(source: Path | str, place: Path | None = None) -> tuple[str, ...]:
    return ("--ro-bind", str(source), str(place or source))


def _call_filter() -> int:
    """A pipe from which bubblewrap reads a filter of system calls, written by libseccomp.

    https://github.com/seccomp/libseccomp; raises OSError without it. A call with another processor's number ends the
    process.
    """
    seccomp = ctypes.CDLL("libseccomp.so.2")
    seccomp.seccomp_init.restype = ctypes.c_void_p
    rules = ctypes.c_void_p(seccomp.seccomp_init(ALLOW))

    def answer(words: str, what: int, *condition: ctypes.Array) -> None:
        for word in words.split():
            call = int(word) if word.isdigit() else seccomp.seccomp_syscall_resolve_name(word.encode())
            if seccomp.seccomp_rule_add_array(rules, what, call, len(condition), *condition or (None,)) and call >= 0:
                raise OSError(f"it rejects a rule for {word}")

    answer(REFUSED, EPERM)
    answer(IGNORED, IGNORE)
    answer("clone3", ENOSYS)  # libraries then fall back to clone, whose flags the filter can see
    answer("clone", EPERM, (ctypes.c_uint64 * 3)(MASKED_EQUAL << 32, NEW_THREAD, 0))  # struct scmp_arg_cmp: argument 0
    reading, writing = os.pipe()
    seccomp.seccomp_export_bpf(rules, writing)
    seccomp.seccomp_release(rules)
    os.close(writing)
    return reading
