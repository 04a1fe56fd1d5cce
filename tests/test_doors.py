"""Doors of packages give what their modules define, and load no module before they are asked."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import mmgrad_explain

ROOT = Path(mmgrad_explain.__file__).parent
DOORS = sorted(
    ".".join(("mmgrad_explain", *path.parent.relative_to(ROOT).parts))
    for path in ROOT.rglob("__init__.py")
    if "door(__name__)" in path.read_text()
)


def listed(package):
    source = Path(importlib.import_module(package).__file__).read_text()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("mmgrad_explain."):
            yield from ((node.module, alias.name) for alias in node.names if alias.asname)


@pytest.mark.parametrize("package", DOORS)
def test_a_door_gives_what_its_modules_define(package):
    module = importlib.import_module(package)
    names = list(listed(package))
    assert sorted(name for _, name in names) == dir(module) == module.__all__
    assert all(getattr(module, name) is getattr(importlib.import_module(home), name) for home, name in names)
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'nothing'"):
        module.nothing  # noqa: B018


@pytest.mark.parametrize("package", DOORS)
def test_a_name_comes_from_the_module_that_defines_it(package):
    for home, name in listed(package):
        assert (ROOT / Path(*home.split(".")[1:])).with_suffix(".py").is_file(), f"{package}: {name} of {home}"


@pytest.mark.parametrize("package", DOORS)
def test_no_name_hides_a_module(package):
    """An import of the module would put the module in the place of the name."""
    folder = ROOT.joinpath(*package.split(".")[1:])
    files = {path.stem for path in folder.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert files & {name for _, name in listed(package)} == set()


def test_no_module_is_loaded_before_it_is_asked_for():
    code = f"""
import importlib, sys
for package in {DOORS}: importlib.import_module(package)
print(sorted(set(sys.modules) & {{"torch", "numpy", "PIL", "transformers"}}))
from mmgrad_explain.evaluation import pointing_game
trained = {{name for name in sys.modules if name.startswith("mmgrad_explain.training")}}
print("torch" in sys.modules, trained - {{*{DOORS}}})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\nTrue set()\n"


def test_a_gallery_loads_no_training():
    code = (
        "import sys, mmgrad_explain.gallery.gallery; print([m for m in sys.modules if 'mmgrad_explain.training' in m])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
