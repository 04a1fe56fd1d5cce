"""The reference has every module and every name of a door. These tests need no build with Sphinx."""

import ast
import importlib
import re
import sys
from collections import Counter
from pathlib import Path

import pytest

import mmgrad_explain

ROOT = Path(__file__).parents[2]
API = ROOT / "docs" / "api"
PACKAGE = Path(mmgrad_explain.__file__).parent
COMMANDS = {"cli", "web", "__main__", "_version"}  # these are typed, not imported
DOORS = sorted(
    ".".join(("mmgrad_explain", *path.parent.relative_to(PACKAGE).parts))
    for path in PACKAGE.rglob("__init__.py")
    if "door(__name__)" in path.read_text(encoding="utf-8")
)
FENCED = re.compile(r"^( *)```(?:python|sh)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
IMPORTED = re.compile(r"\b(?:from|import) (mmgrad_explain(?:\.\w+)*)")


@pytest.fixture(scope="module")
def rooms():
    """The extension that expands the pages."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "docs" / "extensions")
        return importlib.import_module("rooms")


@pytest.fixture(scope="module")
def pages(rooms):
    """The pages as Sphinx reads them."""
    return {path.stem: rooms.expand(path.read_text(encoding="utf-8")) for path in sorted(API.glob("*.md"))}


def modules():
    files = [path.relative_to(PACKAGE).with_suffix("") for path in PACKAGE.rglob("*.py") if path.stem != "__init__"]
    return {".".join(("mmgrad_explain", *path.parts)) for path in files if path.parts[0] not in COMMANDS}


def has_docstring(module, name):
    """Whether autodoc finds a docstring where the name is defined: in it, or on the line below."""
    body = ast.parse(Path(importlib.import_module(module).__file__).read_text(encoding="utf-8")).body
    for node, below in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return ast.get_docstring(node) is not None
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            text = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
            return text or isinstance(getattr(importlib.import_module(module), name), type)  # another name of a class
    raise AssertionError(f"{module} does not define {name}")


def test_every_module_has_one_entry(pages):
    found = Counter(name for text in pages.values() for name in re.findall(r"automodule:: (\S+)", text))
    assert set(found) == modules()
    assert [name for name, count in found.items() if count > 1] == []


def test_every_page_is_in_the_table_of_contents(pages):
    listed = re.search(r"```\{toctree\}\n(?::.*\n)*\n(.*?)```", pages["index"], re.DOTALL)[1].split()
    assert sorted(listed) == sorted(set(pages) - {"index"})


def test_the_index_lists_the_names_of_the_package(pages):
    listed = Counter(re.findall(r"~mmgrad_explain\.\S+\.(\w+)", pages["index"]))
    assert set(listed) == set(mmgrad_explain.__all__) - {"__version__", "MMGrad"}
    assert set(listed.values()) == {1}
    assert mmgrad_explain.MMGrad is mmgrad_explain.MultiModalGradAttention
    assert "`MMGrad` is short for\n`MultiModalGradAttention`" in pages["index"]


@pytest.mark.parametrize("package", [door for door in DOORS if door.partition(".")[2] not in COMMANDS])
def test_a_door_is_documented(package, pages, rooms):
    """Its names are listed on the page of its room, and each has a docstring."""
    names = {name: home for name, home in rooms.names_of(package).items() if name != "__version__"}
    assert set(names) == set(importlib.import_module(package).__all__) - {"__version__"}
    assert [f"{home}.{name}" for name, home in names.items() if not has_docstring(home, name)] == []
    if package == "mmgrad_explain":
        return
    (page,) = (text for text in pages.values() if f"## `from {package} import ...`" in text)
    listed = page.partition(f"## `from {package} import ...`")[2].partition("\n## ")[0]
    assert re.findall(r"~(\S+)", listed) == [f"{home}.{name}" for name, home in names.items()]


def test_a_name_without_a_docstring_is_noticed(tmp_path, monkeypatch):
    (tmp_path / "sample_names.py").write_text(
        'A = 1\nB = 2\n"""Two."""\nC = 3\ndef d(): pass\ndef e():\n    """E."""\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert [name for name in "ABCde" if has_docstring("sample_names", name)] == ["B", "e"]
    with pytest.raises(AssertionError, match="sample_names does not define F"):
        has_docstring("sample_names", "F")
    del sys.modules["sample_names"]


# ------------------------------------------------------------------------------------------- what readers are to import


def code_of(path):
    """The code of a page or a script."""
    text = path.read_text(encoding="utf-8")
    return text if path.suffix == ".py" else "\n".join(code for _, code in FENCED.findall(text))


def within_rooms(code):
    """Modules inside a room that code imports from; readers import from a door or from a module that is a room."""
    for name in IMPORTED.findall(code):
        if name not in DOORS and name.count(".") > 1:
            yield name


def test_readers_are_shown_imports_from_doors():
    shown = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    shown += [*(ROOT / "docs").glob("*_*.py"), *(ROOT / "examples").glob("*.py")]
    shown = [path for path in shown if not {"_build", "auto_examples"} & set(path.relative_to(ROOT).parts)]
    imported = {path: IMPORTED.findall(code_of(path)) for path in shown}
    assert sum(len(names) for names in imported.values()) > 80
    wrong = {str(path.relative_to(ROOT)): sorted(set(within_rooms(code_of(path)))) for path in shown}
    assert {path: names for path, names in wrong.items() if names} == {}


def test_an_import_from_within_a_room_is_noticed():
    code = "from mmgrad_explain.metrics.floors import chance\nfrom mmgrad_explain.metrics import chance\n"
    code += "from mmgrad_explain import explain\nfrom mmgrad_explain.errors import InputError\n"
    assert list(within_rooms(code)) == ["mmgrad_explain.metrics.floors"]
