"""docs/standards.md leaves out no requirement, and names files and tests that exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests"

# How many requirements each group has.
GROUPS = {
    "6960": 27, "9919": 10, "9654": 5, "5280": 13, "HTTP": 9, "BR": 8, "RP": 5, "ETSI": 3, "CPKI": 1, "C2PA": 4,
    "I": 19, "C": 3,
}  # fmt: skip


def rows() -> Iterator[tuple[str, ...]]:
    """The cells of each row."""
    for line in (ROOT / "docs" / "standards.md").read_text().splitlines():
        if line.startswith("| ") and not line.startswith(("| ID ", "| -")):
            yield tuple(cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1])


def identifiers(cell: str) -> Iterator[str]:
    """`6960-06, -07` and `9654-01 to -05` are short for each."""
    group, since, is_range = "", 0, False
    for word in re.findall(r"to|[A-Z0-9]*-\d+", cell):
        if word == "to":
            is_range = True
            continue
        prefix, _, number = word.rpartition("-")
        group = prefix or group
        yield from (f"{group}-{each:02}" for each in range(since + 1 if is_range else int(number), int(number) + 1))
        since, is_range = int(number), False


def test_no_requirement_is_left_out() -> None:
    named = {each for row in rows() for each in identifiers(row[0])}
    wanted = {f"{group}-{number:02}" for group, count in GROUPS.items() for number in range(1, count + 1)}
    assert wanted - named == set()
    assert {each for each in named - wanted if each.split("-")[0] in GROUPS} == set()


@pytest.mark.parametrize("row", list(rows()), ids=lambda row: row[0])
def test_what_a_row_names_is_there(row: tuple[str, ...]) -> None:
    assert len(row) == 4, row
    _, what, where, tests = row
    assert what
    for path in re.findall(r"`((?:\w+/)*\w+\.(?:pyx|pxd|py))", where):
        assert any((ROOT / folder / path).is_file() for folder in ("", "responder")), path
    if where.startswith(("refused: ", "not yet: ")):
        return
    assert tests != "–" or where == "no code", "a row that is done has its test"
    file = None
    for name in re.findall(r"`([^`]+)`", tests):
        path, _, function = name.partition("::")
        if not path.startswith("…"):
            file = TESTS / path
            assert file.is_file(), name
        else:
            function = path
        if function:
            assert file is not None, name
            pattern = re.escape(function).replace("…", r"\w*")
            assert re.search(rf"def {pattern}\(", file.read_text()), name
