"""What may import what, and what must stay out of the code: promises of docs/design.md that a program can check."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from responder.pki import IssuerPolicy
from responder.storage.policies import SETTINGS

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "responder").rglob("*.py"))
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_the_import_rules_hold() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert re.search(r"\d+ kept, 0 broken", done.stdout)


def test_every_package_is_in_the_distribution() -> None:
    found = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]
    assert found == {"include": ["responder*", "loadtest*"]}
    for folder in {path.parent for path in MODULES}:
        assert (folder / "__init__.py").exists(), folder


def test_no_file_is_long() -> None:
    """Stubs apart. A file that grows has more than one job."""
    loadtest = sorted(path for path in (ROOT / "loadtest").rglob("*") if path.suffix in {".py", ".pyx", ".pxd", ".h"})
    sources = [*MODULES, *sorted((ROOT / "_native").glob("*.p[yx]*")), *loadtest]
    assert len(sources) > 120
    lengths = {path.relative_to(ROOT): path.read_text().count("\n") for path in sources}
    assert [path for path, lines in lengths.items() if lines > 350] == []
    assert statistics.median(lengths.values()) <= 130


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


def test_the_places_that_the_standards_table_names_exist() -> None:
    """`file` alone, or followed by the names in it."""
    table = (ROOT / "docs" / "standards.md").read_text()
    rows = [line.split("|") for line in table.splitlines() if line.startswith("| ")]
    places = [place for row in rows for place in re.findall(r"`([\w/]+\.(?:py|pyx|pxd|toml))`((?: `\w+`)*)", row[3])]
    assert len(places) > 40
    for file, names in places:
        path = ROOT / file if file.startswith(("_native/", "tests/", "deploy/")) else ROOT / "responder" / file
        assert path.exists(), file
        for name in re.findall(r"`(\w+)`", names):
            assert re.search(rf"\b{name}\b", path.read_text()), f"{name} in {file}"


def test_every_setting_has_its_row_with_its_default() -> None:
    table = (ROOT / "docs" / "settings.md").read_text()
    found = re.findall(r"^\| `([a-z0-9_]+)` \| `([^`]*)` \| (\S+) \| \S", table, re.MULTILINE)
    rows = {name: default for name, default, _ in found}
    assert list(rows) == list(SETTINGS)
    standards = (ROOT / "docs" / "standards.md").read_text()
    for name, _, requirement in found:
        assert requirement == "–" or re.search(rf"^\| {requirement}\b", standards, re.MULTILINE), (name, requirement)
    for name, setting in SETTINGS.items():
        assert rows[name] == as_a_word(setting.of(IssuerPolicy())), name


def as_a_word(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(value) if isinstance(value, list) else str(value)


def test_every_policy_can_be_set_and_every_algorithm_has_its_row() -> None:
    without_a_setting = {"generation"}
    spelled = {name.removesuffix("_seconds") for name in SETTINGS} | {"variants"}
    assert {field.name for field in fields(IssuerPolicy)} - without_a_setting <= spelled
    standards = (ROOT / "docs" / "standards.md").read_text()
    for word in ("P-256", "P-384", "P-521", "brainpool", "PKCS#1 v1.5", "PSS", "EdDSA"):
        assert word in standards
