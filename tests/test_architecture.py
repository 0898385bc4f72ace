"""What may import what, and what must stay out of the code: promises of docs/design.md that a program can check."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "responder").rglob("*.py"))
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_the_import_rules_hold() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert re.search(r"\d+ kept, 0 broken", done.stdout)


def test_every_package_is_in_the_distribution() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    packages = {".".join(path.parent.relative_to(ROOT).parts) for path in MODULES if path.name == "__init__.py"}
    assert packages == set(listed)


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_say_what_they_are_for(module: Path) -> None:
    assert ast.get_docstring(ast.parse(module.read_text()))


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_time_is_asked_of_the_clock_only(module: Path) -> None:
    if module.name == "clock.py":
        return
    assert not re.search(r"datetime\.(?:now|utcnow)\(|time\.time\(|date\.today\(", module.read_text())


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_documents_point_at_is_there(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text()):
        assert (document.parent / target).exists(), target


def test_the_tests_that_the_standards_table_names_exist() -> None:
    table = (ROOT / "docs" / "standards.md").read_text()
    files = set(re.findall(r"`((?:\w+/)?test_\w+\.py)(?:::([\w…]+))?", table))
    assert len(files) > 15
    for file, name in files:
        text = (ROOT / "tests" / file).read_text()
        pattern = re.escape(name).replace("…", r"\w*")
        assert not name or re.search(rf"def {pattern}", text), f"{file}::{name}"
