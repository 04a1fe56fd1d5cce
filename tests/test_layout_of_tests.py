"""A module that has behaviour has a test file of its name: ``metrics/floors.py`` has ``metrics/test_floors.py``."""

import ast
from pathlib import Path

import pytest

import mmgrad_explain

TESTS = Path(__file__).parent
PACKAGE = Path(mmgrad_explain.__file__).parent


def says_only(statement):
    """Whether a statement does nothing: a docstring, ``...``, ``pass``, or the error of a method that is abstract."""
    return isinstance(statement, ast.Pass | ast.Raise) or (
        isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    )


def has_behaviour(code):
    """Whether a module has a function or a method that does something: constants, fields and protocols do not."""
    functions = (node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return any(not all(map(says_only, function.body)) for function in functions)


def own_file(module):
    """The test file of a module; both relative to their roots."""
    return module.parent / f"test_{module.stem.lstrip('_')}.py"


def without_own_file(package, tests):
    """The modules with behaviour that have no test file of the same name."""
    for path in sorted(package.rglob("*.py")):
        module = path.relative_to(package)
        if path.name == "__init__.py" or (tests / own_file(module)).is_file():
            continue
        if has_behaviour(path.read_text(encoding="utf-8")):
            yield str(module)


def test_a_module_with_behaviour_has_a_test_file_of_its_name():
    assert list(without_own_file(PACKAGE, TESTS)) == []


def test_the_folders_of_tests_are_packages():
    folders = {path.parent.relative_to(TESTS) for path in TESTS.rglob("test_*.py")} - {Path("docs")}
    assert [str(folder) for folder in sorted(folders) if not (PACKAGE / folder / "__init__.py").is_file()] == []


# ------------------------------------------------------------------------------------------------------------- the rule


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ('"""Words."""\nA = 1\n', False),
        ("class A:\n    x: int = 1\n", False),
        ('class A(Protocol):\n    def f(self) -> int:\n        """F."""\n        ...\n', False),
        ('class A(ABC):\n    def f(self):\n        """F."""\n        raise NotImplementedError\n', False),
        ("def f():\n    return 1\n", True),
        ("class A:\n    x: int\n    @property\n    def y(self):\n        return self.x + 1\n", True),
    ],
)
def test_what_behaviour_is(code, expected):
    assert has_behaviour(code) is expected


def test_a_missing_file_is_noticed(tmp_path):
    for name in ("room/_one.py", "room/two.py", "room/words.py", "room/__init__.py"):
        path = tmp_path / "package" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("A = 1\n" if "words" in name else "def f():\n    return 1\n")
    (tmp_path / "tests" / "room").mkdir(parents=True)
    (tmp_path / "tests" / "room" / "test_one.py").touch()
    assert list(without_own_file(tmp_path / "package", tmp_path / "tests")) == ["room/two.py"]
