"""docs/running.md names the tests that show what it says: they are there."""

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "running.md"


def rows():
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def named_in(path):
    """Every test of a file, as ``file::name`` or ``file::Class::name``."""
    file = path.relative_to(HERE).as_posix()
    for node in ast.parse(path.read_text()).body:
        inside = node.body if isinstance(node, ast.ClassDef) else [node]
        before = f"{file}::{node.name}::" if isinstance(node, ast.ClassDef) else f"{file}::"
        yield from (before + one.name for one in inside if isinstance(one, ast.FunctionDef))


def test_every_row_names_tests_that_exist():
    known = {name for path in HERE.rglob("test_*.py") for name in named_in(path)}
    assert len(rows()) > 25
    for row in rows():
        assert len(row) == 4, row
        named = re.findall(r"`([\w/]*test_[\w.:]+)`", row[3])
        assert named, row
        assert set(named) <= known, set(named) - known
        assert row[1] or row[2], row
