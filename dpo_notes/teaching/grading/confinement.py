"""What a returned notebook cannot do: see other files, reach the network, start processes, or take more than its share.

Where the system offers it, the system refuses: Linux by namespaces (`unshare`) and Landlock, Linux and macOS by resource
limits. Everywhere, an audit hook of Python refuses what Python's own functions would do; that alone is best effort, for
code that goes past Python (ctypes) goes past it too.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import time
from functools import cache
from pathlib import Path

import dpo_notes

NAMESPACES = (
    "unshare",
    "--user",
    "--map-current-user",
    "--net",
    "--ipc",
    "--pid",
    "--mount-proc",
    "--fork",
    "--kill-child",
)
FILE_SIZE = 256 * 2**20  # bytes of the largest file that a notebook may write
REFUSED = {
    *("socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo", "socket.gethostbyname"),
    *(
        "subprocess.Popen",
        "os.system",
        "os.exec",
        "os.fork",
        "os.forkpty",
        "os.posix_spawn",
        "os.spawn",
        "os.startfile",
    ),
    *("os.kill", "os.killpg", "signal.pthread_kill", "winreg.SetValue", "winreg.DeleteKey"),
}
CHANGES = {  # how many paths come first, and from where on descriptors of the last ones' folders; -1: none
    "os.remove": (1, 1),
    "os.rmdir": (1, 1),
    "os.mkdir": (1, 2),
    "os.rename": (2, 2),
    "os.link": (2, 2),
    "os.symlink": (2, 2),
    "os.truncate": (1, 2),
    "os.chmod": (1, 2),
    "os.chown": (1, 3),
    "sqlite3.connect": (1, 1),
}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


@cache
def prefix() -> tuple[str, ...]:
    """The words before a command that give it a network and processes of its own; none where this system has no such."""
    if not sys.platform.startswith("linux") or shutil.which(NAMESPACES[0]) is None:
        return ()
    trial = subprocess.run([*NAMESPACES, sys.executable, "-c", ""], capture_output=True, check=False)
    return NAMESPACES if trial.returncode == 0 else ()


def readable() -> list[Path]:
    """What Python, the package and the embedded model need to be read: no notebook, and nobody's home."""
    package = Path(dpo_notes.__file__).resolve().parent
    python = {sys.prefix, sys.base_prefix, sys.exec_prefix, *sysconfig.get_paths().values()}
    system = ("/usr", "/lib", "/lib64", "/bin", "/etc", "/opt", "/nix", "/proc", "/sys", "/dev")
    labels = package.parent / "runs" / "my_comparisons.jsonl"  # a notebook looks for its reader's own here
    scripts = package.parent / "benchmarks"  # a notebook shows one of them
    wanted = [package, package.parent / "data", scripts, labels, *map(Path, sorted(python)), *map(Path, system)]
    return [path for path in wanted if path.exists()]


def offers_confined_files() -> bool:
    """Whether this system itself can keep a process from files."""
    if not sys.platform.startswith("linux"):
        return False
    from dpo_notes.teaching.grading import landlock

    return landlock.version() >= 1


def confine_files(private: Path) -> bool:
    """Let this process, and all that it starts, read what it needs and write to `private` alone; whether that holds."""
    if not offers_confined_files():
        return False
    from dpo_notes.teaching.grading import landlock

    return landlock.restrict(readable=readable(), writable=[private, Path(os.devnull)])


def limit(*, seconds: int, memory: int) -> None:
    """No more than `memory` bytes and `seconds` of each processor beyond what was used so far; no file without end."""
    try:
        import resource
    except ImportError:  # Windows
        return
    _lower(resource.RLIMIT_CPU, round(time.process_time()) + seconds * (os.cpu_count() or 1))
    _lower(resource.RLIMIT_FSIZE, FILE_SIZE)
    _lower(resource.RLIMIT_CORE, 0)
    used = Path("/proc/self/statm")
    if used.exists():  # elsewhere the address space is no measure of memory
        pages = int(used.read_text().split()[0])
        _lower(resource.RLIMIT_AS, pages * resource.getpagesize() + memory)


def _lower(kind: int, value: int) -> None:
    import resource

    hardest = resource.getrlimit(kind)[1]
    value = value if hardest == resource.RLIM_INFINITY else min(value, hardest)
    resource.setrlimit(kind, (value, value))


def refuse_what_no_exercise_needs(private: Path) -> None:
    """From here on Python's functions open no connection, start nothing, and change no file outside `private`."""
    # Bound now: what the notebook does to these modules later changes nothing here.
    inside, devnull, refused, changes = str(private.resolve()) + os.sep, os.devnull, frozenset(REFUSED), dict(CHANGES)
    real, join, decode = os.path.realpath, os.path.join, os.fsdecode

    def may_change(path: object, folder: int = -1) -> bool:
        if isinstance(path, int) or path == devnull:
            return True
        if folder != -1:  # the path is meant from this open folder on; where the system cannot say which it is, no
            path = join(real(f"/proc/self/fd/{folder}"), decode(path))
        return join(real(decode(path)), "").startswith(inside)

    def hook(event: str, arguments: tuple) -> None:
        if event in refused:
            raise PermissionError(f"not in a returned notebook: {event}")
        if (
            event == "open"
            and isinstance(arguments[2], int)
            and arguments[2] & WRITING
            and not may_change(arguments[0])
        ):
            raise PermissionError(f"not in a returned notebook: writing to {arguments[0]!r:.80}")
        if event in changes:
            count, first = changes[event]
            paths, folders = arguments[:count], arguments[first:]
            if not all(map(may_change, paths, [-1] * (count - len(folders)) + list(folders))):
                raise PermissionError(f"not in a returned notebook: {event}")

    sys.addaudithook(hook)
