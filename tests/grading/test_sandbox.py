"""What a returned notebook finds in its sandbox: Python, the package without its answers, and walls."""

import errno
import os

import pytest
from sandboxed import run, values

from dpo_notes.grading import sandbox

pytestmark = [pytest.mark.notebooks, pytest.mark.usefixtures("bubblewrap")]
pytest_plugins = ["sandbox_fixtures"]


def test_it_sees_python_the_package_and_the_data_and_nothing_of_the_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "x")
    (tmp_path / "mine").write_text("mine")
    hidden = ["/etc/passwd", "/run", "/var", "/home", "/proc/self", "/proc/sys"]
    hidden += [str(sandbox.PACKAGE.parent / name) for name in ("notebooks", "tests")]
    found = values(
        run(
            f"check('00.1', tried(os.listdir, {str(tmp_path)!r}))",
            f"check('00.2', [os.path.exists(path) for path in {hidden!r}])",
            "check('00.3', [name for name in os.environ if 'SECRET' in name or 'TOKEN' in name])",
            "from dpo_notes.language.load import load_model\ncheck('00.4', load_model()[0].config.n_layer)",
            "import torch\ncheck('00.5', torch.backends.cpu.get_cpu_capability())",
            "check('00.6', os.listdir(os.getcwd()) + os.listdir('/dev/shm'))",
        )
    )
    import torch

    assert found["00.1"] == "FileNotFoundError" and found["00.2"] == [False] * 8 and found["00.3"] == []
    assert found["00.4"] == 4 and found["00.5"] == torch.backends.cpu.get_cpu_capability()
    assert not set(found["00.6"]) - {"profile_default", "torchinductor_reader"}  # of IPython and torch


def test_the_expected_answers_are_not_there(tmp_path, monkeypatch):
    """Nor in another copy of the package that Python would find."""
    site = tmp_path / "site"
    other = site / "dpo_notes" / "lessons" / "start_here"
    other.mkdir(parents=True)
    (other / "exercises.py").write_text("EXERCISES = 'all'")
    monkeypatch.setattr(sandbox, "SYSTEM", (*sandbox.SYSTEM, str(site)))
    found = values(
        run(
            "import importlib\ncheck('00.1', tried(importlib.import_module, 'dpo_notes.lessons.start_here.exercises'))",
            f"check('00.2', [names for _, _, names in os.walk({str(sandbox.LESSONS)!r})])",
            f"check('00.3', [os.listdir({str(site)!r}), os.listdir({str(site / 'dpo_notes')!r})])",
            "from dpo_notes.teaching.checking import exercise\ncheck('00.4', tried(exercise, '00.1'))",
        )
    )
    names = {name for folder in found.pop("00.2") for name in folder}
    assert {"explorers.py", "pictures.py", "one_row.py"} < names and not [name for name in names if "exercises" in name]
    assert found == {"00.1": "ModuleNotFoundError", "00.3": [["dpo_notes"], []], "00.4": "ModuleNotFoundError"}


def test_a_class_among_the_files_that_it_sees_is_hidden(tmp_path, monkeypatch):
    """As where returned notebooks lie below /usr/lib, or the marks are written beside the package."""
    (tmp_path / "class" / "anna").mkdir(parents=True)
    (tmp_path / "class" / "anna" / "00.ipynb").write_text("mine")
    (tmp_path / "grades.csv").write_text("mine")
    (tmp_path / "library").write_text("seen")
    (tmp_path / "link").symlink_to(tmp_path / "class")
    monkeypatch.setattr(sandbox, "SYSTEM", (*sandbox.SYSTEM, str(tmp_path)))
    look = (
        f"os.chdir({str(tmp_path)!r})\n"
        "check('00.1', [os.listdir('class'), tried(lambda: open('grades.csv').read()), open('library').read()])"
    )
    assert values(run(look, hidden=(tmp_path / "link", tmp_path / "grades.csv"))) == {
        "00.1": [[], "PermissionError", "seen"]
    }
    assert values(run(look)) == {"00.1": [["anna"], "mine", "seen"]}


def test_it_can_write_to_its_own_folder_and_to_shared_memory_alone():
    [places] = values(
        run(
            "written = []\n"
            "for folder, names, _ in os.walk('/'):\n"
            "    names[:] = names[:40]\n"
            "    if tried(open, folder + '/of-a-test', 'w') != 'OSError' and os.path.exists(folder + '/of-a-test'):\n"
            "        written.append(folder)",
            "check('00.1', [place for place in written if not place.startswith('/reader/')])",
        )
    ).values()
    assert sorted(places) == ["/dev/shm", "/reader"]


def test_writers_that_know_nothing_of_python_meet_the_same_walls(tmp_path):
    file = tmp_path / "file"
    file.write_text("mine")
    stood = file.stat()
    found = values(
        run(
            f"path = {str(file)!r}; raw = path.encode()",
            "import torch\nfrom safetensors.torch import save_file\n"
            "check('00.1', tried(save_file, {'a': torch.ones(1)}, path))",
            "check('00.2', [tried(os.mkfifo, path + '2'), tried(os.mknod, path + '3')])\n"
            "tried(os.setxattr, path, 'user.a', b''), tried(os.utime, path), tried(os.chmod, path, 0)",
            "check('00.3', [libc.unlink(raw), libc.open(raw, 0), libc.truncate(raw, 0)])\nlibc.chmod(raw, 0)",
            "import torch.distributed as d\ncheck('00.4', tried(d.TCPStore, '127.0.0.1', 0, 1, True))",
            "import _posixsubprocess, subprocess\ncheck('00.5', tried(subprocess.run, ['/bin/sh', '-c', 'true']))",
        )
    )
    assert isinstance(found["00.1"], str) and found["00.2"] == ["FileNotFoundError"] * 2 and found["00.3"] == [-1] * 3
    assert isinstance(found["00.4"], str) and found["00.5"] in ("FileNotFoundError", "PermissionError")
    assert file.read_text() == "mine" and file.stat()[:7] == stood[:7] and file.stat().st_mtime_ns == stood.st_mtime_ns
    assert os.listdir(tmp_path) == ["file"]


def test_calls_that_lead_out_or_take_memory_without_an_owner_fail():
    calls = {
        "socket": "libc.socket(1, 1, 0)",
        "vsock": "libc.socket(40, 1, 0)",
        "memfd_create": "libc.memfd_create(b'x', 0)",
        "semget": "libc.semget(0, 1, 0o1600)",
        "vmsplice": "libc.vmsplice(1, 0, 0, 0)",
        "inotify": "libc.inotify_init1(0)",
        "shmget": "libc.shmget(0, 4096, 0o1600)",
        "msgget": "libc.msgget(0, 0o1600)",
        "keyctl": "libc.syscall({'x86_64': 250, 'aarch64': 219}[os.uname().machine], 0, -3, 1)",
        "io_uring": "libc.syscall(425, 1, 0)",
        "mounts of its own": "libc.unshare(0x20000)",
        "mount": "libc.mount(b'tmpfs', b'/reader', b'tmpfs', 0, None)",
        "chroot": "libc.chroot(b'/reader')",
        "a device": "libc.mknod(b'/reader/device', 0o60600, 0x0801)",
        "ptrace": "libc.ptrace(0, 0, 0, 0)",
    }
    answers = ", ".join(f"({call}, ctypes.get_errno())" for call in calls.values())
    found = values(run(f"check('00.1', [{answers}])"))["00.1"]
    assert dict(zip(calls, map(tuple, found), strict=True)) == dict.fromkeys(calls, (-1, errno.EPERM))


def test_a_namespace_of_its_own_is_refused_even_to_a_process_of_one_thread():
    program = "import ctypes; print(ctypes.CDLL(None).unshare(0x10000000))"
    process = sandbox.start(["-c", program], environment={}, hidden=())
    assert process.communicate()[0] == b"-1\n"


def test_a_service_of_this_machine_cannot_be_reached(tmp_path):
    """A socket with a name in the file system, as of a container daemon; and one without, in Linux's abstract space."""
    import socket

    with socket.socket(socket.AF_UNIX) as named, socket.socket(socket.AF_UNIX) as abstract:
        named.bind(str(tmp_path / "daemon.sock"))
        abstract.bind(f"\0{tmp_path}")
        for one in (named, abstract):
            one.listen()
        found = values(
            run(
                "import socket\ndef reach(name):\n    socket.socket(socket.AF_UNIX).connect(name)",
                f"check('00.1', [tried(reach, name) for name in {[f'{tmp_path}/daemon.sock', f'{chr(0)}{tmp_path}']}])",
            )
        )
    assert found == {"00.1": ["PermissionError"] * 2}


def test_it_has_one_process_and_can_start_no_other():
    clone = "libc.syscall({'x86_64': 56, 'aarch64': 220}[os.uname().machine], 17, 0, 0, 0, 0)"
    found = values(
        run(
            "import subprocess, multiprocessing",
            "check('00.1', [tried(os.fork), tried(os.posix_spawn, sys.executable, ['python'], {}), tried(os.forkpty),"
            " tried(subprocess.run, [sys.executable, '-c', '']), tried(os.system, 'true') != 0])",
            "check('00.2', tried(multiprocessing.Process(target=print).start))",
            f"check('00.3', [{clone}, libc.syscall(435, 0, 0)])",
        )
    )
    forkpty = found["00.1"].pop(2)
    assert forkpty in ("PermissionError", "FileNotFoundError")  # newer Pythons open a terminal first, and there is none
    assert found == {"00.1": ["PermissionError"] * 3 + [True], "00.2": "PermissionError", "00.3": [-1, -1]}


def test_the_machines_devices_stay_as_they_are():
    """They are the only files of the machine that it can write to; a change of times or modes seems to work."""
    stood = os.stat("/dev/full")
    found = values(
        run(
            "path = '/dev/full'",
            "check('00.1', [tried(os.utime, path, (1, 1)), tried(os.chmod, path, 0), tried(os.chown, path, 1, 1),"
            " libc.syscall(452, -100, b'/dev/full', 0o600, 0)])",
            "import shutil\nopen('a', 'w').write('b')\ncheck('00.2', [shutil.copy2('a', 'c'), open('c').read()])",
        )
    )
    assert os.stat("/dev/full")[:10] == stood[:10] and os.stat("/dev/full").st_mtime_ns == stood.st_mtime_ns
    assert found == {"00.1": [None] * 3 + [0], "00.2": ["c", "b"]}


def test_what_an_honest_notebook_does_works():
    found = values(
        run(
            "%matplotlib inline\nimport matplotlib.pyplot as p\np.plot([1, 2])\np.savefig('a.png')\ncheck('00.1', 1)",
            "exit()\ncheck('00.2', 2)",
            "check('00.3', tried(input))",
            "import torch\ntorch.manual_seed(0)\ncheck('00.4', torch.get_num_threads())",
            "import concurrent.futures as f\ncheck('00.5', list(f.ThreadPoolExecutor(4).map(abs, [-1, 2])))",
        )
    )
    assert found == {"00.1": 1, "00.2": 2, "00.3": "EOFError", "00.4": 1, "00.5": [1, 2]}


def test_the_next_notebook_finds_nothing_of_the_one_before():
    leave = "open('/reader/answers', 'w').write('00.1'); open('/dev/shm/answers', 'w').write('00.1')"
    assert values(run(leave)) == {}
    assert values(run("check('00.1', [os.path.exists('/reader/answers'), os.path.exists('/dev/shm/answers')])")) == {
        "00.1": [False, False]
    }


@pytest.mark.parametrize(
    ("find", "words"), [(lambda name: None, "not installed"), (lambda name: "/bin/false", "cannot work")]
)
def test_without_a_sandbox_a_message_says_what_to_do(monkeypatch, find, words):
    monkeypatch.setattr(sandbox.shutil, "which", find)
    if find("bwrap"):
        monkeypatch.setattr(sandbox, "OPTIONS", ("--no-such-option",))
    problem = sandbox.why_not()
    assert words in problem and "apt install bubblewrap" in problem and "\n" not in problem
