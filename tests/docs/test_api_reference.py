"""Every public name has an entry in the reference; a build with Sphinx is not needed to know that."""

import ast
import importlib
import re
from collections import Counter
from pathlib import Path

import pytest

import mmgrad_explain

API = Path(__file__).parents[2] / "docs" / "api"
PACKAGE = Path(mmgrad_explain.__file__).parent
COMMANDS = {"cli", "web", "__main__", "_version"}  # these are typed, not imported


def automodules():
    return Counter(
        name for page in sorted(API.glob("*.md")) for name in re.findall(r"automodule:: (\S+)", page.read_text())
    )


def modules():
    files = [path.relative_to(PACKAGE).with_suffix("") for path in PACKAGE.rglob("*.py") if path.stem != "__init__"]
    return {".".join(("mmgrad_explain", *path.parts)) for path in files if path.parts[0] not in COMMANDS}


def exported(package):
    """Module and name of what a package's ``__init__`` gives on."""
    source = Path(importlib.import_module(package).__file__).read_text()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("mmgrad_explain."):
            yield from ((node.module, alias.name) for alias in node.names if alias.asname)


def has_docstring(module, name):
    """Whether autodoc finds a docstring where the name is defined: in it, or on the line below."""
    body = ast.parse(Path(importlib.import_module(module).__file__).read_text()).body
    for node, below in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return ast.get_docstring(node) is not None
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            text = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
            return text or isinstance(getattr(importlib.import_module(module), name), type)  # another name of a class
    raise AssertionError(f"{module} does not define {name}")


def test_every_module_has_one_entry():
    found = automodules()
    assert set(found) == modules()
    assert [name for name, count in found.items() if count > 1] == []


def test_the_names_of_the_package_are_listed_first():
    listed = re.findall(r"~mmgrad_explain\.(\S+)", (API / "index.md").read_text())
    objects = {}
    for path in listed:
        module, _, name = path.rpartition(".")
        objects[name] = getattr(importlib.import_module(f"mmgrad_explain.{module}"), name)
        assert f"mmgrad_explain.{module}" in modules()
    names = set(mmgrad_explain.__all__) - {"__version__", "MMGrad"}
    assert set(objects) == names
    assert all(objects[name] is getattr(mmgrad_explain, name) for name in names)
    assert mmgrad_explain.MMGrad is objects["MultiModalGradAttention"]
    assert "`MMGrad` is short for `MultiModalGradAttention`" in (API / "index.md").read_text()


@pytest.mark.parametrize("package", ["mmgrad_explain.attention", "mmgrad_explain.grounding"])
def test_what_a_room_gives_on_is_documented(package):
    names = list(exported(package))
    assert len(names) > 10
    assert [f"{module}.{name}" for module, name in names if not has_docstring(module, name)] == []
    assert {module for module, _ in names} <= set(automodules())
