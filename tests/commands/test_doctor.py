"""dpo-notes doctor: each check finds its fault and says how to fix it, and none uses the network."""

import argparse
import importlib.metadata
import json
import platform
import shutil
import socket
import sys
from types import SimpleNamespace

import pytest

from dpo_notes.commands import doctor
from dpo_notes.maths.errors import InputError
from dpo_notes.pairs import embedded


def test_a_healthy_machine_is_ready(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "examine", lambda: iter([doctor.Finding("disk", "81.0 GB free")]))
    assert doctor.run(argparse.Namespace()) == 0
    assert capsys.readouterr().out == "ok       disk         81.0 GB free\nReady.\n"


def test_a_problem_is_followed_by_its_remedy_and_gives_exit_code_1(monkeypatch, capsys):
    findings = [doctor.Finding("disk", "0.1 GB free", "free some space"), doctor.Finding("torch", "2.13.0")]
    monkeypatch.setattr(doctor, "examine", lambda: iter(findings))
    assert doctor.run(argparse.Namespace()) == 1
    first, second, third, last = capsys.readouterr().out.splitlines()
    assert first.split() == ["problem", "disk", "0.1", "GB", "free"]
    assert second.strip() == "-> free some space"
    assert third.split() == ["ok", "torch", "2.13.0"]
    assert last.startswith("1 to fix")


def test_a_check_that_breaks_is_a_problem_and_the_others_are_still_made(monkeypatch):
    def broken():
        raise ImportError("libtorch_cpu.so: cannot open shared object file")

    monkeypatch.setattr(doctor, "check_torch", broken)
    findings = list(doctor.examine())
    assert [finding for finding in findings if "libtorch_cpu.so" in finding.found and finding.fix]
    kinds = {finding.what for finding in findings}
    assert kinds == {"Python", "packages", "torch", "device", "data", "disk", "Jupyter"}


@pytest.mark.parametrize(
    ("version", "fits"), [("3.11.0", True), ("3.12.1", True), ("3.14.0rc2", True), ("3.10.13", False)]
)
def test_python_is_held_against_the_projects_range(monkeypatch, version, fits):
    monkeypatch.setattr(platform, "python_version", lambda: version)
    monkeypatch.setattr(importlib.metadata, "metadata", lambda name: {"Requires-Python": ">=3.11"})
    (finding,) = doctor.check_python()
    assert (finding.fix == "") == fits


def test_packages_are_held_against_the_ranges_of_the_project(monkeypatch):
    """A CPU build's local part (+cpu) is no other version; what only the tests need is not asked for."""
    ranges = [
        "torch>=2.11",
        "numpy>=2.0",
        "transformers>=5.17,<6",
        "tqdm",
        "no-such-package>=1",
        "trl; extra == 'test'",
    ]
    installed = {"torch": "2.13.0+cpu", "numpy": "1.26.4", "transformers": "6.0.0", "tqdm": "4.70.1"}

    def version(name):
        if name not in installed:
            raise importlib.metadata.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(importlib.metadata, "requires", lambda name: ranges)
    monkeypatch.setattr(importlib.metadata, "version", version)
    fitting, *problems = doctor.check_packages()
    assert (fitting.found, fitting.fix) == ("torch 2.13.0+cpu, tqdm 4.70.1", "")
    assert [finding.found for finding in problems] == [
        "numpy>=2.0 is needed, 1.26.4 is installed",
        "transformers<6,>=5.17 is needed, 6.0.0 is installed",
        "no-such-package>=1 is not installed",
    ]
    assert all(finding.fix for finding in problems)


def test_an_installation_that_names_no_packages_is_out_of_date(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: None)
    (finding,) = doctor.check_packages()
    assert finding.fix


def test_torch_and_the_device_are_reported():
    (torch_line,), (device,) = doctor.check_torch(), doctor.check_device()
    assert torch_line.found.endswith("gradients right") and not torch_line.fix
    assert not device.fix  # a machine without a GPU is no problem


def test_a_missing_embedded_file_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(embedded, "data_folder", lambda: tmp_path)
    for name in doctor.EMBEDDED_FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (whole,) = doctor.check_data()
    assert not whole.fix
    (tmp_path / "comparisons/train.jsonl").unlink()
    (broken,) = doctor.check_data()
    assert broken.found.startswith("comparisons/train.jsonl missing") and "clone" in broken.fix


def test_a_package_without_its_data_folder_asks_for_a_clone(monkeypatch):
    def nowhere():
        raise InputError("no embedded model in /nowhere")

    monkeypatch.setattr(embedded, "data_folder", nowhere)
    (finding,) = doctor.check_data()
    assert finding.found == "no embedded model in /nowhere" and "clone" in finding.fix


@pytest.mark.parametrize(("free", "enough"), [(0.4e9, False), (50e9, True)])
def test_a_disk_without_room_for_a_run_is_a_problem(monkeypatch, free, enough):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=free))
    (finding,) = doctor.check_disk()
    assert (finding.fix == "") == enough


@pytest.mark.parametrize(
    ("command", "here"), [(sys.executable, True), ("python", True), ("/opt/other/bin/python", False)]
)
def test_a_kernel_of_another_python_is_a_problem(monkeypatch, tmp_path, command, here):
    kernel = tmp_path / "kernels" / "python3"
    kernel.mkdir(parents=True)
    words = [command, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernel / "kernel.json").write_text(json.dumps({"argv": words, "display_name": "Python", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    (finding,) = doctor.check_jupyter()
    assert (finding.fix == "") == here


def test_the_doctor_reaches_for_no_network(monkeypatch):
    reached = []
    monkeypatch.setattr(socket.socket, "connect", lambda self, address: reached.append(address))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: reached.append(args))
    list(doctor.examine())
    assert reached == []
