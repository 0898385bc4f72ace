"""`.ci/fragments`: what users notice must be told in changes/, in the commit that does it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / ".ci" / "fragments"


class Repository:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.git("init", "-q")
        (folder / ".ci").mkdir()
        shutil.copy(SCRIPT, folder / ".ci")
        self.commit("the rule")

    def git(self, *arguments: str) -> None:
        identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        subprocess.run(["git", *identity, *arguments], cwd=self.folder, check=True, capture_output=True)

    def write(self, path: str, text: str) -> None:
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def commit(self, subject: str) -> None:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", subject)

    def check(self) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, self.folder / ".ci" / "fragments"], capture_output=True, text=True, check=False
        )
        return done.returncode, done.stderr


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("responder/cli/x.py", 'x: Annotated[str, typer.Option(help="X.")]\n'),
        ("responder/cli/x.py", "@app.command()\ndef x() -> None: ...\n"),
        ("responder/storage/policies.py", '    "x": _Setting("a number"),\n'),
        ("responder/config/model.py", "    x: int = Field(default=1)\n"),
        ("responder/metrics.py", 'X = Counter("x_total", "X.")\n'),
        ("docs/standards.md", "| 6960-99 | x | `x.py` | `test_x.py` |\n"),
    ],
)
def test_what_users_notice_needs_a_fragment(repository: Repository, path: str, text: str) -> None:
    repository.write(path, text)
    repository.git("add", "-A")
    code, said = repository.check()
    assert code == 1
    assert said.startswith("what isn't committed yet: ")
    repository.commit("something new")
    code, said = repository.check()
    assert code == 1
    assert "something new: users notice it" in said
    repository.write("changes/x.feature.md", "Something new.\n")
    repository.git("add", "-A")
    repository.git("commit", "-q", "--amend", "--no-edit")
    assert repository.check() == (0, "")


def test_a_move_a_change_and_code_behind_need_none(repository: Repository) -> None:
    repository.write("changes/x.feature.md", "X.\n")
    repository.write("responder/cli/x.py", 'x: Annotated[str, typer.Option(help="X.")]\n')
    repository.commit("with a fragment")
    repository.write("responder/cli/x.py", 'x: Annotated[str, typer.Option(help="Another word.")]\n')
    repository.commit("another word")
    (repository.folder / "responder/cli/x.py").rename(repository.folder / "responder/cli/y.py")
    repository.commit("another place")
    repository.write("responder/ocsp/z.py", "z = 1\n")
    repository.commit("behind the scenes")
    assert repository.check() == (0, "")


def test_an_archive_has_no_history(tmp_path: Path) -> None:
    (tmp_path / ".ci").mkdir()
    shutil.copy(SCRIPT, tmp_path / ".ci")
    done = subprocess.run([sys.executable, tmp_path / ".ci" / "fragments"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
