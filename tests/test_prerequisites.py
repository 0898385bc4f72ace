"""`.ci/prerequisites` on machines that lack something, which a folder of made-up programs stands for."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / ".ci" / "prerequisites"
TOOLS = ("bash", "env", "cat", "sed", "sort", "id", "rm", "chmod")


class Machine:
    """A machine that has a shell, and what a test puts there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir()
        for tool in TOOLS:
            found = shutil.which(tool)
            assert found
            (self.bin / tool).symlink_to(found)

    def have(self, program: str, script: str) -> None:
        path = self.bin / program
        path.unlink(missing_ok=True)  # it may be a link to the machine's own program
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def run(self, *arguments: str, **environ: str) -> tuple[int, str, str]:
        ran = subprocess.run(
            [str(SCRIPT), *arguments],
            cwd=self.folder,
            env={"PATH": str(self.bin), **environ},
            capture_output=True,
            text=True,
            check=False,
        )
        return ran.returncode, ran.stdout, ran.stderr


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_made_up_program_leaves_the_one_it_stands_for_alone(machine: Machine, tmp_path: Path) -> None:
    """As root, writing through the link would replace the machine's own program."""
    own = tmp_path / "own"
    own.write_text("the machine's own")
    (machine.bin / "tool").symlink_to(own)
    machine.have("tool", "echo made up")
    assert own.read_text() == "the machine's own"
    assert not (machine.bin / "tool").is_symlink()


def test_bare_machine_is_told_everything_in_one_line(machine: Machine) -> None:
    code, out, err = machine.run("build")
    assert (code, out) == (2, "")
    assert "certstatus: Python 3.11 or later isn't here.\n" in err
    assert "make isn't here" in err
    assert "no C compiler is here" in err
    assert "apt-get install gcc libc6-dev" in err
    assert "make python3 python3-dev python3-venv\n" in err


def test_old_python_is_named_with_its_version(machine: Machine) -> None:
    machine.have("python3", "echo 3.9 0 1 1 gcc")
    code, _, err = machine.run("python")
    assert code == 2
    assert "Python 3.11 or later isn't here (python3 is 3.9)." in err


def test_python_without_venv_and_headers_is_told_the_packages_of_its_version(machine: Machine) -> None:
    machine.have("python3.12", "echo 3.12 1 0 0 gcc")
    code, _, err = machine.run("python")
    assert code == 2
    assert "python3.12 (3.12) has no venv and ensurepip modules." in err
    assert "has no C headers (Python.h)." in err
    assert "-dev python3" in err
    assert "-venv\n" in err


def test_first_python_that_has_it_all_is_chosen(machine: Machine) -> None:
    machine.have("python3.13", "exit 127")  # a launcher without its Python
    machine.have("python3.12", "echo 3.12 1 1 0 gcc")
    machine.have("python3.11", "echo 3.11 1 1 1 gcc")
    machine.have("python3", "echo 3.9 0 1 1 gcc")
    assert machine.run("python") == (0, f"{machine.bin}/python3.11\n", "")


def test_python_can_be_picked(machine: Machine) -> None:
    machine.have("python3.13", "echo 3.13 1 1 1 gcc")
    machine.have("mine", "echo 3.14 1 1 1 gcc")
    assert machine.run("python", PYTHON="mine") == (0, f"{machine.bin}/mine\n", "")
    code, _, err = machine.run("python", PYTHON="/nowhere/python")
    assert code == 2
    assert "PYTHON=/nowhere/python isn't Python 3.11 or later." in err


@pytest.mark.parametrize(
    ("refuse", "words", "package"),
    [
        ("openssl/evp.h", "OpenSSL's C headers aren't here", "libssl-dev"),
        ("OPENSSL_VERSION_MAJOR", "OpenSSL's C headers are older than 3.0", "libssl-dev"),
        ("stdio.h", "the C library's headers aren't here", "libc6-dev"),
    ],
)
def test_headers_that_the_compiler_cannot_find_are_named(
    machine: Machine, refuse: str, words: str, package: str
) -> None:
    machine.have("python3", "echo 3.11 1 1 1 gcc")
    machine.have("make", "exit 0")
    machine.have("gcc", f'case "$(cat)" in *{refuse}*) exit 1;; esac')
    code, _, err = machine.run("build")
    assert code == 2
    assert words in err
    assert err.splitlines()[1].endswith(f"apt-get install {package}")


def test_machine_with_everything_is_fine(machine: Machine) -> None:
    machine.have("python3", "echo 3.11 1 1 1 gcc")
    machine.have("make", "exit 0")
    machine.have("gcc", "cat >/dev/null")  # one that reads nothing may end before what it is told is written
    assert machine.run("build") == (0, "", "")


def test_missing_program_is_named_with_its_package(machine: Machine) -> None:
    machine.have("here", "exit 0")
    assert machine.run("programs", "a:here") == (0, "", "")
    code, _, err = machine.run("programs", "a:here", "some-bin:sometool")
    assert code == 2
    assert "certstatus: sometool isn't here.\n" in err
    assert "apt-get install some-bin\n" in err


def test_root_may_have_it_installed_and_no_server_is_started(machine: Machine) -> None:
    machine.have("id", "echo 0")
    tool, policy = machine.bin / "sometool", machine.folder / "policy-rc.d"
    machine.have("apt-get", f'{policy}; echo "$? $*" >> log; echo > {tool}; chmod 755 {tool}')
    code, _, err = machine.run("programs", "some-bin:sometool", "--install", POLICY_RC_D=str(policy))
    assert (code, err) == (0, "installing some-bin\n")
    (line,) = (machine.folder / "log").read_text().splitlines()
    assert line.startswith("101 ")
    assert line.endswith("install some-bin")
    assert "--no-install-recommends" in line
    assert not policy.exists()


def test_without_root_nothing_is_installed(machine: Machine) -> None:
    machine.have("id", "echo 1000")
    machine.have("apt-get", "echo called >> log")
    code, _, err = machine.run("programs", "some-bin:sometool", "--install")
    assert code == 2
    assert err.endswith("sudo apt-get install some-bin\n")
    assert not (machine.folder / "log").exists()
