"""The native core is closed: one door, and nothing of ours below it but the errors."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

import responder._native as facade

SOURCES = sorted((Path(__file__).parents[2] / "_native").glob("*.p*"))


def test_the_door_and_its_stub_agree() -> None:
    stub = ast.parse(Path(facade.__file__).with_suffix(".pyi").read_text())
    declared = {
        node.name for node in stub.body if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name[0] != "_"
    } | {node.target.id for node in stub.body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)}
    ours = (node for node in stub.body if isinstance(node, ast.ImportFrom) and node.module == "responder._native.rows")
    declared |= {name.name for node in ours for name in node.names}
    assert declared == set(facade.__all__)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_the_core_imports_nothing_of_ours_but_itself_and_the_errors(source: Path) -> None:
    imported = re.findall(r"^\s*(?:from|c?import)\s+(responder[\w.]*)", source.read_text(), re.MULTILINE)
    assert all(name == "responder.errors" or name.startswith("responder._native") for name in imported)
    assert "cryptography" not in source.read_text()


def test_the_core_is_linked_to_the_systems_libcrypto() -> None:
    (module,) = Path(facade.__file__).parent.glob("keys*.so")
    linked = subprocess.run(["ldd", module], capture_output=True, text=True, check=True).stdout
    assert re.search(r"libcrypto\.so\.3 => /(usr/)?lib", linked)
